//! The content of a file, and what else two files are compared by.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};

use lbuild_archive::DeviceNote;
use rustix::fs::{self, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The one extended attribute that a step's layer keeps, as BuildKit does.
pub(crate) const CAPABILITY: &CStr = c"security.capability";

/// Magic and flags, two pairs of sets, and in version 3 the owner of the user namespace.
const CAPABILITY_V2_BYTES: usize = 20;
const CAPABILITY_V3_BYTES: usize = 24;
const VERSION_MASK: u32 = 0xff00_0000;
const VERSION_2: u32 = 0x0200_0000;
const VERSION_3: u32 = 0x0300_0000;

/// An open regular file.
pub(crate) struct Content {
    pub file: File,
    /// Whether reading it by data regions pays.
    pub has_holes: bool,
    /// Its `security.capability`, in version 2.
    pub capability: Option<Vec<u8>>,
    /// The device that it stands for, if it notes one.
    pub device: Option<DeviceNote>,
}

impl Content {
    /// Opens the regular file `name`, of which `stat` was read.
    pub fn open(directory: BorrowedFd<'_>, name: &CStr, stat: &Stat) -> io::Result<Self> {
        // Non-blocking, should a FIFO have taken its place.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::openat(directory, name, flags, Mode::empty())?;
        let capability = capability(file.as_fd())?;
        let device = DeviceNote::read(&file, stat)?;
        let has_holes = stat.st_blocks * 512 < stat.st_size;
        Ok(Self { file: File::from(file), has_holes, capability, device })
    }

    /// Whether both hold the same bytes and capabilities, or stand for the same device. Both are read from the start again after.
    pub fn equals(&self, other: &Self) -> io::Result<bool> {
        if (&self.capability, &self.device) != (&other.capability, &other.device) {
            return Ok(false);
        }
        let (mut one, mut two) = (&self.file, &other.file);
        let is_same = same_bytes(&mut one, &mut two)?;
        one.rewind()?;
        two.rewind()?;
        Ok(is_same)
    }
}

/// Whether type, permissions, owner and device number are the same.
pub(crate) fn same_owner_and_mode(one: &Stat, two: &Stat) -> bool {
    let key = |stat: &Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    key(one) == key(two)
}

/// The capabilities of an open file or directory as a layer holds them.
///
/// A file that was given capabilities in a user namespace has them in version 3, with the namespace's
/// root on this host. An image knows no host, so root's become version 2; another user's stay,
/// since version 2 would make them real.
pub(crate) fn capability(file: BorrowedFd<'_>) -> rustix::io::Result<Option<Vec<u8>>> {
    let mut value = [0_u8; CAPABILITY_V3_BYTES];
    match fs::fgetxattr(file, CAPABILITY, &mut value[..]) {
        Ok(length) => Ok(Some(to_version_2(&value[..length]))),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn to_version_2(value: &[u8]) -> Vec<u8> {
    let word =
        |at: usize| value.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    let is_roots = word(CAPABILITY_V2_BYTES) == Some(0);
    match word(0) {
        Some(magic) if magic & VERSION_MASK == VERSION_3 && is_roots => {
            let magic = magic & !VERSION_MASK | VERSION_2;
            [&magic.to_le_bytes()[..], &value[4..CAPABILITY_V2_BYTES]].concat()
        }
        _ => value.to_vec(),
    }
}

fn same_bytes(one: &mut dyn Read, two: &mut dyn Read) -> io::Result<bool> {
    let mut first = vec![0; 64 << 10];
    let mut second = vec![0; 64 << 10];
    loop {
        let length = one.read(&mut first)?;
        if length == 0 {
            return Ok(two.read(&mut second[..1])? == 0);
        }
        match two.read_exact(&mut second[..length]) {
            Ok(()) if first[..length] == second[..length] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_of_roots_namespace_become_version_2() {
        let sets = [1_u32, 2, 3, 4].map(u32::to_le_bytes).concat();
        let value = |magic: u32, rest: &[u8]| [&magic.to_le_bytes()[..], &sets, rest].concat();
        for (name, given, expected) in [
            ("version 3 of root", value(0x0300_0001, &[0; 4]), value(0x0200_0001, &[])),
            ("version 3 of a user", value(0x0300_0001, &[1, 0, 0, 0]), value(0x0300_0001, &[1, 0, 0, 0])),
            ("version 2", value(0x0200_0000, &[]), value(0x0200_0000, &[])),
            ("nonsense", vec![1, 2], vec![1, 2]),
        ] {
            assert_eq!(to_version_2(&given), expected, "{name}");
        }
    }

    #[test]
    fn bytes_are_compared_to_the_end() {
        for (one, two, expected) in
            [("", "", true), ("a", "a", true), ("a", "ab", false), ("ab", "a", false), ("ab", "ac", false)]
        {
            assert_eq!(
                same_bytes(&mut one.as_bytes(), &mut two.as_bytes()).unwrap(),
                expected,
                "{one} {two}"
            );
        }
    }
}
