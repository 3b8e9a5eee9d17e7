//! Device nodes where none can be made.
//!
//! The kernel lets no user namespace make devices, and a build that could open them would reach the
//! machine's. There an empty file of root's stands for one, and notes which it is. Files of other owners
//! stand for none: they could be anybody's who runs in a step.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self, FileType, Stat, XattrFlags};
use rustix::io::Errno;

use crate::{EntryKind, Header};

/// `KIND MAJOR:MINOR UID`, as text; the group and the mode are the file's own.
const ATTRIBUTE: &str = "user.lbuild.device";

/// More than any note takes, in bytes.
const LONGEST: usize = 64;

/// What an empty file stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceNote {
    /// A character or a block device.
    pub kind: EntryKind,
    /// The device's owner.
    pub uid: u32,
}

impl DeviceNote {
    /// The note of a device; `None` for what is none.
    pub fn new(kind: &EntryKind, uid: u32) -> Option<Self> {
        let is_device = matches!(kind, EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. });
        is_device.then(|| Self { kind: kind.clone(), uid })
    }

    /// The note of an open file, of which `stat` is known.
    ///
    /// # Errors
    /// As fgetxattr(2); a file system without extended attributes is no error.
    pub fn read(file: impl AsFd, stat: &Stat) -> io::Result<Option<Self>> {
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || stat.st_size != 0 || stat.st_uid != 0 {
            return Ok(None);
        }
        let mut value = [0; LONGEST];
        match fs::fgetxattr(file, ATTRIBUTE, &mut value[..]) {
            Ok(length) => Ok(Self::parse(&value[..length])),
            Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the open empty file, which must be root's, stand for the device.
    ///
    /// # Errors
    /// As fsetxattr(2).
    pub fn write(&self, file: impl AsFd) -> io::Result<()> {
        Ok(fs::fsetxattr(file, ATTRIBUTE, &self.text(), XattrFlags::empty())?)
    }

    /// What tells this note from others.
    pub fn text(&self) -> Vec<u8> {
        let (letter, major, minor) = match self.kind {
            EntryKind::BlockDevice { major, minor } => ('b', major, minor),
            EntryKind::CharDevice { major, minor } => ('c', major, minor),
            _ => ('-', 0, 0),
        };
        format!("{letter} {major}:{minor} {}", self.uid).into_bytes()
    }

    /// Whether an extended attribute is a note.
    pub fn is_attribute(name: &[u8]) -> bool {
        name == ATTRIBUTE.as_bytes()
    }

    fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let [letter, device, uid] = text.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let (major, minor) = device.split_once(':')?;
        let (major, minor) = (major.parse().ok()?, minor.parse().ok()?);
        let kind = match letter {
            // Union file systems take 0:0 for a deletion.
            "c" if (major, minor) != (0, 0) => EntryKind::CharDevice { major, minor },
            "b" => EntryKind::BlockDevice { major, minor },
            _ => return None,
        };
        Some(Self { kind, uid: uid.parse().ok()? })
    }
}

impl Header {
    /// What stands for a device where none can be made; anything else as it is.
    #[must_use]
    pub fn with_device_noted(mut self) -> Self {
        if let Some(note) = DeviceNote::new(&self.kind, self.uid) {
            (self.kind, self.uid, self.size) = (EntryKind::File, 0, 0);
            self.xattrs.insert(ATTRIBUTE.into(), note.text());
        }
        self
    }

    /// The device that a file with this header and `note` stands for.
    #[must_use]
    pub fn of_noted_device(mut self, note: DeviceNote) -> Self {
        (self.kind, self.uid, self.size) = (note.kind, note.uid, 0);
        self.xattrs.clear();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONSOLE: EntryKind = EntryKind::CharDevice { major: 5, minor: 1 };

    #[test]
    fn a_note_is_read_back() {
        for kind in [CONSOLE, EntryKind::BlockDevice { major: 259, minor: 1_048_575 }] {
            let note = DeviceNote::new(&kind, 33).unwrap();
            assert_eq!(DeviceNote::parse(&note.text()), Some(note));
        }
        assert_eq!(DeviceNote::new(&EntryKind::Fifo, 0), None);
    }

    #[test]
    fn what_is_no_note_stands_for_nothing() {
        for text in [
            "",
            "c",
            "c 5:1",
            "c 5 1",
            "c 5:1 x",
            "c 5:1 0 0",
            "d 5:1 0",
            "c -5:1 0",
            "c 0:0 0",
            "c 5:1 4294967296",
        ] {
            assert_eq!(DeviceNote::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn only_an_empty_file_of_roots_stands_for_a_device() {
        let bed = tempfile::tempdir().unwrap();
        let note = DeviceNote::new(&CONSOLE, 0).unwrap();
        for (name, content, owner, expected) in
            [("stand-in", "", 0, Some(&note)), ("full", "x", 0, None), ("another's", "", 1000, None)]
        {
            let path = bed.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
            let file = std::fs::File::open(&path).unwrap();
            note.write(&file).unwrap();
            let read = DeviceNote::read(&file, &fs::fstat(&file).unwrap()).unwrap();
            assert_eq!(read.as_ref(), expected, "{name}");
        }
    }

    #[test]
    fn a_device_and_its_stand_in_have_one_header() {
        let mut device = Header::new(*b"dev/console", CONSOLE, 0o620);
        (device.uid, device.gid) = (7, 5);
        let noted = device.clone().with_device_noted();
        assert_eq!((&noted.kind, noted.uid, noted.gid, noted.mode), (&EntryKind::File, 0, 5, 0o620));
        let note = DeviceNote::parse(&noted.xattrs[ATTRIBUTE.as_bytes()]).unwrap();
        assert_eq!(noted.of_noted_device(note), device);
        let file = Header::new(*b"file", EntryKind::File, 0o644);
        assert_eq!(file.clone().with_device_noted(), file);
    }
}
