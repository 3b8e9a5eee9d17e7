//! Directories by descriptor.

use std::ffi::{CStr, CString, OsStr};
use std::fs::Permissions;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags, RawDir, ResolveFlags, Stat, Timespec, Timestamps};
use rustix::io::{self, Errno};

use crate::StoreError;

const BUFFER_BYTES: usize = 32 << 10;

/// Opens the directory `path` to be listed, whose last component is no symbolic link.
pub(crate) fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::open(path, flags, Mode::empty())
}

/// Makes the directory `path` with mode 755 whatever the umask is: it may become an image's root.
pub(crate) fn create(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Opens the directory `name` in `parent` to be listed; `None` if there is none.
pub(crate) fn open_at(parent: impl AsFd, name: &CStr) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match fs::openat(parent, name, flags, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens `path` in the tree `root`, the root itself if it is empty, without following any link;
/// `None` if it is not there or, by `flags`, no directory.
pub(crate) fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<Option<OwnedFd>> {
    let path = Path::new(OsStr::from_bytes(if path.is_empty() { b"." } else { path }));
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    loop {
        match fs::openat2(root, path, flags, Mode::empty(), resolve) {
            Ok(fd) => return Ok(Some(fd)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
            // The kernel could not be sure that nothing moved meanwhile: it asks to try again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The names in an open directory, sorted by byte.
pub(crate) fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    let mut names = Vec::new();
    each_name(directory, |name| {
        names.push(name.to_owned());
        true
    })?;
    names.sort_unstable();
    Ok(names)
}

/// Whether an open directory holds nothing.
pub(crate) fn is_empty(directory: BorrowedFd<'_>) -> io::Result<bool> {
    let mut is_empty = true;
    // A listing goes on where the last one of the same descriptor ended.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::openat(directory, c".", flags, Mode::empty())?;
    each_name(directory.as_fd(), |_| {
        is_empty = false;
        false
    })?;
    Ok(is_empty)
}

/// Gives a directory back the times that `stat` has.
pub(crate) fn restore_times(directory: impl AsFd, stat: &Stat) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    };
    fs::futimens(directory, &times)
}

/// The path of `name` in the directory `path` of a tree, whose root is the empty path.
pub(crate) fn join(path: &[u8], name: &[u8]) -> Vec<u8> {
    let separator = if path.is_empty() { &b""[..] } else { b"/" };
    [path, separator, name].concat()
}

/// A failure at `path` of a tree.
pub(crate) fn error(action: &'static str, path: &[u8], error: impl Into<std::io::Error>) -> StoreError {
    StoreError::Io { action, path: to_path(path), source: error.into() }
}

/// `path` of a tree, from its root.
pub(crate) fn to_path(path: &[u8]) -> PathBuf {
    Path::new("/").join(OsStr::from_bytes(path))
}

/// Calls `take` with every name but `.` and `..` until it answers `false`.
fn each_name(directory: BorrowedFd<'_>, mut take: impl FnMut(&CStr) -> bool) -> io::Result<()> {
    let mut buffer = [MaybeUninit::uninit(); BUFFER_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") && !take(name) {
            break;
        }
    }
    Ok(())
}
