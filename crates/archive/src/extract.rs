//! Extracts whole archives.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lbuild_confined::Root;
use rustix::io::Errno;

use crate::unpack::Unpacker;
use crate::{ArchiveError, EntryKind, Header, Reader};

/// How to extract an archive.
pub struct ExtractOptions<'a> {
    /// User and group of every entry, in place of those in the archive. Directories that the archive
    /// implies stay root's.
    pub owner: Option<(u32, u32)>,
    /// Which extended attributes to keep, by their full name.
    pub keep_xattr: &'a dyn Fn(&[u8]) -> bool,
    /// Whether an entry that stands for the destination itself gives it its metadata.
    pub preserve_root_metadata: bool,
    /// Whether devices are noted ([`DeviceNote`](crate::DeviceNote)) and not made.
    pub note_devices: bool,
    /// Which entries to extract.
    pub filter: &'a dyn Fn(&Header) -> bool,
}

impl Default for ExtractOptions<'_> {
    /// As ADD does it: the archive's owners, only `security.capability`, the destination as it is, and
    /// every entry.
    fn default() -> Self {
        Self {
            owner: None,
            keep_xattr: &|name| name == b"security.capability",
            preserve_root_metadata: false,
            note_devices: false,
            filter: &|_| true,
        }
    }
}

/// What was extracted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtractReport {
    /// Entries.
    pub entries: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    /// Extended attributes that the file system, or our rights, did not allow.
    pub refused_xattrs: u64,
}

/// Extracts an archive into the directory `destination` of `root`, which must exist.
///
/// Directories are merged with those that are there and get the archive's metadata; everything else
/// replaces what is there, a whole tree if need be. Directories on the way to an entry are made where
/// they are missing. As in BuildKit, a path that leads out of the destination is an error, also by a
/// symbolic link on its way, and an absolute link on the way is one. Entries before the failing one
/// stay.
///
/// # Errors
/// Those of [`Reader::next`]; [`ArchiveError::Outside`] and [`ArchiveError::Unpack`].
pub fn extract(
    reader: &mut Reader<impl Read>,
    root: &Root,
    destination: &Path,
    options: &ExtractOptions<'_>,
) -> Result<ExtractReport, ArchiveError> {
    let tree = root
        .subtree(destination)
        .map_err(|source| ArchiveError::Unpack { path: destination.to_owned(), source })?;
    let mut unpacker =
        Unpacker::new(tree, options.preserve_root_metadata).noting_devices(options.note_devices);
    let mut report = ExtractReport::default();
    while let Some(mut entry) = reader.next()? {
        let mut header = entry.header.clone();
        if !(options.filter)(&header) {
            continue;
        }
        refuse_deletion_mark(&header)?;
        if let Some((uid, gid)) = options.owner {
            (header.uid, header.gid) = (uid, gid);
        }
        header.xattrs.retain(|name, _| (options.keep_xattr)(name));
        let placed = unpacker.put(&header, &mut entry)?;
        report.entries += 1;
        report.bytes += header.size;
        report.refused_xattrs += placed.refused_xattrs.len() as u64;
    }
    unpacker.finish()?;
    Ok(report)
}

/// Union file systems take a device 0:0 for the deletion of what lies below.
fn refuse_deletion_mark(header: &Header) -> Result<(), ArchiveError> {
    if header.kind != (EntryKind::CharDevice { major: 0, minor: 0 }) {
        return Ok(());
    }
    let path = PathBuf::from(OsStr::from_bytes(&header.path));
    Err(ArchiveError::Unpack { path, source: io::Error::from(Errno::PERM) })
}
