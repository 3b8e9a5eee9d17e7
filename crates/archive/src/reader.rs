//! Reads the entries of a tar archive.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::block::{BLOCK, Block, text};
use crate::number;
use crate::pax::{Records, SparseRecords};
use crate::sparse::{self, Region, SparseMap};
use crate::{ArchiveError, EntryKind, Header, Limits};

const BUFFER_BYTES: usize = 64 << 10;

/// Reads the entries of an uncompressed tar archive: v7, ustar, PAX, GNU and their sparse files.
///
/// Where readers are known to differ, this one takes the reading of Go's `archive/tar`, which Docker
/// and BuildKit use, or refuses the archive.
pub struct Reader<R> {
    inner: BufReader<R>,
    limits: Limits,
    /// Uncompressed bytes read so far.
    offset: u64,
    entries: u64,
    /// Bytes of content of all entries so far.
    bytes: u64,
    global: Records,
    content: Content,
    is_done: bool,
}

/// One entry; reading it gives its content, a sparse file's holes as zeros.
pub struct Entry<'a, R> {
    /// Its metadata.
    pub header: Header,
    reader: &'a mut Reader<R>,
}

/// What is left of the current entry.
#[derive(Default)]
struct Content {
    /// Bytes in the archive.
    stored: u64,
    /// Bytes that fill the last block.
    padding: u64,
    /// Position in the file, and its size with holes.
    position: u64,
    size: u64,
    /// Of a sparse file: the regions not yet read, the last one first.
    regions: Option<Vec<Region>>,
}

/// What the headers before an entry say of it.
#[derive(Default)]
struct Extensions {
    pax: Option<Records>,
    long_path: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> Reader<R> {
    /// Starts at the first byte of `inner`.
    pub fn new(inner: R, limits: Limits) -> Self {
        Self {
            inner: BufReader::with_capacity(BUFFER_BYTES, inner),
            limits,
            offset: 0,
            entries: 0,
            bytes: 0,
            global: Records::default(),
            content: Content::default(),
            is_done: false,
        }
    }

    /// The next entry, or `None` at the end; what is left of the current one is skipped.
    ///
    /// # Errors
    /// [`ArchiveError::Read`], [`Truncated`](ArchiveError::Truncated),
    /// [`Malformed`](ArchiveError::Malformed), [`Limit`](ArchiveError::Limit) or
    /// [`UnsupportedType`](ArchiveError::UnsupportedType). Nothing more can be read after one.
    #[expect(clippy::should_implement_trait, reason = "the entry borrows the reader")]
    pub fn next(&mut self) -> Result<Option<Entry<'_, R>>, ArchiveError> {
        match self.next_header()? {
            Some(header) => Ok(Some(Entry { header, reader: self })),
            None => Ok(None),
        }
    }

    /// Reads what follows the archive, so that a digest of the stream covers it, and returns the
    /// stream.
    ///
    /// # Errors
    /// [`ArchiveError::Read`].
    pub fn finish(mut self) -> Result<R, ArchiveError> {
        io::copy(&mut self.inner, &mut io::sink()).map_err(ArchiveError::Read)?;
        Ok(self.inner.into_inner())
    }

    fn next_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        if self.is_done {
            return Ok(None);
        }
        // Whatever goes wrong from here, the position in the stream means nothing any more.
        self.is_done = true;
        let header = self.read_header()?;
        self.is_done = header.is_none();
        Ok(header)
    }

    fn read_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_content()?;
            let start = self.offset;
            let malformed = |reason| ArchiveError::Malformed { offset: start, reason };
            let Some(bytes) = self.read_header_block()? else {
                return match extensions.is_empty() {
                    true => Ok(None),
                    false => Err(malformed("no entry follows an extended header")),
                };
            };
            self.count_entry()?;
            let block = Block::parse(bytes).map_err(malformed)?;
            match block.type_flag() {
                b'x' => {
                    let content = self.read_extension(&block, start)?;
                    let mut records = Records::default();
                    records.read(&content).map_err(malformed)?;
                    extensions.set_pax(records).map_err(malformed)?;
                }
                b'g' => {
                    let content = self.read_extension(&block, start)?;
                    self.global.read(&content).map_err(malformed)?;
                    if self.global.are_of_one_entry() || !extensions.is_empty() {
                        return Err(malformed("a global PAX header says what only one entry can have"));
                    }
                }
                b'L' => {
                    let content = self.read_extension(&block, start)?;
                    extensions.set_long_path(text(&content)).map_err(malformed)?;
                }
                b'K' => {
                    let content = self.read_extension(&block, start)?;
                    extensions.set_long_link(text(&content)).map_err(malformed)?;
                }
                _ => return self.read_entry(&block, extensions, start).map(Some),
            }
        }
    }

    /// The header of an entry that makes something.
    fn read_entry(
        &mut self,
        block: &Block,
        extensions: Extensions,
        start: u64,
    ) -> Result<Header, ArchiveError> {
        let malformed = |reason| ArchiveError::Malformed { offset: start, reason };
        let records = extensions.pax.unwrap_or_default();
        let path = extensions.long_path.or(records.path).unwrap_or_else(|| block.path());
        let link = extensions.long_link.or(records.link_target);
        let link = link.unwrap_or_else(|| block.link_target().to_vec());
        self.check_path(&path)?;
        self.check_path(&link)?;
        let kind = kind(block, &path, link).map_err(malformed)?;
        let Some(kind) = kind else {
            let path = PathBuf::from(OsString::from_vec(path));
            return Err(ArchiveError::UnsupportedType { path, type_flag: char::from(block.type_flag()) });
        };
        let (mtime, mtime_nanos) = match records.mtime.or(self.global.mtime) {
            Some(time) => time,
            None => (block.mtime().map_err(malformed)?, 0),
        };
        let mut xattrs = self.global.xattrs.clone();
        xattrs.extend(records.xattrs);
        if xattrs.len() > self.limits.xattrs {
            return Err(limit("extended attributes", self.limits.xattrs as u64));
        }
        let mut header = Header {
            path,
            kind,
            mode: block.mode().map_err(malformed)?,
            uid: id(records.uid.or(self.global.uid), || block.uid()).map_err(malformed)?,
            gid: id(records.gid.or(self.global.gid), || block.gid()).map_err(malformed)?,
            size: 0,
            mtime,
            mtime_nanos,
            xattrs,
        };
        // Of other kinds a size means nothing: no content follows them, whatever it says.
        if header.kind == EntryKind::File {
            let stored = records.size.map_or_else(|| block.size(), Ok).map_err(malformed)?;
            self.begin_content(stored, start)?;
            let map = self.read_sparse_map(block, &records.sparse, start)?;
            if let Some(name) = records.sparse.name.filter(|_| map.is_some()) {
                header.path = name;
                self.check_path(&header.path)?;
            }
            header.size = self.count_content(map)?;
        }
        Ok(header)
    }

    /// The map of a sparse file; `None` of any other.
    fn read_sparse_map(
        &mut self,
        block: &Block,
        records: &SparseRecords,
        start: u64,
    ) -> Result<Option<SparseMap>, ArchiveError> {
        let malformed = |reason| ArchiveError::Malformed { offset: start, reason };
        let mut regions = Vec::new();
        let real_size = if block.type_flag() == b'S' {
            let (map, mut is_extended, real_size) = block.gnu_sparse().map_err(malformed)?;
            sparse::read_old(map, &mut regions).map_err(malformed)?;
            while is_extended {
                self.check_regions(regions.len())?;
                let bytes = self.read_block()?.ok_or(ArchiveError::Truncated { offset: self.offset })?;
                sparse::read_old(&bytes[..504], &mut regions).map_err(malformed)?;
                is_extended = bytes[504] != 0;
            }
            real_size
        } else if *records == SparseRecords::default() {
            return Ok(None);
        } else {
            regions = match records.version {
                (Some(1), Some(0)) => self.read_stored_map(start)?,
                (Some(0), Some(0 | 1)) | (None, None) => sparse::from_records(records).map_err(malformed)?,
                _ => return Err(malformed("a sparse file has a form that is not known")),
            };
            records.real_size.ok_or_else(|| malformed("a sparse file has no size"))?
        };
        self.check_regions(regions.len())?;
        SparseMap::new(regions, real_size, self.content.stored).map(Some).map_err(malformed)
    }

    /// The map of form 1.0, which stands before the content: the number of regions, then an offset and
    /// a length each, every number on a line, filled up to a whole block.
    fn read_stored_map(&mut self, start: u64) -> Result<Vec<Region>, ArchiveError> {
        let malformed =
            || ArchiveError::Malformed { offset: start, reason: "the map of a sparse file is not valid" };
        let mut lines = Vec::new();
        let mut line = Vec::new();
        let mut expected = 1;
        while (lines.len() as u64) < expected {
            self.content.stored = self.content.stored.checked_sub(BLOCK as u64).ok_or_else(malformed)?;
            let bytes = self.read_block()?.ok_or(ArchiveError::Truncated { offset: self.offset })?;
            for byte in bytes {
                if byte != b'\n' {
                    line.push(byte);
                    continue;
                }
                if lines.len() as u64 == expected {
                    break;
                }
                lines.push(number::parse_decimal(&line).ok_or_else(malformed)?);
                line.clear();
                if lines.len() == 1 {
                    self.check_regions(usize::try_from(lines[0]).unwrap_or(usize::MAX))?;
                    expected += 2 * lines[0];
                }
            }
        }
        Ok(lines[1..].chunks_exact(2).map(|pair| Region { offset: pair[0], length: pair[1] }).collect())
    }

    fn read_extension(&mut self, block: &Block, start: u64) -> Result<Vec<u8>, ArchiveError> {
        let size = block.size().map_err(|reason| ArchiveError::Malformed { offset: start, reason })?;
        if size > self.limits.extension as u64 {
            return Err(limit("bytes of extended header", self.limits.extension as u64));
        }
        self.begin_content(size, start)?;
        let mut content = vec![0; size as usize];
        self.fill(&mut content)?;
        self.content.stored = 0;
        Ok(content)
    }

    fn begin_content(&mut self, stored: u64, start: u64) -> Result<(), ArchiveError> {
        if i64::try_from(stored).is_err() {
            return Err(ArchiveError::Malformed { offset: start, reason: "the size is not valid" });
        }
        let padding = stored.wrapping_neg() % BLOCK as u64;
        self.content = Content { stored, padding, ..Content::default() };
        Ok(())
    }

    /// Prepares to read the content of a file and returns its size, holes included.
    fn count_content(&mut self, map: Option<SparseMap>) -> Result<u64, ArchiveError> {
        let size = map.as_ref().map_or(self.content.stored, |map| map.size);
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.limits.bytes {
            return Err(limit("bytes of content", self.limits.bytes));
        }
        self.content.size = size;
        self.content.regions = map.map(|mut map| {
            map.regions.reverse();
            map.regions
        });
        Ok(size)
    }

    fn skip_content(&mut self) -> Result<(), ArchiveError> {
        let Content { stored, padding, .. } = std::mem::take(&mut self.content);
        let mut rest = self.inner.by_ref().take(stored);
        let skipped = io::copy(&mut rest, &mut io::sink()).map_err(ArchiveError::Read)?;
        self.offset += skipped;
        if skipped < stored {
            return Err(ArchiveError::Truncated { offset: self.offset });
        }
        // Some writers leave the last block unfilled, and readers let them.
        let mut rest = self.inner.by_ref().take(padding);
        self.offset += io::copy(&mut rest, &mut io::sink()).map_err(ArchiveError::Read)?;
        Ok(())
    }

    /// The next header block; `None` where the archive ends: with the stream, or with two blocks of
    /// zeros, the second of which may be missing.
    fn read_header_block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let Some(block) = self.read_block()? else { return Ok(None) };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        let start = self.offset;
        match self.read_block()? {
            Some(block) if block != [0; BLOCK] => Err(ArchiveError::Malformed {
                offset: start,
                reason: "only one block of zeros ends the archive",
            }),
            _ => Ok(None),
        }
    }

    /// A block, or `None` at the end of the stream.
    fn read_block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        if self.inner.fill_buf().map_err(ArchiveError::Read)?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(Some(block))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.inner.read(&mut buffer[filled..]) {
                Ok(0) => return Err(ArchiveError::Truncated { offset: self.offset }),
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
        Ok(())
    }

    fn count_entry(&mut self) -> Result<(), ArchiveError> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(limit("entries", self.limits.entries));
        }
        Ok(())
    }

    fn check_path(&self, path: &[u8]) -> Result<(), ArchiveError> {
        if path.len() > self.limits.path {
            return Err(limit("bytes of path", self.limits.path as u64));
        }
        Ok(())
    }

    fn check_regions(&self, count: usize) -> Result<(), ArchiveError> {
        if count > self.limits.sparse_regions {
            return Err(limit("regions of a sparse file", self.limits.sparse_regions as u64));
        }
        Ok(())
    }

    fn read_stored(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.content.stored).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated"));
        }
        self.offset += count as u64;
        self.content.stored -= count as u64;
        self.content.position += count as u64;
        Ok(count)
    }

    fn read_sparse(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let position = self.content.position;
        let regions = self.content.regions.get_or_insert_default();
        while regions.last().is_some_and(|region| region.offset + region.length <= position) {
            regions.pop();
        }
        let (is_hole, end) = match regions.last() {
            Some(region) if region.offset <= position => (false, region.offset + region.length),
            Some(region) => (true, region.offset),
            None => (true, self.content.size),
        };
        let wanted = buffer.len().min(usize::try_from(end - position).unwrap_or(usize::MAX));
        if !is_hole {
            return self.read_stored(&mut buffer[..wanted]);
        }
        buffer[..wanted].fill(0);
        self.content.position += wanted as u64;
        Ok(wanted)
    }
}

impl<R: Read> Read for Entry<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.reader.content.regions {
            Some(_) => self.reader.read_sparse(buffer),
            None => self.reader.read_stored(buffer),
        }
    }
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.long_path.is_none() && self.long_link.is_none()
    }

    // Readers disagree on which of two headers of one kind counts: no writer makes two.

    fn set_pax(&mut self, records: Records) -> Result<(), &'static str> {
        let is_second = self.pax.replace(records).is_some();
        self.check(is_second)
    }

    fn set_long_path(&mut self, path: &[u8]) -> Result<(), &'static str> {
        let is_second = self.long_path.replace(path.to_vec()).is_some();
        self.check(is_second)
    }

    fn set_long_link(&mut self, target: &[u8]) -> Result<(), &'static str> {
        let is_second = self.long_link.replace(target.to_vec()).is_some();
        self.check(is_second)
    }

    fn check(&self, is_second: bool) -> Result<(), &'static str> {
        let pax = self.pax.as_ref();
        let disagree = |pax: Option<&Vec<u8>>, gnu: &Option<Vec<u8>>| {
            pax.is_some_and(|pax| gnu.as_ref().is_some_and(|gnu| gnu != pax))
        };
        if is_second
            || disagree(pax.and_then(|records| records.path.as_ref()), &self.long_path)
            || disagree(pax.and_then(|records| records.link_target.as_ref()), &self.long_link)
        {
            return Err("an entry has two extended headers for the same thing");
        }
        Ok(())
    }
}

/// `None` for a type that makes nothing in a file system.
fn kind(block: &Block, path: &[u8], link: Vec<u8>) -> Result<Option<EntryKind>, &'static str> {
    let kind = match block.type_flag() {
        // Before there were types, only the slash told a directory.
        0 if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink(link),
        b'2' => EntryKind::Symlink(link),
        b'3' => {
            let (major, minor) = block.device()?;
            EntryKind::CharDevice { major, minor }
        }
        b'4' => {
            let (major, minor) = block.device()?;
            EntryKind::BlockDevice { major, minor }
        }
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => return Ok(None),
    };
    Ok(Some(kind))
}

/// A user or group id. The largest number is none: to chown(2) it means "as it is".
fn id(record: Option<i64>, field: impl FnOnce() -> Result<i64, &'static str>) -> Result<u32, &'static str> {
    let id = record.map_or_else(field, Ok)?;
    let id = u32::try_from(id).ok().filter(|&id| id != u32::MAX);
    id.ok_or("the owner or group is out of range")
}

fn limit(what: &'static str, limit: u64) -> ArchiveError {
    ArchiveError::Limit { what, limit }
}
