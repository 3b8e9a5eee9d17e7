//! Headers of files that exist.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self, FileType, Statx};
use rustix::io::Errno;

use crate::{EntryKind, Header};

impl Header {
    /// The header of a file of which `stat` is known; `None` for a socket, which no archive holds.
    ///
    /// A symbolic link's target and extended attributes must be given, the latter afterwards; links
    /// between files are the caller's to find.
    pub fn from_statx(path: impl Into<Vec<u8>>, stat: &Statx, link_target: Vec<u8>) -> Option<Self> {
        let (major, minor) = (stat.stx_rdev_major, stat.stx_rdev_minor);
        let kind = match FileType::from_raw_mode(stat.stx_mode.into()) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Directory,
            FileType::Symlink => EntryKind::Symlink(link_target),
            FileType::Fifo => EntryKind::Fifo,
            FileType::CharacterDevice => EntryKind::CharDevice { major, minor },
            FileType::BlockDevice => EntryKind::BlockDevice { major, minor },
            _ => return None,
        };
        let mut header = Self::new(path, kind, u32::from(stat.stx_mode) & 0o7777);
        header.uid = stat.stx_uid;
        header.gid = stat.stx_gid;
        header.size = if header.kind == EntryKind::File { stat.stx_size } else { 0 };
        header.mtime = stat.stx_mtime.tv_sec;
        header.mtime_nanos = stat.stx_mtime.tv_nsec;
        Some(header)
    }
}

/// The extended attributes of an open file or directory whose names `keep` allows.
///
/// # Errors
/// As flistxattr(2) and fgetxattr(2); a file system without extended attributes is no error.
pub fn read_xattrs(file: impl AsFd, keep: impl Fn(&[u8]) -> bool) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let file = file.as_fd();
    let names = read_growing(|buffer| fs::flistxattr(file, buffer))?.unwrap_or_default();
    let mut xattrs = BTreeMap::new();
    for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty() && keep(name)) {
        // An attribute may have gone meanwhile.
        if let Some(value) = read_growing(|buffer| fs::fgetxattr(file, name, buffer))? {
            xattrs.insert(name.to_vec(), value);
        }
    }
    Ok(xattrs)
}

/// Reads into a buffer that grows until the answer fits; `None` if there is nothing to read.
fn read_growing(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(Errno::RANGE) => buffer.resize(buffer.len() * 16, 0),
            Err(Errno::OPNOTSUPP | Errno::NODATA) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
