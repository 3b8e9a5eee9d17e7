//! Puts entries into a directory tree.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lbuild_confined::Root;
use rustix::fs::{self, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::place::{self, Placed};
use crate::{ArchiveError, EntryKind, Header, remove};

/// What directories get that an archive needs but does not hold.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);

/// Puts entries into the tree of a [`Root`], one after the other; none lands outside it.
///
/// The directory of the last entry is kept open, so that a directory's entries cost one look-up
/// together. Directories get their times in [`Unpacker::finish`], when no more entries change them.
#[derive(Debug)]
pub struct Unpacker {
    root: Root,
    links: Links,
    /// The directory of the last entry, and its path.
    parent: Option<(PathBuf, OwnedFd)>,
    directories: Vec<(PathBuf, Timespec)>,
    refused_xattrs: u64,
}

/// What to make of a symbolic link on the way to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Follow it as a process would whose root is the tree: layers are unpacked so.
    InRoot,
    /// Refuse it if it is absolute or leads above the tree, as BuildKit's ADD does.
    Beneath,
}

impl Unpacker {
    /// Starts to unpack into `root`.
    pub fn new(root: Root, links: Links) -> Self {
        Self { root, links, parent: None, directories: Vec::new(), refused_xattrs: 0 }
    }

    /// Makes the entry of `header`, and missing directories on the way to it: mode 755, root's.
    ///
    /// An entry that stands for the root itself gives it its metadata if it is a directory, and has no
    /// effect otherwise.
    ///
    /// # Errors
    /// [`ArchiveError::Outside`] or [`ArchiveError::Unpack`].
    pub fn put(&mut self, header: &Header, data: &mut dyn Read) -> Result<(), ArchiveError> {
        let path = clean(&header.path)?;
        let failed = |source| unpack_error(&header.path, source);
        let Some(name) = path.file_name() else {
            if header.kind == EntryKind::Directory {
                let root = self.open(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
                let refused = place::set_metadata(&root, header).map_err(failed)?;
                self.refused_xattrs += refused.len() as u64;
                self.directories.push((PathBuf::new(), mtime(header)));
            }
            return Ok(());
        };
        let placed = match &header.kind {
            EntryKind::HardLink(target) => self.link(&path, name, target, header)?,
            _ => place::place(self.parent(&path).map_err(failed)?, name, header, data).map_err(failed)?,
        };
        self.refused_xattrs += placed.refused_xattrs.len() as u64;
        if placed.replaced {
            // The open directory may be the one that was removed.
            self.parent = None;
        }
        if header.kind == EntryKind::Directory {
            self.directories.push((path, mtime(header)));
        }
        Ok(())
    }

    /// Removes what stands at `path` with all it holds; nothing there is no error.
    ///
    /// # Errors
    /// [`ArchiveError::Outside`] or [`ArchiveError::Unpack`]; the root itself cannot be removed.
    pub fn remove(&mut self, path: &[u8]) -> Result<(), ArchiveError> {
        let cleaned = clean(path)?;
        let failed = |source| unpack_error(path, source);
        let removed = self.open_parent(&cleaned).and_then(|parent| {
            // Only the root has no name, and an empty one is refused.
            remove(parent, cleaned.file_name().unwrap_or_default())
        });
        self.parent = None;
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// The open directory that an entry at `path` belongs into, made if it is missing, and its name
    /// there; `None` if `path` stands for the root.
    ///
    /// # Errors
    /// [`ArchiveError::Outside`] or [`ArchiveError::Unpack`].
    pub fn locate(&mut self, path: &[u8]) -> Result<Option<(BorrowedFd<'_>, OsString)>, ArchiveError> {
        let cleaned = clean(path)?;
        let Some(name) = cleaned.file_name() else { return Ok(None) };
        let parent = self.parent(&cleaned).map_err(|source| unpack_error(path, source))?;
        Ok(Some((parent, name.to_owned())))
    }

    /// How many extended attributes the file system, or our rights, did not allow so far.
    pub fn refused_xattrs(&self) -> u64 {
        self.refused_xattrs
    }

    /// Gives the directories their times.
    ///
    /// # Errors
    /// [`ArchiveError::Unpack`].
    pub fn finish(mut self) -> Result<(), ArchiveError> {
        for (path, time) in std::mem::take(&mut self.directories) {
            let times = Timestamps { last_access: time, last_modification: time };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
            match self.open(path, flags) {
                Ok(directory) => fs::futimens(&directory, &times).map_err(io::Error::from),
                // Another entry took its place.
                Err(error) if is_replaced(&error) => Ok(()),
                Err(error) => Err(error),
            }
            .map_err(|source| ArchiveError::Unpack { path: path.to_owned(), source })?;
        }
        Ok(())
    }

    fn link(
        &mut self,
        path: &Path,
        name: &OsStr,
        target: &[u8],
        header: &Header,
    ) -> Result<Placed, ArchiveError> {
        let failed = |source| unpack_error(&header.path, source);
        let target = clean(target).map_err(|_| outside(&header.path))?;
        // Only the root has no name, and an empty one is refused.
        let target_name = target.file_name().unwrap_or_default();
        let target_parent = self.open_parent(&target).map_err(failed)?;
        let parent = self.parent(path).map_err(failed)?;
        place::link(parent, name, target_parent, target_name, header).map_err(failed)
    }

    /// The directory that holds `path`, made if it is missing.
    fn parent(&mut self, path: &Path) -> io::Result<BorrowedFd<'_>> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let kept = match self.parent.take() {
            Some(kept) if kept.0 == parent => kept,
            _ => match self.open_parent(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    (parent.to_owned(), self.make(parent)?)
                }
                result => (parent.to_owned(), result?),
            },
        };
        Ok(self.parent.insert(kept).1.as_fd())
    }

    fn open_parent(&self, path: &Path) -> io::Result<OwnedFd> {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        self.open(parent, OFlags::PATH | OFlags::DIRECTORY)
    }

    fn open(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        match self.links {
            Links::InRoot => self.root.open_at(path, flags, Mode::empty()),
            Links::Beneath => self.root.open_beneath(path, flags, Mode::empty()),
        }
    }

    /// Makes a directory and those above it that are missing.
    fn make(&self, path: &Path) -> io::Result<OwnedFd> {
        if self.links == Links::InRoot {
            self.root.create_dir_all(path, IMPLIED_MODE)?;
            return self.open(path, OFlags::PATH | OFlags::DIRECTORY);
        }
        let mut made = PathBuf::new();
        let mut directory = self.open(Path::new("."), OFlags::PATH | OFlags::DIRECTORY)?;
        for component in path.components() {
            made.push(component);
            directory = match self.open(&made, OFlags::PATH | OFlags::DIRECTORY) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make_implied(&directory, component.as_os_str())?;
                    self.open(&made, OFlags::PATH | OFlags::DIRECTORY)?
                }
                result => result?,
            };
        }
        Ok(directory)
    }
}

fn make_implied(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::mkdirat(parent, name, IMPLIED_MODE)?;
    Ok(fs::fchmod(fs::openat(parent, name, flags, Mode::empty())?, IMPLIED_MODE)?)
}

/// The path without `.`, `..` and slashes that say nothing; empty for the root. What leads above the
/// root is refused, but `..` right after a leading slash is the root.
fn clean(path: &[u8]) -> Result<PathBuf, ArchiveError> {
    let mut cleaned = PathBuf::new();
    let is_absolute = path.starts_with(b"/");
    for component in path.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if !cleaned.pop() && !is_absolute {
                    return Err(outside(path));
                }
            }
            name => cleaned.push(OsStr::from_bytes(name)),
        }
    }
    Ok(cleaned)
}

fn mtime(header: &Header) -> Timespec {
    Timespec { tv_sec: header.mtime, tv_nsec: i64::from(header.mtime_nanos) }
}

fn is_replaced(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

fn outside(path: &[u8]) -> ArchiveError {
    ArchiveError::Outside { path: PathBuf::from(OsStr::from_bytes(path)) }
}

fn unpack_error(path: &[u8], source: io::Error) -> ArchiveError {
    if Errno::from_io_error(&source) == Some(Errno::XDEV) {
        return outside(path);
    }
    ArchiveError::Unpack { path: PathBuf::from(OsStr::from_bytes(path)), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_without_leaving_the_root() {
        for (path, expected) in [
            ("", Some("")),
            ("./", Some("")),
            ("/", Some("")),
            ("a//b/./c/", Some("a/b/c")),
            ("a/../b", Some("b")),
            ("/../b", Some("b")),
            ("a/..", Some("")),
            ("..", None),
            ("../b", None),
            ("a/../../b", None),
            ("./../b", None),
        ] {
            let cleaned = clean(path.as_bytes()).ok();
            assert_eq!(cleaned.as_deref(), expected.map(Path::new), "{path}");
        }
    }
}
