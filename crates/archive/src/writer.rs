//! Writes tar archives, the same bytes for the same entries.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use crate::block::BLOCK;
use crate::encode::encode;
use crate::{ArchiveError, EntryKind, Header};

/// Bytes that are gathered before they are written; a multiple of [`BLOCK`].
const BUFFER_BYTES: usize = 256 << 10;

/// Files that are smaller are read whole: looking for their holes would cost more.
const MIN_SPARSE_BYTES: u64 = 64 << 10;

/// Writes an archive in ustar form, with PAX records where an entry does not fit it: long or non-ASCII
/// paths, ids above 2,097,151, sizes from 8 GiB, times before 1970 or after 2242, extended attributes.
///
/// The bytes depend on nothing but headers and contents: no names of users, no times of access, whole
/// seconds, and PAX headers that are alike but for their records.
#[derive(Debug)]
pub struct Writer<W> {
    inner: W,
    buffer: Box<[u8]>,
    filled: usize,
}

impl<W: Write> Writer<W> {
    /// Starts an archive. `inner` gets large writes and needs no buffer, but for those in front of large ones.
    pub fn new(inner: W) -> Self {
        Self { inner, buffer: vec![0; BUFFER_BYTES].into_boxed_slice(), filled: 0 }
    }

    /// Adds an entry. Of a regular file, `data` is its content; of others it is not read. A directory's
    /// path gets a slash at its end.
    ///
    /// # Errors
    /// [`ArchiveError::Unwritable`] for a header that no archive can hold, before anything is written.
    /// [`SizeChanged`](ArchiveError::SizeChanged) if `data` is not `header.size` bytes long,
    /// [`Content`](ArchiveError::Content) and [`Write`](ArchiveError::Write), after which the archive
    /// is of no use.
    pub fn append(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), ArchiveError> {
        self.put_header(header)?;
        if header.kind != EntryKind::File {
            return Ok(());
        }
        let mut rest = header.size;
        while rest > 0 {
            let space = self.space(rest)?;
            let count = retry(|| data.read(space)).map_err(|source| content_error(header, source))?;
            if count == 0 {
                return Err(size_changed(header, header.size - rest));
            }
            self.filled += count;
            rest -= count as u64;
        }
        if retry(|| data.read(&mut [0])).map_err(|source| content_error(header, source))? > 0 {
            return Err(size_changed(header, header.size + 1));
        }
        self.pad()
    }

    /// Adds a regular file, whatever its position is; its holes are not read.
    ///
    /// # Errors
    /// As [`Writer::append`]; a file that has grown is no error, its first `header.size` bytes count.
    pub fn append_file(&mut self, header: &Header, file: &File) -> Result<(), ArchiveError> {
        self.put_header(header)?;
        if header.size < MIN_SPARSE_BYTES {
            self.put_range(header, file, 0, header.size)?;
            return self.pad();
        }
        // Beyond its end, a file looks as if it had a hole there.
        let length = file.metadata().map_err(|source| content_error(header, source))?.len();
        if length < header.size {
            return Err(size_changed(header, length));
        }
        let mut position = 0;
        while position < header.size {
            let (start, end) =
                next_data(file, position, header.size).map_err(|source| content_error(header, source))?;
            self.put_zeros(start - position)?;
            self.put_range(header, file, start, end)?;
            position = end;
        }
        self.pad()
    }

    /// Begins a regular file whose content is written to the result, `header.size` bytes of it.
    ///
    /// # Errors
    /// [`ArchiveError::Unwritable`] for a header that no archive can hold, before anything is written;
    /// [`Write`](ArchiveError::Write).
    pub fn begin(&mut self, header: &Header) -> Result<EntryWriter<'_, W>, ArchiveError> {
        self.put_header(header)?;
        Ok(EntryWriter { path: path(header), size: header.size, rest: header.size, writer: self })
    }

    /// Ends the archive and returns the stream, which is not flushed.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&self.buffer[..self.filled])?;
        self.inner.write_all(&[0; 2 * BLOCK])?;
        Ok(self.inner)
    }

    fn put_header(&mut self, header: &Header) -> Result<(), ArchiveError> {
        let bytes =
            encode(header).map_err(|reason| ArchiveError::Unwritable { path: path(header), reason })?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let space = self.space(rest.len() as u64)?;
            let (now, later) = rest.split_at(space.len());
            space.copy_from_slice(now);
            self.filled += now.len();
            rest = later;
        }
        Ok(())
    }

    fn put_range(&mut self, header: &Header, file: &File, start: u64, end: u64) -> Result<(), ArchiveError> {
        let mut position = start;
        while position < end {
            let space = self.space(end - position)?;
            let count =
                retry(|| file.read_at(space, position)).map_err(|source| content_error(header, source))?;
            if count == 0 {
                return Err(size_changed(header, position));
            }
            self.filled += count;
            position += count as u64;
        }
        Ok(())
    }

    fn put_zeros(&mut self, count: u64) -> Result<(), ArchiveError> {
        let mut rest = count;
        while rest > 0 {
            let space = self.space(rest)?;
            space.fill(0);
            let count = space.len();
            self.filled += count;
            rest -= count as u64;
        }
        Ok(())
    }

    /// Whether gathering `bytes` would only copy them: there are many, and the buffer then begins with a whole block.
    fn passes(&self, bytes: &[u8]) -> bool {
        bytes.len() >= self.buffer.len() / 2
            && bytes.len().is_multiple_of(BLOCK)
            && self.filled.is_multiple_of(BLOCK)
    }

    /// Writes `bytes` behind what is gathered, past the buffer.
    fn pass(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_all(&self.buffer[..self.filled])?;
        self.filled = 0;
        self.inner.write_all(bytes)?;
        Ok(bytes.len())
    }

    /// Takes as many of `bytes` as the buffer has space for.
    fn gather(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let space = self.space(bytes.len() as u64).map_err(|error| match error {
            ArchiveError::Write(error) => error,
            error => io::Error::other(error),
        })?;
        let count = space.len();
        space.copy_from_slice(&bytes[..count]);
        self.filled += count;
        Ok(count)
    }

    /// Fills the last block; the buffer begins and ends with whole ones.
    fn pad(&mut self) -> Result<(), ArchiveError> {
        self.put_zeros((self.filled.wrapping_neg() % BLOCK) as u64)
    }

    /// Free space for at most `wanted` bytes and at least one.
    fn space(&mut self, wanted: u64) -> Result<&mut [u8], ArchiveError> {
        if self.filled == self.buffer.len() {
            self.inner.write_all(&self.buffer).map_err(ArchiveError::Write)?;
            self.filled = 0;
        }
        let free = &mut self.buffer[self.filled..];
        let length = free.len().min(usize::try_from(wanted).unwrap_or(usize::MAX));
        Ok(&mut free[..length])
    }
}

/// Takes the content of an entry, which must be finished.
#[derive(Debug)]
#[must_use = "an entry that is not finished spoils the archive"]
pub struct EntryWriter<'a, W> {
    writer: &'a mut Writer<W>,
    path: PathBuf,
    size: u64,
    /// Bytes that are still to come.
    rest: u64,
}

impl<W: Write> EntryWriter<'_, W> {
    /// Ends the entry.
    ///
    /// # Errors
    /// [`ArchiveError::SizeChanged`] if less was written than the header says;
    /// [`Write`](ArchiveError::Write).
    pub fn finish(self) -> Result<(), ArchiveError> {
        if self.rest > 0 {
            let (expected, found) = (self.size, self.size - self.rest);
            return Err(ArchiveError::SizeChanged { path: self.path, expected, found });
        }
        self.writer.pad()
    }
}

impl<W: Write> Write for EntryWriter<'_, W> {
    /// Fails with `FileTooLarge` for more than the header says.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.rest {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if bytes.is_empty() {
            return Ok(0);
        }
        let count =
            if self.writer.passes(bytes) { self.writer.pass(bytes)? } else { self.writer.gather(bytes)? };
        self.rest -= count as u64;
        Ok(count)
    }

    /// Does nothing; the archive's end is what is worth a flush.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The first run of data at or after `position`: where it starts and ends, at most at `size`.
fn next_data(file: &File, position: u64, size: u64) -> io::Result<(u64, u64)> {
    let seek = |whence| match rustix::fs::seek(file.as_fd(), whence) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error),
    };
    let start = match seek(SeekFrom::Data(position)) {
        Ok(start) => start.unwrap_or(size).min(size),
        // The file system does not know of holes.
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok((position, size)),
        Err(error) => return Err(error.into()),
    };
    if start == size {
        return Ok((size, size));
    }
    Ok((start, seek(SeekFrom::Hole(start))?.unwrap_or(size).min(size)))
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn content_error(header: &Header, source: io::Error) -> ArchiveError {
    ArchiveError::Content { path: path(header), source }
}

fn size_changed(header: &Header, found: u64) -> ArchiveError {
    ArchiveError::SizeChanged { path: path(header), expected: header.size, found }
}

fn path(header: &Header) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(&header.path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_is_written_makes_the_same_bytes_as_content_that_is_read() {
        const MANY: usize = BUFFER_BYTES;
        for pieces in
            [&[300, 400][..], &[MANY, 3], &[MANY, MANY, 700], &[512, MANY / 2, 1], &[1, MANY, MANY - 1]]
        {
            let content: Vec<u8> =
                (0..pieces.iter().sum::<usize>()).map(|number| (number % 251) as u8).collect();
            let header = Header { size: content.len() as u64, ..Header::new("file", EntryKind::File, 0o644) };
            let mut written = Writer::new(Vec::new());
            let mut entry = written.begin(&header).unwrap();
            let mut rest = &content[..];
            for length in pieces {
                let (piece, later) = rest.split_at(*length);
                entry.write_all(piece).unwrap();
                rest = later;
            }
            entry.finish().unwrap();
            let end = Header { size: 3, ..header.clone() };
            written.append(&end, &mut &b"end"[..]).unwrap();
            let mut expected = Writer::new(Vec::new());
            expected.append(&header, &mut &content[..]).unwrap();
            expected.append(&end, &mut &b"end"[..]).unwrap();
            assert!(written.finish().unwrap() == expected.finish().unwrap(), "{pieces:?}");
        }
    }

    #[test]
    fn content_that_is_written_has_the_length_that_its_header_says() {
        let header = Header { size: 10, ..Header::new("file", EntryKind::File, 0o644) };
        let mut writer = Writer::new(Vec::new());
        let mut entry = writer.begin(&header).unwrap();
        entry.write_all(&[0; 9]).unwrap();
        assert_eq!(entry.write_all(&[0; 2]).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert!(matches!(entry.finish(), Err(ArchiveError::SizeChanged { expected: 10, found: 9, .. })));
    }
}
