//! Puts entries into a directory tree.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lbuild_confined::Root;
use rustix::fs::{self, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::place::{self, Placed};
use crate::{ArchiveError, EntryKind, Header};

/// What directories get that an archive needs but does not hold.
const IMPLIED_MODE: Mode = Mode::from_raw_mode(0o755);

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);
const READABLE_DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW);

/// Puts entries into the tree of a [`Root`], one after the other; none lands outside it.
///
/// Symbolic links on the way to an entry are followed beneath the tree; one that is absolute or leads
/// above it is an error. The directory of the last entry is kept open, so that a directory's entries
/// cost one look-up together.
#[derive(Debug)]
pub struct Unpacker {
    root: Root,
    preserve_root_metadata: bool,
    notes_devices: bool,
    /// The directory of the last entry, and its path.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Directories and the times they get once no entry changes them any more.
    directories: Vec<(PathBuf, Timespec)>,
}

impl Unpacker {
    /// Starts to unpack into `root`. If `preserve_root_metadata`, a directory entry that stands for the
    /// root itself gives it its metadata; otherwise, as any other entry of that path, it has no effect.
    pub fn new(root: Root, preserve_root_metadata: bool) -> Self {
        Self { root, preserve_root_metadata, notes_devices: false, parent: None, directories: Vec::new() }
    }

    /// The same, but for devices: they are noted ([`DeviceNote`](crate::DeviceNote)) and not made.
    #[must_use]
    pub fn noting_devices(self, notes_devices: bool) -> Self {
        Self { notes_devices, ..self }
    }

    /// Makes the entry of `header` as [`place`](crate::place) does, and missing directories on the way to
    /// it: mode 755, root's.
    ///
    /// # Errors
    /// [`ArchiveError::Outside`] if a path leads out of the tree; [`ArchiveError::Unpack`].
    pub fn put(&mut self, header: &Header, data: &mut dyn Read) -> Result<Placed, ArchiveError> {
        let failed = |source| unpack_error(&header.path, source);
        let path = clean(&header.path)?;
        let Some(name) = path.file_name() else {
            return self.set_root(header).map_err(failed);
        };
        let placed = match &header.kind {
            EntryKind::HardLink(target) => self.link(&path, name, target, header)?,
            _ => {
                let notes_devices = self.notes_devices;
                let parent = self.parent(&path, header).map_err(failed)?;
                let placed = match notes_devices {
                    true => place::place_noting_devices(parent, name, header, data),
                    false => place::place(parent, name, header, data),
                };
                placed.map_err(failed)?
            }
        };
        if header.kind == EntryKind::Directory {
            self.directories.push((path, mtime(header)));
        }
        Ok(placed)
    }

    /// Gives the directories their times.
    ///
    /// # Errors
    /// [`ArchiveError::Unpack`].
    pub fn finish(self) -> Result<(), ArchiveError> {
        for (path, time) in self.directories {
            let times = Timestamps { last_access: time, last_modification: time };
            let failed = |source| ArchiveError::Unpack { path: path.clone(), source };
            match self.root.open_beneath(&path, READABLE_DIRECTORY, Mode::empty()) {
                Ok(directory) => fs::futimens(&directory, &times).map_err(|error| failed(error.into()))?,
                // Another entry took its place.
                Err(error) if is_replaced(&error) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    fn set_root(&mut self, header: &Header) -> io::Result<Placed> {
        let mut placed = Placed::default();
        if self.preserve_root_metadata && header.kind == EntryKind::Directory {
            let root = self.root.open_beneath("", READABLE_DIRECTORY, Mode::empty())?;
            placed.refused_xattrs = place::set_metadata(&root, header)?;
            self.directories.push((PathBuf::new(), mtime(header)));
        }
        Ok(placed)
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
        let target_parent =
            self.root.open_beneath(parent_of(&target), DIRECTORY, Mode::empty()).map_err(failed)?;
        // Only the root has no name, and an empty one is refused.
        let target_name = target.file_name().unwrap_or_default();
        let parent = self.parent(path, header).map_err(failed)?;
        place::link(parent, name, target_parent, target_name, header).map_err(failed)
    }

    /// The directory that holds `path`, made if it is missing. `header` is the entry that needs it.
    fn parent(&mut self, path: &Path, header: &Header) -> io::Result<BorrowedFd<'_>> {
        let parent = parent_of(path);
        let kept = match self.parent.take() {
            Some(kept) if kept.0 == parent => kept,
            _ => match self.root.open_beneath(parent, DIRECTORY, Mode::empty()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    (parent.to_owned(), self.make(parent, header)?)
                }
                opened => (parent.to_owned(), opened?),
            },
        };
        Ok(self.parent.insert(kept).1.as_fd())
    }

    /// Makes a directory and those above it that are missing. They get the time of the entry that needs
    /// them: the time of unpacking would make each result another one.
    fn make(&mut self, path: &Path, header: &Header) -> io::Result<OwnedFd> {
        let mut made = PathBuf::new();
        let mut directory = self.root.open_beneath("", DIRECTORY, Mode::empty())?;
        for component in path {
            made.push(component);
            directory = match self.root.open_beneath(&made, DIRECTORY, Mode::empty()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    make_implied(&directory, component)?;
                    self.directories.push((made.clone(), mtime(header)));
                    self.root.open_beneath(&made, DIRECTORY, Mode::empty())?
                }
                opened => opened?,
            };
        }
        Ok(directory)
    }
}

fn make_implied(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    fs::mkdirat(parent, name, IMPLIED_MODE)?;
    let made = fs::openat(parent, name, READABLE_DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(fs::fchmod(made, IMPLIED_MODE)?)
}

/// The path without `.`, `..` and slashes that say nothing; empty for the root. What leads above the
/// root is refused, but above a leading slash there is nothing.
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

fn parent_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn mtime(header: &Header) -> Timespec {
    Timespec { tv_sec: header.mtime, tv_nsec: i64::from(header.mtime_nanos) }
}

fn is_replaced(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV))
}

fn outside(path: &[u8]) -> ArchiveError {
    ArchiveError::Outside { path: PathBuf::from(OsStr::from_bytes(path)) }
}

fn unpack_error(path: &[u8], source: io::Error) -> ArchiveError {
    match Errno::from_io_error(&source) {
        Some(Errno::XDEV) => outside(path),
        _ => ArchiveError::Unpack { path: PathBuf::from(OsStr::from_bytes(path)), source },
    }
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
