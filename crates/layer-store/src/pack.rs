//! Makes a layer's tar, or a list of its entries, out of its directory.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lbuild_archive::{ArchiveError, EntryKind, Header, Writer};
use lbuild_oci::{DiffId, Digest, HasherBeside};

use crate::content::Content;
use crate::seal::Sink;
use crate::whiteout::Whiteout;
use crate::{LayerEntry, LayerEntryKind, StoreError};

/// Writes entries into a tar and computes its digest.
pub(crate) struct TarSink<'a> {
    writer: Writer<HashingWriter<&'a mut dyn Write>>,
    entries: u64,
}

/// What a tar turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packed {
    pub diff_id: DiffId,
    /// Bytes.
    pub size: u64,
    pub entries: u64,
}

impl<'a> TarSink<'a> {
    /// Writes to `output`, or nowhere if only the digest is wanted.
    pub fn new(output: Option<&'a mut dyn Write>) -> Self {
        let writer = HashingWriter { hasher: HasherBeside::new(), output };
        Self { writer: Writer::new(writer), entries: 0 }
    }

    /// Ends the tar.
    pub fn finish(self) -> Result<Packed, StoreError> {
        let inner = self.writer.finish().map_err(|error| StoreError::Pack(ArchiveError::Write(error)))?;
        let size = inner.hasher.written();
        Ok(Packed { diff_id: DiffId(inner.hasher.finish()), size, entries: self.entries })
    }
}

impl Sink for TarSink<'_> {
    fn entry(&mut self, header: &Header, content: Option<&Content>) -> Result<(), StoreError> {
        self.entries += 1;
        match content {
            Some(content) if content.has_holes => self.writer.append_file(header, &content.file),
            Some(content) => self.writer.append(header, &mut &content.file),
            None => self.writer.append(header, &mut io::empty()),
        }
        .map_err(StoreError::Pack)
    }
}

/// Lists entries.
#[derive(Default)]
pub(crate) struct ListSink {
    pub entries: Vec<LayerEntry>,
}

impl Sink for ListSink {
    fn entry(&mut self, header: &Header, _: Option<&Content>) -> Result<(), StoreError> {
        self.entries.extend(describe(header));
        Ok(())
    }
}

/// What a tar entry says to people; `None` if nothing.
pub(crate) fn describe(header: &Header) -> Option<LayerEntry> {
    let path = relative(&header.path);
    let name = path.file_name()?.as_bytes();
    let parent = path.parent().unwrap_or(Path::new(""));
    let (path, kind) = match Whiteout::from_oci_name(name) {
        Ok(Some(Whiteout::Entry(name))) => (parent.join(OsStr::from_bytes(name)), LayerEntryKind::Whiteout),
        Ok(Some(Whiteout::Opaque)) => (parent.to_owned(), LayerEntryKind::Opaque),
        Ok(Some(Whiteout::Metadata)) => return None,
        Ok(None) | Err(_) => (path.clone(), kind_of(&header.kind)),
    };
    let size = if kind == LayerEntryKind::File { header.size } else { 0 };
    Some(LayerEntry { path, kind, size })
}

fn kind_of(kind: &EntryKind) -> LayerEntryKind {
    match kind {
        EntryKind::File => LayerEntryKind::File,
        EntryKind::HardLink(_) => LayerEntryKind::HardLink,
        EntryKind::Symlink(_) => LayerEntryKind::Symlink,
        EntryKind::Directory => LayerEntryKind::Directory,
        EntryKind::Fifo => LayerEntryKind::Fifo,
        EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. } => LayerEntryKind::Device,
    }
}

fn relative(path: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(path))
        .components()
        .filter(|component| matches!(component, std::path::Component::Normal(_)))
        .collect()
}

/// Digests what is written to it, and hands it on if there is an output.
pub(crate) struct HashingWriter<W> {
    hasher: HasherBeside,
    output: Option<W>,
}

impl<W: Write> HashingWriter<W> {
    /// Hands all on to `output`.
    pub fn of(output: W) -> Self {
        Self { hasher: HasherBeside::new(), output: Some(output) }
    }

    /// The output, and the digest and number of the bytes that it got.
    pub fn into_parts(self) -> (Option<W>, Digest, u64) {
        let size = self.hasher.written();
        (self.output, self.hasher.finish(), size)
    }
}

impl<W: Write> Write for HashingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        match &mut self.output {
            Some(output) => output.write_all(bytes),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.output {
            Some(output) => output.flush(),
            None => Ok(()),
        }
    }
}
