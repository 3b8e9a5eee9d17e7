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
    /// `link_target` is a symbolic link's. Extended attributes are not read, see [`read_xattrs`], and
    /// that files are hard links is the caller's to find.
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs::File;

    use rustix::fs::{AtFlags, Mode, StatxFlags, XattrFlags};

    use super::*;
    use crate::place;

    #[test]
    fn what_is_placed_is_found_again() {
        let bed = tempfile::tempdir().unwrap();
        let parent = File::open(bed.path()).unwrap();
        for kind in [
            EntryKind::File,
            EntryKind::Directory,
            EntryKind::Symlink(b"target".to_vec()),
            EntryKind::Fifo,
            EntryKind::CharDevice { major: 5, minor: 260 },
            EntryKind::BlockDevice { major: 259, minor: 70_000 },
        ] {
            let mode = if matches!(kind, EntryKind::Symlink(_)) { 0o777 } else { 0o2751 };
            let mut header = Header::new("entry", kind, mode);
            (header.uid, header.gid) = (7, 8);
            (header.mtime, header.mtime_nanos) = (-5, 6);
            header.size = if header.kind == EntryKind::File { 3 } else { 0 };
            place(&parent, OsStr::new("entry"), &header, &mut &b"abc"[..]).unwrap();
            let flags = AtFlags::SYMLINK_NOFOLLOW;
            let stat = fs::statx(&parent, "entry", flags, StatxFlags::BASIC_STATS).unwrap();
            assert_eq!(Header::from_statx("entry", &stat, b"target".to_vec()), Some(header));
        }
    }

    #[test]
    fn a_socket_has_no_header() {
        let bed = tempfile::tempdir().unwrap();
        let path = bed.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let stat = fs::statx(fs::CWD, &path, AtFlags::empty(), StatxFlags::BASIC_STATS).unwrap();
        assert_eq!(Header::from_statx("socket", &stat, Vec::new()), None);
    }

    #[test]
    fn attributes_are_read_whatever_their_size() {
        let bed = tempfile::tempdir().unwrap();
        let directory = fs::open(bed.path(), fs::OFlags::RDONLY, Mode::empty()).unwrap();
        let mut expected = BTreeMap::new();
        for (name, size) in [("user.empty", 0), ("user.small", 5), ("user.large", 3000), ("user.not", 1)] {
            fs::fsetxattr(&directory, name, &vec![b'x'; size], XattrFlags::empty()).unwrap();
            expected.insert(name.as_bytes().to_vec(), vec![b'x'; size]);
        }
        expected.remove(&b"user.not"[..]);
        assert_eq!(read_xattrs(&directory, |name| name != b"user.not").unwrap(), expected);
    }
}
