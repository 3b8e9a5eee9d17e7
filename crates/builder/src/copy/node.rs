//! One file of the target, by its open directory and its name.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use lbuild_build_context::{Kind, Metadata, Time};
use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::error::CopyError;

/// What a file of the target gets besides its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    pub(super) mtime: Time,
}

/// A place in the target tree.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    /// The open directory.
    pub(super) place: BorrowedFd<'a>,
    pub(super) name: &'a OsStr,
    /// For messages: from the root of the target.
    pub(super) path: &'a Path,
}

impl Node<'_> {
    /// Makes a regular file, open for writing, in place of any file or link.
    pub(super) fn create(&self) -> Result<File, CopyError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        self.replacing(|| fs::openat(self.place, self.name, flags, mode)).map(File::from)
    }

    /// Makes a symbolic link in place of any file or link.
    pub(super) fn symlink(&self, target: &OsStr) -> Result<(), CopyError> {
        self.replacing(|| fs::symlinkat(target, self.place, self.name))
    }

    /// Makes a FIFO or a device in place of any file or link.
    pub(super) fn special(&self, kind: Kind, device: u64) -> Result<(), CopyError> {
        let file_type = match kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let mode = Mode::RUSR | Mode::WUSR;
        match self.replacing(|| fs::mknodat(self.place, self.name, file_type, mode, device)) {
            Err(CopyError::Write { path, source }) if kind != Kind::Fifo => {
                Err(CopyError::Device { path, source })
            }
            result => result,
        }
    }

    /// Makes another name of `name` in `directory`, in place of any file or link.
    pub(super) fn link(&self, directory: impl AsFd, name: &OsStr) -> Result<(), CopyError> {
        self.replacing(|| fs::linkat(&directory, name, self.place, self.name, AtFlags::empty()))
    }

    /// Makes a directory, or takes the one that is there, and says whether it is new.
    pub(super) fn enter(&self) -> Result<(OwnedFd, bool), CopyError> {
        let is_new = match fs::mkdirat(self.place, self.name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(self.failed(error)),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::openat(self.place, self.name, flags, Mode::empty()) {
            Ok(directory) => Ok((directory, is_new)),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                Err(CopyError::DirectoryOverFile { path: self.path.to_owned() })
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Gives what was just made its owner, mode and time; a link has no mode.
    pub(super) fn set_attributes(&self, attributes: Attributes, is_link: bool) -> Result<(), CopyError> {
        let Attributes { uid, gid, mode, mtime } = attributes;
        let (user, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        fs::chownat(self.place, self.name, user, group, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| not_owned(self.path, uid, gid, error))?;
        let set_rest = || {
            if !is_link {
                fs::chmodat(self.place, self.name, Mode::from_raw_mode(mode), AtFlags::empty())?;
            }
            fs::utimensat(self.place, self.name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
        };
        set_rest().map_err(|error| self.failed(error))
    }

    pub(super) fn failed(&self, source: impl Into<io::Error>) -> CopyError {
        CopyError::Write { path: self.path.to_owned(), source: source.into() }
    }

    /// Makes something new here; if something is there, removes that and tries again.
    fn replacing<T>(&self, make: impl Fn() -> rustix::io::Result<T>) -> Result<T, CopyError> {
        match make() {
            Err(Errno::EXIST) => {}
            result => return result.map_err(|error| self.failed(error)),
        }
        let there = fs::statat(self.place, self.name, AtFlags::SYMLINK_NOFOLLOW);
        if there.is_ok_and(|stat| Metadata::of(&stat).is_directory()) {
            return Err(CopyError::FileOverDirectory { path: self.path.to_owned() });
        }
        fs::unlinkat(self.place, self.name, AtFlags::empty()).map_err(|error| self.failed(error))?;
        make().map_err(|error| self.failed(error))
    }
}

/// Gives an open file or directory its owner, mode and time.
pub(super) fn set_attributes(
    file: impl AsFd,
    attributes: Attributes,
    capabilities: Option<&[u8]>,
    path: &Path,
) -> Result<(), CopyError> {
    let Attributes { uid, gid, mode, mtime } = attributes;
    // A new owner takes setuid bits and capabilities away, so they come after.
    fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|error| not_owned(path, uid, gid, error))?;
    let set_rest = || {
        fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        if let Some(capabilities) = capabilities {
            fs::fsetxattr(&file, "security.capability", capabilities, fs::XattrFlags::empty())?;
        }
        fs::futimens(&file, &times(mtime))
    };
    set_rest().map_err(|error| CopyError::Write { path: path.to_owned(), source: error.into() })
}

/// Both times of a file; nobody sees when a file of an image was read.
pub(crate) fn times(mtime: Time) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() };
    Timestamps { last_access: time, last_modification: time }
}

pub(super) fn not_owned(path: &Path, uid: u32, gid: u32, source: Errno) -> CopyError {
    CopyError::Owner { path: path.to_owned(), uid, gid, source: source.into() }
}
