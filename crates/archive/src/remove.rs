//! Removes a file system entry by an open directory and a name.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::place::check_name;

/// Levels of a tree that are open at once.
const MAX_OPEN: usize = 64;

const DIRECTORY_FLAGS: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes `name` of `parent` with all that it holds; no symbolic link is followed.
///
/// # Errors
/// `NotFound` if there is nothing; `InvalidInput` if the name is not one component; else as the system
/// calls, after some of it was removed.
pub fn remove(parent: impl AsFd, name: &OsStr) -> io::Result<()> {
    check_name(name)?;
    let name = CString::new(name.as_bytes())?;
    match unlink(parent.as_fd(), &name)? {
        None => Ok(()),
        Some(directory) => remove_tree(parent.as_fd(), name, directory),
    }
}

/// Removes a directory, however deep the tree is: what is open is kept in a list, not on the stack, and
/// only so many levels are open at once.
fn remove_tree(parent: BorrowedFd<'_>, name: CString, directory: Dir) -> io::Result<()> {
    let mut closed: Vec<(Identity, CString)> = Vec::new();
    let mut open = VecDeque::from([(directory, name)]);
    while let Some((directory, _)) = open.back_mut() {
        if let Some(entry) = directory.read().transpose()? {
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if let Some(inner) = unlink(directory.fd()?, name)? {
                open.push_back((inner, name.to_owned()));
            }
            if open.len() > MAX_OPEN
                && let Some((outermost, name)) = open.pop_front()
            {
                closed.push((Identity::of(outermost.fd()?)?, name));
            }
            continue;
        }
        let Some((emptied, name)) = open.pop_back() else { break };
        if open.is_empty()
            && let Some((identity, name)) = closed.pop()
        {
            open.push_back((identity.reopen_above(emptied.fd()?)?, name));
        }
        let holder = match open.back() {
            Some((directory, _)) => directory.fd()?,
            None => parent,
        };
        fs::unlinkat(holder, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Tells a directory from all others.
#[derive(PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(directory: BorrowedFd<'_>) -> io::Result<Self> {
        let stat = fs::fstat(directory)?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino })
    }

    /// Opens this directory again, which holds `inner` unless somebody moved that meanwhile.
    fn reopen_above(&self, inner: BorrowedFd<'_>) -> io::Result<Dir> {
        let above = fs::openat(inner, "..", DIRECTORY_FLAGS, Mode::empty())?;
        if Self::of(above.as_fd())? != *self {
            return Err(Errno::STALE.into());
        }
        Ok(Dir::new(above)?)
    }
}

/// Removes a file, or opens what turns out to be a directory.
fn unlink(parent: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Dir>> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) => Ok(None),
        // POSIX's and Linux's answers for a directory.
        Err(unlink_error @ (Errno::ISDIR | Errno::PERM)) => {
            match fs::openat(parent, name, DIRECTORY_FLAGS, Mode::empty()) {
                Ok(directory) => Ok(Some(Dir::new(directory)?)),
                Err(Errno::NOTDIR | Errno::LOOP) => Err(unlink_error.into()),
                Err(error) => Err(error.into()),
            }
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_removed_and_not_followed() {
        let bed = tempfile::tempdir().unwrap();
        let outside = bed.path().join("outside");
        let inside = bed.path().join("inside");
        std::fs::create_dir_all(outside.join("kept")).unwrap();
        std::fs::create_dir_all(inside.join("a/b")).unwrap();
        std::fs::write(inside.join("a/file"), "x").unwrap();
        symlink(&outside, inside.join("a/b/link")).unwrap();
        symlink(&outside, bed.path().join("link")).unwrap();
        let parent = std::fs::File::open(bed.path()).unwrap();
        for name in ["link", "inside"] {
            remove(&parent, OsStr::new(name)).unwrap();
        }
        assert!(outside.join("kept").is_dir());
        assert!(!inside.exists());
        assert_eq!(remove(&parent, OsStr::new("link")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn names_that_are_paths_are_refused() {
        let bed = tempfile::tempdir().unwrap();
        let parent = std::fs::File::open(bed.path()).unwrap();
        for name in ["", ".", "..", "a/b", "/"] {
            let error = remove(&parent, OsStr::new(name)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_removed() {
        let bed = tempfile::tempdir().unwrap();
        let parent = std::fs::File::open(bed.path()).unwrap();
        let mut directory = std::os::fd::OwnedFd::from(parent.try_clone().unwrap());
        for _ in 0..1500 {
            fs::mkdirat(&directory, "deep", Mode::RWXU).unwrap();
            fs::mkdirat(&directory, "side", Mode::RWXU).unwrap();
            directory = fs::openat(&directory, "deep", DIRECTORY_FLAGS, Mode::empty()).unwrap();
        }
        remove(&parent, OsStr::new("deep")).unwrap();
        assert!(!bed.path().join("deep").exists());
    }
}
