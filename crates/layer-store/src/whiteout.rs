//! Translates deletions between overlayfs and OCI layers.
//!
//! overlayfs marks a deletion with a 0:0 character device, or with an empty file that carries the
//! attribute `overlay.whiteout` in a directory marked `overlay.opaque=x`; and a directory that hides
//! all below it with `overlay.opaque=y`. An OCI layer has an empty file `.wh.NAME`, and `.wh..wh..opq`
//! inside the directory. No other module knows any of these forms.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts> and
//! <https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories>

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use lbuild_archive::DeviceNote;
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat, XattrFlags};
use rustix::io::{self, Errno};

use crate::directory;

const PREFIX: &[u8] = b".wh.";
const META_PREFIX: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a name in a layer's tar means besides a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whiteout<'a> {
    /// What lower layers have under this name is deleted.
    Entry(&'a [u8]),
    /// All that lower layers have in this directory is deleted.
    Opaque,
    /// Something of AUFS, which wrote the first such layers, that means nothing elsewhere.
    Metadata,
}

impl<'a> Whiteout<'a> {
    /// Reads the last component of an entry's path.
    ///
    /// # Errors
    /// Why a name that begins as a whiteout is none.
    pub fn from_oci_name(name: &'a [u8]) -> Result<Option<Self>, &'static str> {
        match name.strip_prefix(PREFIX) {
            None => Ok(None),
            Some(_) if name == OPAQUE => Ok(Some(Self::Opaque)),
            Some(_) if name.starts_with(META_PREFIX) => Ok(Some(Self::Metadata)),
            Some(b"") => Err("a whiteout without a name"),
            Some(b"." | b"..") => Err("a whiteout of a directory itself or of its parent"),
            Some(name) => Ok(Some(Self::Entry(name))),
        }
    }
}

/// Whether a file of this name would be read as a whiteout.
pub(crate) fn is_reserved(name: &[u8]) -> bool {
    name.starts_with(PREFIX)
}

/// The name, in a layer's tar, of the deletion of `name`.
pub(crate) fn oci_name(name: &[u8]) -> Vec<u8> {
    [PREFIX, name].concat()
}

/// The name, in a layer's tar, of the deletion of all that lies below a directory.
pub(crate) fn oci_opaque_name() -> &'static [u8] {
    OPAQUE
}

/// What overlayfs says of a directory in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirectoryMark {
    /// It is merged with what lies below.
    Merged,
    /// It hides what lies below.
    Opaque,
    /// It is merged, and whiteouts in it may have the attribute form.
    HoldsWhiteouts,
}

/// How deletions are written into a directory that becomes a layer of an overlay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    /// `trusted.overlay.` or, in a user namespace, `user.overlay.`.
    is_user: bool,
    /// Whether new whiteouts take the attribute form: overlayfs itself refuses the devices.
    is_nested: bool,
}

impl Marks {
    pub fn new(is_user: bool, is_nested: bool) -> Self {
        Self { is_user, is_nested }
    }

    /// Whether empty files stand for devices: no user namespace may make them.
    pub fn notes_devices(self) -> bool {
        self.is_user
    }

    /// Whether an extended attribute belongs to overlayfs, or is how owners and devices are remembered, and
    /// must not come from outside.
    pub fn is_reserved_attribute(name: &[u8]) -> bool {
        [&b"trusted.overlay."[..], b"user.overlay.", b"user.lbuild."].iter().any(|own| name.starts_with(own))
    }

    /// Whether a copy within the store has an extended attribute too: those from outside, and what notes a
    /// device.
    pub fn is_kept_by_copies(name: &[u8]) -> bool {
        !Self::is_reserved_attribute(name) || DeviceNote::is_attribute(name)
    }

    /// What the open directory is marked as.
    pub fn directory(self, directory: impl AsFd) -> io::Result<DirectoryMark> {
        let mut value = [0_u8; 4];
        match fs::fgetxattr(directory, self.opaque(), &mut value[..]) {
            Ok(1) if value[0] == b'y' => Ok(DirectoryMark::Opaque),
            Ok(1) if value[0] == b'x' => Ok(DirectoryMark::HoldsWhiteouts),
            Ok(_) | Err(Errno::NODATA | Errno::NOTSUP | Errno::RANGE) => Ok(DirectoryMark::Merged),
            Err(error) => Err(error),
        }
    }

    /// Whether `name`, with metadata `stat`, in a directory with `mark` is a whiteout.
    pub fn is_whiteout(
        self,
        directory: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
        mark: DirectoryMark,
    ) -> io::Result<bool> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::CharacterDevice => Ok(stat.st_rdev == 0),
            FileType::RegularFile if stat.st_size == 0 && mark == DirectoryMark::HoldsWhiteouts => {
                match fs::lgetxattr(entry_path(directory, name), self.whiteout(), &mut [0_u8; 1][..]) {
                    Ok(_) | Err(Errno::RANGE) => Ok(true),
                    Err(Errno::NODATA | Errno::NOTSUP) => Ok(false),
                    Err(error) => Err(error),
                }
            }
            _ => Ok(false),
        }
    }

    /// Makes a whiteout of `name`, which must not exist.
    pub fn create(self, directory: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        if !self.is_nested {
            return fs::mknodat(directory, name, FileType::CharacterDevice, Mode::empty(), 0);
        }
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = fs::openat(directory, name, flags, Mode::from(0o600))?;
        fs::fsetxattr(file, self.whiteout(), b"y", XattrFlags::empty())?;
        if self.directory(directory)? == DirectoryMark::Merged {
            fs::fsetxattr(directory, self.opaque(), b"x", XattrFlags::empty())?;
        }
        Ok(())
    }

    /// Makes the open directory hide what lies below it.
    pub fn set_opaque(self, directory: impl AsFd) -> io::Result<()> {
        let directory = directory.as_fd();
        if self.directory(directory)? == DirectoryMark::HoldsWhiteouts {
            // The one attribute cannot say both, and what is hidden need not be deleted.
            for name in directory::names(directory)? {
                let stat = fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                if self.is_whiteout(directory, &name, &stat, DirectoryMark::HoldsWhiteouts)? {
                    fs::unlinkat(directory, &name, AtFlags::empty())?;
                }
            }
        }
        fs::fsetxattr(directory, self.opaque(), b"y", XattrFlags::empty())
    }

    /// Makes the open directory merge with what lies below it.
    pub fn clear_opaque(self, directory: impl AsFd) -> io::Result<()> {
        fs::fremovexattr(directory, self.opaque())
    }

    fn opaque(self) -> &'static CStr {
        if self.is_user { c"user.overlay.opaque" } else { c"trusted.overlay.opaque" }
    }

    fn whiteout(self) -> &'static CStr {
        if self.is_user { c"user.overlay.whiteout" } else { c"trusted.overlay.whiteout" }
    }
}

/// A path for the calls that take no directory descriptor.
fn entry_path(directory: BorrowedFd<'_>, name: &CStr) -> PathBuf {
    let directory = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    directory.join(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whiteout_names_are_recognised() {
        for (name, expected) in [
            (".wh.motd", Ok(Some(Whiteout::Entry(b"motd")))),
            (".wh..hidden", Ok(Some(Whiteout::Entry(b".hidden")))),
            (".wh....", Ok(Some(Whiteout::Entry(b"...")))),
            (".wh..wh..opq", Ok(Some(Whiteout::Opaque))),
            (".wh..wh.plnk", Ok(Some(Whiteout::Metadata))),
            (".wh..wh..opq2", Ok(Some(Whiteout::Metadata))),
            ("motd", Ok(None)),
            (".wh", Ok(None)),
            ("x.wh.motd", Ok(None)),
            (".wh.", Err("a whiteout without a name")),
            (".wh..", Err("a whiteout of a directory itself or of its parent")),
            (".wh...", Err("a whiteout of a directory itself or of its parent")),
        ] {
            assert_eq!(Whiteout::from_oci_name(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn both_forms_of_a_whiteout_are_read_back() {
        for (is_user, is_nested) in [(false, false), (true, false), (false, true), (true, true)] {
            let marks = Marks::new(is_user, is_nested);
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("file"), "").unwrap();
            let fd = fs::open(directory.path(), OFlags::RDONLY, Mode::empty()).unwrap();
            marks.create(fd.as_fd(), c"gone").unwrap();
            let mark = marks.directory(&fd).unwrap();
            for (name, expected) in [(c"gone", true), (c"file", false)] {
                let stat = fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
                let answer = marks.is_whiteout(fd.as_fd(), name, &stat, mark).unwrap();
                assert_eq!(answer, expected, "{name:?} {marks:?}");
            }
        }
    }

    #[test]
    fn an_opaque_directory_can_be_made_and_unmade() {
        for marks in [Marks::new(false, false), Marks::new(true, false)] {
            let directory = tempfile::tempdir().unwrap();
            let fd = fs::open(directory.path(), OFlags::RDONLY, Mode::empty()).unwrap();
            assert_eq!(marks.directory(&fd).unwrap(), DirectoryMark::Merged);
            marks.set_opaque(&fd).unwrap();
            assert_eq!(marks.directory(&fd).unwrap(), DirectoryMark::Opaque);
            marks.clear_opaque(&fd).unwrap();
            assert_eq!(marks.directory(&fd).unwrap(), DirectoryMark::Merged);
        }
    }
}
