//! Writes tar archives, the same bytes for the same entries.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::SeekFrom as FdSeek;
use rustix::io::Errno;

use crate::block::{self, BLOCK};
use crate::{ArchiveError, EntryKind, Header, number, pax};

const BUFFER_BYTES: usize = 128 << 10;

/// The path of a PAX header itself, which nobody needs. Readers that do not know PAX make a file of it.
const PAX_HEADER_PATH: &[u8] = b"PaxHeaders.0/entry";

/// Writes an archive in ustar form, with PAX records where an entry does not fit it.
///
/// The bytes depend on nothing but the headers and contents: no user names, no time of access, no
/// process id in the PAX headers' names.
pub struct Writer<W> {
    inner: W,
    buffer: Box<[u8]>,
}

impl<W: Write> Writer<W> {
    /// Starts an archive at `inner`'s present position. Writes are large and need no buffering.
    pub fn new(inner: W) -> Self {
        Self { inner, buffer: vec![0; BUFFER_BYTES].into_boxed_slice() }
    }

    /// Adds an entry. Of a regular file, `data` is its content; of others it is not read.
    ///
    /// # Errors
    /// [`ArchiveError::Unwritable`] for a header that tar cannot hold, before anything is written;
    /// [`SizeChanged`](ArchiveError::SizeChanged) or [`Content`](ArchiveError::Content) for `data`,
    /// and [`Write`](ArchiveError::Write), after which the archive is of no use.
    pub fn append(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), ArchiveError> {
        self.write_header(header)?;
        if header.kind == EntryKind::File {
            self.copy(header, data, header.size)?;
            self.expect_end(header, data)?;
            self.pad(header.size)?;
        }
        Ok(())
    }

    /// Adds a regular file from its beginning, its holes as zeros that are not read from the disk.
    ///
    /// # Errors
    /// As [`Writer::append`].
    pub fn append_file(&mut self, header: &Header, mut file: &File) -> Result<(), ArchiveError> {
        let content = |source| ArchiveError::Content { path: to_path(&header.path), source };
        self.write_header(header)?;
        let mut position = 0;
        while position < header.size {
            let (start, end) = next_data(file, position, header.size).map_err(content)?;
            self.zeros(start - position)?;
            if start < end {
                file.seek(SeekFrom::Start(start)).map_err(content)?;
                self.copy(header, &mut file, end - start)?;
            }
            position = end;
        }
        file.seek(SeekFrom::Start(header.size)).map_err(content)?;
        self.expect_end(header, &mut file)?;
        self.pad(header.size)
    }

    /// Begins a regular file whose content is written, not read.
    ///
    /// # Errors
    /// [`ArchiveError::Unwritable`] for a header that tar cannot hold, before anything is written; else
    /// [`Write`](ArchiveError::Write).
    pub fn begin(&mut self, header: &Header) -> Result<EntryWriter<'_, W>, ArchiveError> {
        self.write_header(header)?;
        Ok(EntryWriter { path: to_path(&header.path), size: header.size, written: 0, writer: self })
    }

    /// Ends the archive and returns the stream, not flushed.
    ///
    /// # Errors
    /// Those of the stream.
    pub fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&[0; 2 * BLOCK])?;
        Ok(self.inner)
    }

    fn write_header(&mut self, header: &Header) -> Result<(), ArchiveError> {
        let bytes = encode(header)
            .map_err(|reason| ArchiveError::Unwritable { path: to_path(&header.path), reason })?;
        self.inner.write_all(&bytes).map_err(ArchiveError::Write)
    }

    fn copy(&mut self, header: &Header, data: &mut dyn Read, length: u64) -> Result<(), ArchiveError> {
        let mut rest = length;
        while rest > 0 {
            let wanted = self.buffer.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            match data.read(&mut self.buffer[..wanted]) {
                Ok(0) => return Err(size_changed(header, header.size - rest)),
                Ok(count) => {
                    self.inner.write_all(&self.buffer[..count]).map_err(ArchiveError::Write)?;
                    rest -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(ArchiveError::Content { path: to_path(&header.path), source }),
            }
        }
        Ok(())
    }

    fn expect_end(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), ArchiveError> {
        match data.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(size_changed(header, header.size + 1)),
            Err(source) => Err(ArchiveError::Content { path: to_path(&header.path), source }),
        }
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        self.zeros(size.wrapping_neg() % BLOCK as u64)
    }

    fn zeros(&mut self, count: u64) -> Result<(), ArchiveError> {
        static ZEROS: [u8; 32 << 10] = [0; 32 << 10];
        let mut rest = count;
        while rest > 0 {
            let length = ZEROS.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
            self.inner.write_all(&ZEROS[..length]).map_err(ArchiveError::Write)?;
            rest -= length as u64;
        }
        Ok(())
    }
}

/// The content of one entry, to be written and finished.
#[must_use = "an entry that is not finished spoils the archive"]
pub struct EntryWriter<'a, W> {
    writer: &'a mut Writer<W>,
    path: PathBuf,
    size: u64,
    written: u64,
}

impl<W: Write> EntryWriter<'_, W> {
    /// Ends the entry.
    ///
    /// # Errors
    /// [`ArchiveError::SizeChanged`] if less was written than the header says, and
    /// [`Write`](ArchiveError::Write).
    pub fn finish(self) -> Result<(), ArchiveError> {
        if self.written != self.size {
            let (expected, found) = (self.size, self.written);
            return Err(ArchiveError::SizeChanged { path: self.path, expected, found });
        }
        self.writer.pad(self.size)
    }
}

impl<W: Write> Write for EntryWriter<'_, W> {
    /// Fails with `FileTooLarge` for more than the header says.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.size - self.written {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let count = self.writer.inner.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.inner.flush()
    }
}

/// The blocks before an entry's content: its ustar header, and a PAX header if it needs one.
fn encode(header: &Header) -> Result<Vec<u8>, &'static str> {
    let mut records = Vec::new();
    let block = encode_block(header, &mut records)?;
    if records.is_empty() {
        return Ok(block.to_vec());
    }
    let mut bytes = Vec::with_capacity(3 * BLOCK + records.len());
    bytes.extend_from_slice(&pax_block(records.len() as u64)?);
    bytes.extend_from_slice(&records);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes.extend_from_slice(&block);
    Ok(bytes)
}

/// The ustar header. What does not fit it goes to `records`, in the order of their keys.
fn encode_block(header: &Header, records: &mut Vec<u8>) -> Result<[u8; BLOCK], &'static str> {
    let mut block = [0; BLOCK];
    let (type_flag, link, device) = kind_fields(&header.kind);
    for text in [&header.path[..], link] {
        if text.contains(&0) {
            return Err("a path or link target with a NUL byte cannot be archived");
        }
    }
    if header.path.is_empty() {
        return Err("an entry without a path cannot be archived");
    }
    set_number(&mut block, block::GID, u64::from(header.gid), b"gid", records);
    set_text(&mut block, block::LINK_NAME, link, b"linkpath", records);
    set_mtime(&mut block, header, records);
    set_path(&mut block, &header.path, records);
    let is_file = header.kind == EntryKind::File;
    set_number(&mut block, block::SIZE, if is_file { header.size } else { 0 }, b"size", records);
    set_number(&mut block, block::UID, u64::from(header.uid), b"uid", records);
    for (name, value) in &header.xattrs {
        if name.is_empty() || name.contains(&0) || name.contains(&b'=') {
            return Err("an extended attribute's name cannot be archived");
        }
        pax::write_xattr(records, name, value);
    }
    number::write_octal(&mut block[block::MODE], u64::from(header.mode & 0o7777));
    block[block::TYPE_FLAG] = type_flag;
    block[block::MAGIC_AND_VERSION].copy_from_slice(b"ustar\x0000");
    for (field, value) in [(block::DEVICE_MAJOR, device.0), (block::DEVICE_MINOR, device.1)] {
        if !number::write_octal(&mut block[field], u64::from(value)) {
            return Err("a device with such a number cannot be archived");
        }
    }
    set_checksum(&mut block);
    Ok(block)
}

/// Type flag, link target and device numbers.
fn kind_fields(kind: &EntryKind) -> (u8, &[u8], (u32, u32)) {
    match kind {
        EntryKind::File => (b'0', &[], (0, 0)),
        EntryKind::HardLink(target) => (b'1', target, (0, 0)),
        EntryKind::Symlink(target) => (b'2', target, (0, 0)),
        EntryKind::CharDevice { major, minor } => (b'3', &[], (*major, *minor)),
        EntryKind::BlockDevice { major, minor } => (b'4', &[], (*major, *minor)),
        EntryKind::Directory => (b'5', &[], (0, 0)),
        EntryKind::Fifo => (b'6', &[], (0, 0)),
    }
}

fn set_number(
    block: &mut [u8; BLOCK],
    field: std::ops::Range<usize>,
    value: u64,
    key: &[u8],
    records: &mut Vec<u8>,
) {
    if !number::write_octal(&mut block[field.clone()], value) {
        number::write_octal(&mut block[field], 0);
        pax::write_record(records, key, value.to_string().as_bytes());
    }
}

fn set_text(
    block: &mut [u8; BLOCK],
    field: std::ops::Range<usize>,
    value: &[u8],
    key: &[u8],
    records: &mut Vec<u8>,
) {
    let length = value.len().min(field.len());
    if value.len() > field.len() || !value.is_ascii() {
        pax::write_record(records, key, value);
    }
    block[field.start..field.start + length].copy_from_slice(&value[..length]);
}

fn set_mtime(block: &mut [u8; BLOCK], header: &Header, records: &mut Vec<u8>) {
    let fits = u64::try_from(header.mtime)
        .is_ok_and(|seconds| number::write_octal(&mut block[block::MTIME], seconds));
    if !fits {
        number::write_octal(&mut block[block::MTIME], 0);
        pax::write_record(records, b"mtime", header.mtime.to_string().as_bytes());
    }
}

fn set_path(block: &mut [u8; BLOCK], path: &[u8], records: &mut Vec<u8>) {
    match split_path(path) {
        Some((prefix, name)) => {
            block[block::PREFIX.start..block::PREFIX.start + prefix.len()].copy_from_slice(prefix);
            block[..name.len()].copy_from_slice(name);
        }
        None => set_text(block, block::NAME, path, b"path", records),
    }
}

/// Splits a path that is too long for the name alone, but fits with the prefix.
fn split_path(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let longest = block::NAME.len() + 1 + block::PREFIX.len();
    if path.len() <= block::NAME.len() || path.len() > longest || !path.is_ascii() {
        return None;
    }
    // A slash at the very end belongs to the name.
    let end = path.len().min(block::PREFIX.len() + 1).min(path.len() - 1);
    let slash = path[..end].iter().rposition(|&byte| byte == b'/').filter(|&slash| slash > 0)?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (name.len() <= block::NAME.len()).then_some((prefix, name))
}

fn pax_block(size: u64) -> Result<[u8; BLOCK], &'static str> {
    let mut block = [0; BLOCK];
    block[..PAX_HEADER_PATH.len()].copy_from_slice(PAX_HEADER_PATH);
    number::write_octal(&mut block[block::MODE], 0o644);
    for field in [block::UID, block::GID, block::MTIME, block::DEVICE_MAJOR, block::DEVICE_MINOR] {
        number::write_octal(&mut block[field], 0);
    }
    if !number::write_octal(&mut block[block::SIZE], size) {
        return Err("too many extended attributes to be archived");
    }
    block[block::TYPE_FLAG] = b'x';
    block[block::MAGIC_AND_VERSION].copy_from_slice(b"ustar\x0000");
    set_checksum(&mut block);
    Ok(block)
}

fn set_checksum(block: &mut [u8; BLOCK]) {
    let sum = block::checksum(block);
    // Six digits, a NUL and a space, as writers have always had it.
    number::write_octal(&mut block[block::CHECKSUM.start..block::CHECKSUM.end - 1], u64::from(sum));
    block[block::CHECKSUM.end - 1] = b' ';
}

/// The first run of data at or after `position`: where it starts and ends, both at most `size`.
fn next_data(file: &File, position: u64, size: u64) -> io::Result<(u64, u64)> {
    let start = match rustix::fs::seek(file.as_fd(), FdSeek::Data(position)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok((size, size)),
        // The file system does not know of holes.
        Err(Errno::INVAL) => return Ok((position, size)),
        Err(error) => return Err(error.into()),
    };
    let end = match rustix::fs::seek(file.as_fd(), FdSeek::Hole(start)) {
        Ok(end) => end,
        Err(Errno::NXIO) => start,
        Err(error) => return Err(error.into()),
    };
    Ok((start.min(size), end.min(size)))
}

fn size_changed(header: &Header, found: u64) -> ArchiveError {
    ArchiveError::SizeChanged { path: to_path(&header.path), expected: header.size, found }
}

fn to_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_that_is_written_makes_the_same_bytes_as_content_that_is_read() {
        let header = Header { size: 700, ..Header::new("file", EntryKind::File, 0o644) };
        let content = [7; 700];
        let mut read = Writer::new(Vec::new());
        read.append(&header, &mut &content[..]).unwrap();
        let mut written = Writer::new(Vec::new());
        let mut entry = written.begin(&header).unwrap();
        entry.write_all(&content[..300]).unwrap();
        entry.write_all(&content[300..]).unwrap();
        entry.finish().unwrap();
        assert_eq!(written.finish().unwrap(), read.finish().unwrap());
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
