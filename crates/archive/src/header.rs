//! The metadata of one entry.

use std::collections::BTreeMap;

/// What an entry makes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A regular file; its bytes follow the header.
    File,
    /// Another name of the file at this path of the same archive.
    HardLink(Vec<u8>),
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Its driver.
        major: u32,
        /// Its unit.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its driver.
        major: u32,
        /// Its unit.
        minor: u32,
    },
}

/// The metadata of one entry, every extension applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The path as the archive has it: relative or not, perhaps with `.` and `..` components. A
    /// directory's may end in `/`.
    pub path: Vec<u8>,
    /// What the entry makes.
    pub kind: EntryKind,
    /// Permission, setuid, setgid and sticky bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes of content, holes included; 0 unless the kind is [`EntryKind::File`].
    pub size: u64,
    /// Seconds since the Unix epoch.
    pub mtime: i64,
    /// Nanoseconds to add to `mtime`, below 10⁹.
    pub mtime_nanos: u32,
    /// Extended attributes by their full name, such as `security.capability`.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Header {
    /// An entry of root's, made at the Unix epoch, without content.
    pub fn new(path: impl Into<Vec<u8>>, kind: EntryKind, mode: u32) -> Self {
        Self {
            path: path.into(),
            kind,
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            mtime: 0,
            mtime_nanos: 0,
            xattrs: BTreeMap::new(),
        }
    }
}
