//! The files that a step made or changed, before they are a layer.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};

use crate::directory::{self, error, join};
use crate::{ActiveSnapshot, StoreError};

/// A directory that is being walked. They are a list and no recursion: a step may nest them deeper
/// than a thread's stack.
struct Level {
    directory: OwnedFd,
    path: Vec<u8>,
    names: std::vec::IntoIter<CString>,
}

/// What a changed entry is.
#[derive(Debug)]
pub enum ChangedEntry {
    /// A regular file, open at its start.
    File(File),
    /// A symbolic link, and where it leads.
    Link(Vec<u8>),
    /// Something without content.
    Other,
}

impl ActiveSnapshot {
    /// Calls `visit` with each regular file that was made or changed: its path from the tree's root, and the
    /// file, open at its start. A file with several names comes with each.
    ///
    /// # Errors
    /// What cannot be read, and what `visit` says.
    pub fn changed_files<E: From<StoreError>>(
        &self,
        visit: &mut dyn FnMut(PathBuf, File) -> Result<(), E>,
    ) -> Result<(), E> {
        self.changed_entries(&mut |path, entry| match entry {
            ChangedEntry::File(file) => visit(path, file),
            ChangedEntry::Link(_) | ChangedEntry::Other => Ok(()),
        })
    }

    /// Calls `visit` with each entry that was made, changed or deleted, or lies above one: its path from
    /// the tree's root, and what it is. A directory comes before what is in it.
    ///
    /// # Errors
    /// What cannot be read, and what `visit` says.
    pub fn changed_entries<E: From<StoreError>>(
        &self,
        visit: &mut dyn FnMut(PathBuf, ChangedEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut levels: Vec<Level> = Level::open(self.upper()?, c".", Vec::new())?.into_iter().collect();
        while let Some(level) = levels.last_mut() {
            let Some(name) = level.names.next() else {
                levels.pop();
                continue;
            };
            let path = join(&level.path, name.to_bytes());
            let unreadable = |e: rustix::io::Errno| error("read", &path, e);
            let stat = fs::statat(&level.directory, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
            let full = Path::new("/").join(OsStr::from_bytes(&path));
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    visit(full, ChangedEntry::Other)?;
                    let below = Level::open(level.directory.as_fd(), &name, path)?;
                    levels.extend(below);
                }
                FileType::RegularFile => {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                    let file = fs::openat(&level.directory, &name, flags, Mode::empty());
                    let file = File::from(file.map_err(unreadable)?);
                    visit(full, ChangedEntry::File(file))?;
                }
                FileType::Symlink => {
                    let target = fs::readlinkat(&level.directory, &name, Vec::new()).map_err(unreadable)?;
                    visit(full, ChangedEntry::Link(target.into_bytes()))?;
                }
                _ => visit(full, ChangedEntry::Other)?,
            }
        }
        Ok(())
    }
}

impl Level {
    fn open(parent: impl AsFd, name: &std::ffi::CStr, path: Vec<u8>) -> Result<Option<Self>, StoreError> {
        let unreadable = |e| error("read", &path, e);
        let Some(directory) = directory::open_at(parent, name).map_err(unreadable)? else { return Ok(None) };
        let names = directory::names(directory.as_fd()).map_err(unreadable)?.into_iter();
        Ok(Some(Self { directory, path, names }))
    }
}
