//! A way down a tree by open directories.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Mode, OFlags, ResolveFlags};

/// How many directories below the top stay open.
const MAX_OPEN: usize = 32;

/// In bytes, of a path that the kernel takes.
const MAX_PATH: usize = 4095;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The directories from a top one down to the one that a walk is in.
///
/// Only the lowest stay open, so that a deep tree takes no more file descriptors than a flat one, and
/// no path gets too long for the kernel. Those that were closed are opened again from the top, no
/// symbolic link followed: whatever is moved meanwhile, the way does not lead out of the top.
#[derive(Debug)]
pub struct Descent {
    top: OwnedFd,
    /// Below the top, one directory in the other.
    names: Vec<OsString>,
    /// The last of those named; none only at the top.
    open: VecDeque<OwnedFd>,
}

impl Descent {
    /// Starts in the open directory `top`.
    pub fn new(top: OwnedFd) -> Self {
        Self { top, names: Vec::new(), open: VecDeque::new() }
    }

    /// The directory that the walk is in.
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.open.back().unwrap_or(&self.top).as_fd()
    }

    /// Opens the directory `name` of this directory, for [`Descent::enter`].
    ///
    /// # Errors
    /// As openat(2); `ENOTDIR` or `ELOOP` if it is none.
    pub fn open(&self, name: &OsStr) -> io::Result<OwnedFd> {
        Self::open_in(self.directory(), name)
    }

    /// Opens the directory `name` of `directory`, as [`Descent::open`] does of the one that it is in.
    ///
    /// # Errors
    /// As [`Descent::open`].
    pub fn open_in(directory: impl AsFd, name: &OsStr) -> io::Result<OwnedFd> {
        Ok(fs::openat(directory, name, DIRECTORY, Mode::empty())?)
    }

    /// Goes down into `directory`, which is `name` in this directory.
    pub fn enter(&mut self, name: OsString, directory: OwnedFd) {
        self.names.push(name);
        self.open.push_back(directory);
        if self.open.len() > MAX_OPEN {
            self.open.pop_front();
        }
    }

    /// Goes back up; does nothing at the top.
    ///
    /// # Errors
    /// As openat2(2), if the directory above has to be opened again and is not there any more.
    pub fn leave(&mut self) -> io::Result<()> {
        self.names.pop();
        self.open.pop_back();
        if self.open.is_empty() { self.reopen() } else { Ok(()) }
    }

    /// Opens the lowest directories, none of which is open.
    fn reopen(&mut self) -> io::Result<()> {
        let (above, lowest) = self.names.split_at(self.names.len().saturating_sub(MAX_OPEN));
        let above = self.below_top(above)?;
        for name in lowest {
            let directory = self.open.back().unwrap_or(&above);
            self.open.push_back(fs::openat(directory, name, DIRECTORY, Mode::empty())?);
        }
        Ok(())
    }

    fn below_top(&self, names: &[OsString]) -> io::Result<OwnedFd> {
        let open = |directory: &OwnedFd, path: &Path| {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            fs::openat2(directory, path, OFlags::PATH | DIRECTORY, Mode::empty(), resolve)
        };
        let mut directory = self.top.try_clone()?;
        let mut path = PathBuf::new();
        for name in names {
            if path.as_os_str().len() + 1 + name.as_bytes().len() > MAX_PATH {
                directory = open(&directory, &path)?;
                path.clear();
            }
            path.push(name);
        }
        if !path.as_os_str().is_empty() {
            directory = open(&directory, &path)?;
        }
        Ok(directory)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::Root;

    const DEPTH: usize = 3000;

    fn descent(top: &Path) -> Descent {
        Descent::new(Root::open(top).unwrap().into_fd())
    }

    fn make(descent: &mut Descent, name: &str) {
        fs::mkdirat(descent.directory(), name, Mode::RWXU).unwrap();
        let directory = descent.open(OsStr::new(name)).unwrap();
        descent.enter(name.into(), directory);
    }

    fn inode(descent: &Descent) -> u64 {
        fs::fstat(descent.directory()).unwrap().st_ino
    }

    #[test]
    fn a_deep_tree_is_left_by_the_way_it_was_entered_with_few_directories_open() {
        let folder = tempfile::tempdir().unwrap();
        let mut descent = descent(folder.path());
        let mut inodes = vec![inode(&descent)];
        for level in 0..DEPTH {
            make(&mut descent, &format!("level-{level}"));
            inodes.push(inode(&descent));
            assert!(descent.open.len() <= MAX_OPEN);
        }
        while let Some(expected) = inodes.pop() {
            assert_eq!(inode(&descent), expected, "{}", inodes.len());
            if let Some(name) = descent.names.last().cloned() {
                descent.leave().unwrap();
                fs::unlinkat(descent.directory(), &name, fs::AtFlags::REMOVEDIR).unwrap();
            }
            assert!(descent.open.len() <= MAX_OPEN);
        }
        descent.leave().unwrap();
    }

    #[test]
    fn a_link_that_took_a_directorys_place_does_not_lead_out() {
        let folder = tempfile::tempdir().unwrap();
        let (top, outside) = (folder.path().join("top"), folder.path().join("outside"));
        std::fs::create_dir(&top).unwrap();
        let mut descent = descent(&top);
        for _ in 0..2 * MAX_OPEN {
            make(&mut descent, "d");
        }
        std::fs::rename(top.join("d"), &outside).unwrap();
        symlink(&outside, top.join("d")).unwrap();
        for _ in 1..MAX_OPEN {
            descent.leave().unwrap();
        }
        assert!(descent.leave().is_err());
    }
}
