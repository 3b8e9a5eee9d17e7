//! What a file is, apart from its name and content.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

/// The metadata of a file itself, never of what a link leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Permission, setuid, setgid and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of content.
    pub size: u64,
    /// Last change of the content.
    pub mtime: Time,
    /// Last change of content or metadata.
    pub ctime: Time,
    /// The file system that holds it.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Names that it has there.
    pub links: u64,
    /// The device that a device node stands for.
    pub special: u64,
}

/// A moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// Since the Unix epoch.
    pub seconds: i64,
    /// Below 10⁹.
    pub nanos: u32,
}

/// The types of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Metadata {
    /// Of what stat(2) says.
    // The widths of stat's fields depend on the platform.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    pub fn of(stat: &Stat) -> Self {
        let time = |seconds, nanos| Time { seconds, nanos: u32::try_from(nanos).unwrap_or(0) };
        Self {
            kind: Kind::of(FileType::from_raw_mode(stat.st_mode)),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec),
            device: stat.st_dev as u64,
            inode: stat.st_ino as u64,
            links: stat.st_nlink as u64,
            special: stat.st_rdev as u64,
        }
    }

    /// Whether the file, or another in its place, may have changed since it was as `before` says.
    pub fn has_changed_since(&self, before: &Self) -> bool {
        let state = |metadata: &Self| {
            let Self { device, inode, size, mtime, ctime, .. } = *metadata;
            (device, inode, size, mtime, ctime)
        };
        state(self) != state(before)
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == Kind::Directory
    }
}

impl Kind {
    /// A letter for each kind, as ls(1) shows it.
    pub fn letter(self) -> u8 {
        match self {
            Self::File => b'f',
            Self::Directory => b'd',
            Self::Symlink => b'l',
            Self::Fifo => b'p',
            Self::Socket => b's',
            Self::CharDevice => b'c',
            Self::BlockDevice => b'b',
        }
    }

    fn of(kind: FileType) -> Self {
        match kind {
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            FileType::Fifo => Self::Fifo,
            FileType::Socket => Self::Socket,
            FileType::CharacterDevice => Self::CharDevice,
            FileType::BlockDevice => Self::BlockDevice,
            _ => Self::File,
        }
    }
}

/// The file capabilities of an open file, the one extended attribute that a copy keeps.
///
/// # Errors
/// As fgetxattr(2), but for a file or a file system that has none.
pub fn capabilities(file: impl AsFd) -> std::io::Result<Option<Vec<u8>>> {
    // The largest form that Linux has, version 3, takes 24 bytes.
    let mut value = [0; 64];
    match rustix::fs::fgetxattr(file, "security.capability", &mut value) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
