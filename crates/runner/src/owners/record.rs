//! How an owner is noted.
//!
//! A file or directory has it in an extended attribute of its own. Nothing else can have such
//! attributes: the directory of a link, FIFO or socket notes its owner, by its name.

use std::os::fd::OwnedFd;

use rustix::fs::{self, FileType, Stat, XattrFlags};
use rustix::io::{self, Errno};

use super::target::{Opened, handle_path};

/// `UID:GID`, as text.
const OWN: &str = "user.lbuild.owner";
/// `UID:GID:NAME`, as text, each ended by a NUL byte.
const HELD: &str = "user.lbuild.owners";
/// Stands for every name, where a directory's notes did not fit any more.
const ANY: &[u8] = b"*/";

/// Who owns a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Owner {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

impl Owner {
    const ROOT: Self = Self { uid: 0, gid: 0 };

    fn parse(text: &str) -> Option<Self> {
        let (uid, gid) = text.split_once(':')?;
        Some(Self { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
    }
}

/// Whether the owner is one that may be noted: the kernel says that it is us.
pub(super) fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == 0
}

/// The owner that is noted of a file.
pub(super) fn read(opened: &Opened, stat: &Stat) -> Option<Owner> {
    if has_attributes(stat) {
        let value = attribute(&opened.file, OWN)?;
        return Owner::parse(std::str::from_utf8(&value).ok()?);
    }
    let place = opened.place.as_ref()?;
    let notes = Notes::read(&place.directory);
    notes.find(&place.name).or_else(|| notes.find(ANY))
}

/// Notes an owner; root's need no note.
pub(super) fn write(opened: &Opened, stat: &Stat, owner: Owner) -> io::Result<()> {
    if has_attributes(stat) {
        let path = handle_path(&opened.file);
        return match owner {
            Owner::ROOT => match fs::removexattr(path, OWN) {
                Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
                result => result,
            },
            Owner { uid, gid } => {
                fs::setxattr(path, OWN, format!("{uid}:{gid}").as_bytes(), XattrFlags::empty())
            }
        };
    }
    let Some(place) = &opened.place else { return Ok(()) };
    let mut notes = Notes::read(&place.directory);
    notes.set(&place.name, owner);
    notes.write(&place.directory)
}

/// What a directory notes of a name goes with it to another one, or is forgotten.
pub(super) fn moved(from: (&OwnedFd, &[u8]), to: Option<(&OwnedFd, &[u8])>) -> io::Result<()> {
    let mut source = Notes::read(from.0);
    let Some(owner) = source.find(from.1) else {
        return to.map_or(Ok(()), |(directory, name)| forget(directory, name));
    };
    source.set(from.1, Owner::ROOT);
    source.write(from.0)?;
    let Some((directory, name)) = to else { return Ok(()) };
    let mut target = Notes::read(directory);
    target.set(name, owner);
    target.write(directory)
}

/// Forgets what a directory notes of a name.
pub(super) fn forget(directory: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let mut notes = Notes::read(directory);
    if notes.find(name).is_none() {
        return Ok(());
    }
    notes.set(name, Owner::ROOT);
    notes.write(directory)
}

/// Whether a file of this kind can have attributes of its own.
pub(super) fn has_attributes(stat: &Stat) -> bool {
    matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
}

fn attribute(file: &OwnedFd, name: &str) -> Option<Vec<u8>> {
    let path = handle_path(file);
    let mut value = vec![0; 64];
    loop {
        match fs::getxattr(&path, name, &mut *value) {
            Ok(length) => {
                value.truncate(length);
                return Some(value);
            }
            Err(Errno::RANGE) if value.len() < 1 << 16 => value.resize(1 << 16, 0),
            Err(_) => return None,
        }
    }
}

/// The notes of a directory.
#[derive(Debug, Default, PartialEq, Eq)]
struct Notes(Vec<(Vec<u8>, Owner)>);

impl Notes {
    fn read(directory: &OwnedFd) -> Self {
        attribute(directory, HELD).map_or_else(Self::default, |value| Self::parse(&value))
    }

    fn parse(value: &[u8]) -> Self {
        let note = |note: &[u8]| {
            let name = note.iter().enumerate().filter(|(_, byte)| **byte == b':').nth(1)?.0;
            let owner = Owner::parse(std::str::from_utf8(&note[..name]).ok()?)?;
            Some((note[name + 1..].to_vec(), owner))
        };
        Self(value.split(|&byte| byte == 0).filter_map(note).collect())
    }

    fn find(&self, name: &[u8]) -> Option<Owner> {
        self.0.iter().find(|(noted, _)| noted == name).map(|(_, owner)| *owner)
    }

    fn set(&mut self, name: &[u8], owner: Owner) {
        self.0.retain(|(noted, _)| noted != name);
        if owner != Owner::ROOT || self.find(ANY).is_some() {
            self.0.push((name.to_vec(), owner));
        }
    }

    fn write(&self, directory: &OwnedFd) -> io::Result<()> {
        let path = handle_path(directory);
        if self.0.is_empty() {
            return match fs::removexattr(path, HELD) {
                Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
                result => result,
            };
        }
        match fs::setxattr(&path, HELD, &self.bytes(), XattrFlags::empty()) {
            Err(Errno::NOSPC | Errno::TOOBIG | Errno::RANGE) => {
                let last = self.0.last().map_or(Owner::ROOT, |(_, owner)| *owner);
                let any = Self(vec![(ANY.to_vec(), last)]);
                fs::setxattr(path, HELD, &any.bytes(), XattrFlags::empty())
            }
            result => result,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let note = |(name, Owner { uid, gid }): &(Vec<u8>, Owner)| {
            [format!("{uid}:{gid}:").as_bytes(), name, b"\0"].concat()
        };
        self.0.iter().flat_map(note).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_read_as_they_were_written() {
        let mut notes = Notes::default();
        notes.set(b"a:b", Owner { uid: 1, gid: 2 });
        notes.set(b"c", Owner { uid: u32::MAX, gid: 0 });
        assert_eq!(Notes::parse(&notes.bytes()), notes);
        notes.set(b"c", Owner::ROOT);
        assert_eq!(notes.find(b"c"), None);
        assert_eq!(notes.find(b"a:b"), Some(Owner { uid: 1, gid: 2 }));
    }

    #[test]
    fn notes_of_strangers_do_no_harm() {
        for value in [&b""[..], b"\0\0", b"1", b"1:2", b"x:y:z\0", b"99999999999:1:a\0", b"\xff:\xff:a"] {
            assert_eq!(Notes::parse(value), Notes::default(), "{value:?}");
        }
    }
}
