//! Reads the entries of a tar archive.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::block::{Block, text};
use crate::blocks::Blocks;
use crate::content::Content;
use crate::extensions::Extensions;
use crate::pax::{Records, SparseRecords};
use crate::sparse::SparseMap;
use crate::{ArchiveError, EntryKind, Header, Limits, expansion};

/// Reads the entries of an uncompressed tar archive: v7, ustar, PAX, GNU, and both kinds' sparse files.
///
/// Where readers are known to differ, this one takes the reading of Go's `archive/tar`, with which
/// Docker and BuildKit read, or refuses the archive. So, only regular files have content, whatever size
/// another entry claims.
#[derive(Debug)]
pub struct Reader<R> {
    blocks: Blocks<R>,
    limits: Limits,
    /// Headers so far.
    headers: u64,
    /// Bytes of content of all entries so far, holes included.
    bytes: u64,
    content: Content,
    is_done: bool,
}

/// One entry. Reading it gives its content, the holes of a sparse file as zeros.
#[derive(Debug)]
pub struct Entry<'a, R> {
    /// Its metadata.
    pub header: Header,
    reader: &'a mut Reader<R>,
}

impl<R: Read> Reader<R> {
    /// Starts at the first byte of `inner`, which needs no buffer.
    pub fn new(inner: R, limits: Limits) -> Self {
        Self {
            blocks: Blocks::new(inner),
            limits,
            headers: 0,
            bytes: 0,
            content: Content::default(),
            is_done: false,
        }
    }

    /// The next entry, or `None` at the end. What was not read of the last one is skipped.
    ///
    /// # Errors
    /// [`ArchiveError::Read`], [`Truncated`](ArchiveError::Truncated),
    /// [`Malformed`](ArchiveError::Malformed), [`Limit`](ArchiveError::Limit) or
    /// [`UnsupportedType`](ArchiveError::UnsupportedType). After an error there are no more entries.
    #[expect(clippy::should_implement_trait, reason = "the entry borrows the reader")]
    pub fn next(&mut self) -> Result<Option<Entry<'_, R>>, ArchiveError> {
        if self.is_done {
            return Ok(None);
        }
        // If anything goes wrong from here on, the place in the stream means nothing any more.
        self.is_done = true;
        let Some(header) = self.read_header()? else { return Ok(None) };
        self.is_done = false;
        Ok(Some(Entry { header, reader: self }))
    }

    /// Reads what follows the archive, so that a digest of the stream covers all of it, and returns the
    /// stream.
    ///
    /// # Errors
    /// [`ArchiveError::Read`].
    pub fn finish(self) -> Result<R, ArchiveError> {
        self.blocks.finish()
    }

    fn read_header(&mut self) -> Result<Option<Header>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.content.skip(&mut self.blocks)?;
            let start = self.blocks.offset();
            let malformed = |reason| ArchiveError::Malformed { offset: start, reason };
            let Some(bytes) = self.blocks.read_header()? else {
                return match extensions.is_empty() {
                    true => Ok(None),
                    false => Err(malformed("no entry follows an extended header")),
                };
            };
            self.count_header()?;
            let block = Block::parse(bytes).map_err(malformed)?;
            match block.type_flag() {
                b'x' => {
                    let content = self.read_extension(&block, start)?;
                    extensions.set_pax(&content).map_err(malformed)?;
                }
                b'g' => {
                    let content = self.read_extension(&block, start)?;
                    check_global(&content, &extensions).map_err(malformed)?;
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

    /// The header of an entry that makes something, and the beginning of its content.
    fn read_entry(
        &mut self,
        block: &Block,
        extensions: Extensions,
        start: u64,
    ) -> Result<Header, ArchiveError> {
        let malformed = |reason| ArchiveError::Malformed { offset: start, reason };
        let Extensions { pax, long_path, long_link } = extensions;
        let records = pax.unwrap_or_default();
        let path = long_path.or(records.path).unwrap_or_else(|| block.path());
        let link = long_link.or(records.link_target).unwrap_or_else(|| block.link_target().to_vec());
        let Some(kind) = kind(block, &path, link).map_err(malformed)? else {
            let path = PathBuf::from(OsString::from_vec(path));
            return Err(ArchiveError::UnsupportedType { path, type_flag: char::from(block.type_flag()) });
        };
        let (mtime, mtime_nanos) = match records.mtime {
            Some(time) => time,
            None => (block.mtime().map_err(malformed)?, 0),
        };
        let mut header = Header {
            path,
            kind,
            mode: block.mode().map_err(malformed)?,
            uid: id(records.uid, || block.uid()).map_err(malformed)?,
            gid: id(records.gid, || block.gid()).map_err(malformed)?,
            size: 0,
            mtime,
            mtime_nanos,
            xattrs: records.xattrs,
        };
        if header.kind == EntryKind::File {
            let stored = records.size.map_or_else(|| block.size(), Ok).map_err(malformed)?;
            self.begin_content(&mut header, stored, block, records.sparse, start)?;
        }
        self.check(&header)?;
        Ok(header)
    }

    fn begin_content(
        &mut self,
        header: &mut Header,
        stored: u64,
        block: &Block,
        records: SparseRecords,
        start: u64,
    ) -> Result<(), ArchiveError> {
        self.content =
            Content::new(stored).map_err(|reason| ArchiveError::Malformed { offset: start, reason })?;
        let (content, blocks) = (&mut self.content, &mut self.blocks);
        header.size = stored;
        if let Some(map) = SparseMap::read(block, &records, content, blocks, &self.limits, start)? {
            header.size = map.size;
            self.content.spread(map);
            if let Some(name) = records.name {
                header.path = name;
            }
        }
        self.bytes = self.bytes.saturating_add(header.size);
        Ok(())
    }

    fn read_extension(&mut self, block: &Block, start: u64) -> Result<Vec<u8>, ArchiveError> {
        let malformed = |reason| ArchiveError::Malformed { offset: start, reason };
        let size = block.size().map_err(malformed)?;
        self.limit("bytes in an extended header", size, self.limits.extension as u64)?;
        self.content = Content::new(size).map_err(malformed)?;
        self.content.read_all(&mut self.blocks)
    }

    fn count_header(&mut self) -> Result<(), ArchiveError> {
        self.headers += 1;
        self.limit("entries", self.headers, self.limits.entries)
    }

    fn check(&self, header: &Header) -> Result<(), ArchiveError> {
        let link = match &header.kind {
            EntryKind::HardLink(target) | EntryKind::Symlink(target) => target.len(),
            _ => 0,
        };
        self.limit("bytes in a path", header.path.len().max(link) as u64, self.limits.path as u64)?;
        let xattrs = header.xattrs.len() as u64;
        self.limit("extended attributes of an entry", xattrs, self.limits.xattrs as u64)?;
        self.limit("bytes of content", self.bytes, self.limits.bytes)?;
        // Stored bytes are still to come from the stream; the rest of them are holes.
        let taken = self.blocks.offset().saturating_add(self.content.stored());
        if expansion::is_bomb(self.bytes, taken, self.limits.ratio) {
            let what = "bytes in sparse files for each byte of the archive";
            return Err(ArchiveError::Limit { what, limit: self.limits.ratio });
        }
        Ok(())
    }

    fn limit(&self, what: &'static str, value: u64, limit: u64) -> Result<(), ArchiveError> {
        if value > limit {
            return Err(ArchiveError::Limit { what, limit });
        }
        Ok(())
    }
}

impl<R: Read> Read for Entry<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.content.read(&mut self.reader.blocks, buffer)
    }
}

/// Checks a global PAX header, which has no effect: so Go's reader leaves it to its callers, and
/// containerd and Docker skip it. `git archive` writes its commit there.
fn check_global(content: &[u8], extensions: &Extensions) -> Result<(), &'static str> {
    let mut records = Records::default();
    records.read(content)?;
    if records.are_of_one_entry() {
        return Err("a global PAX header gives what only one entry can have");
    }
    if !extensions.is_empty() {
        return Err("no entry follows an extended header");
    }
    Ok(())
}

/// What the type flag says; `None` for what makes nothing in a file system.
fn kind(block: &Block, path: &[u8], link: Vec<u8>) -> Result<Option<EntryKind>, &'static str> {
    Ok(Some(match block.type_flag() {
        // Before directories had a flag, a slash told them.
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
    }))
}

/// A user or group id. The largest number is none: to chown(2) it means "as it is".
fn id(record: Option<i64>, field: impl FnOnce() -> Result<i64, &'static str>) -> Result<u32, &'static str> {
    let id = record.map_or_else(field, Ok)?;
    u32::try_from(id).ok().filter(|&id| id != u32::MAX).ok_or("the owner or group is out of range")
}
