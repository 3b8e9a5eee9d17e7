//! Walking a directory of a tree, in sorted order and by open directories.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;

use crate::error::ContextError;
use crate::metadata::Metadata;
use crate::patterns::{Hits, Patterns};
use crate::tree::SourceTree;

/// One file of a selection. Selections list a directory before what it holds, sorted by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Directories between the top of the selection and this file; 0 for the top itself.
    pub depth: usize,
    /// The name in its directory; empty for the top.
    pub name: OsString,
    /// What it was when it was selected.
    pub metadata: Metadata,
    /// Whether it is a directory that is selected only because of what it holds.
    pub is_implied: bool,
}

/// Which files below a directory are wanted; paths are relative to that directory.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// Only these, if any are given.
    pub(crate) include: Option<Patterns>,
    /// But none of these.
    pub(crate) exclude: Patterns,
}

/// Lists the directory `start` of a tree and what it holds.
pub(crate) fn walk(
    tree: &SourceTree<'_>,
    start: &Path,
    metadata: Metadata,
    filter: &Filter,
) -> Result<Vec<Entry>, ContextError> {
    let top = Entry { depth: 0, name: OsString::new(), metadata, is_implied: false };
    let mut walk = Walk { tree, filter, entries: vec![top] };
    let level = walk.top(start);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = tree.root().open_at(start, flags, Mode::empty());
    walk.directory(directory.map_err(|source| unreadable(start, source))?, &level, 1)?;
    Ok(walk.entries)
}

/// The names in an open directory, sorted as bytes.
pub(crate) fn sorted_names(directory: impl AsFd) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

pub(crate) fn unreadable(path: &Path, source: impl Into<io::Error>) -> ContextError {
    ContextError::Read { path: path.to_owned(), source: source.into() }
}

struct Walk<'a> {
    tree: &'a SourceTree<'a>,
    filter: &'a Filter,
    entries: Vec<Entry>,
}

/// A directory that the walk is in.
struct Level {
    /// From the tree's root.
    path: PathBuf,
    /// From the top of the selection.
    relative: PathBuf,
    ignore: Option<Hits>,
    include: Option<Hits>,
    exclude: Hits,
}

/// What becomes of a file.
enum Fate {
    Selected,
    /// A directory that is not selected but may hold what is.
    Searched,
    Dropped,
}

impl Walk<'_> {
    fn top(&self, start: &Path) -> Level {
        let ignore = self.tree.ignore().map(|ignore| {
            // Outermost first, without the root.
            let mut above: Vec<_> = start.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
            above.reverse();
            above.into_iter().fold(ignore.top(), |hits, path| ignore.descend(path, &hits))
        });
        Level {
            path: start.to_owned(),
            relative: PathBuf::new(),
            ignore,
            include: self.filter.include.as_ref().map(Patterns::top),
            exclude: self.filter.exclude.top(),
        }
    }

    /// Adds what an open directory holds and says whether that is anything.
    fn directory(&mut self, directory: OwnedFd, level: &Level, depth: usize) -> Result<bool, ContextError> {
        let names = sorted_names(&directory).map_err(|source| unreadable(&level.path, source))?;
        let before = self.entries.len();
        for name in names {
            let path = level.path.join(&name);
            let metadata = match fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => self.tree.metadata(&stat),
                // It went away since the directory was read.
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(unreadable(&path, error)),
            };
            let relative = level.relative.join(&name);
            let is_implied = match self.fate(&path, &relative, metadata.is_directory(), level) {
                Fate::Selected => false,
                Fate::Searched => true,
                Fate::Dropped => continue,
            };
            let index = self.entries.len();
            self.entries.push(Entry { depth, name, metadata, is_implied });
            if metadata.is_directory() {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let child = fs::openat(&directory, &self.entries[index].name, flags, Mode::empty());
                let child = child.map_err(|error| unreadable(&path, error))?;
                let holds_any = self.directory(child, &self.descend(level, path, relative), depth + 1)?;
                if is_implied && !holds_any {
                    self.entries.truncate(index);
                }
            }
        }
        Ok(self.entries.len() > before)
    }

    fn fate(&self, path: &Path, relative: &Path, is_directory: bool, level: &Level) -> Fate {
        if let (Some(ignore), Some(hits)) = (self.tree.ignore(), &level.ignore)
            && !ignore.shows_in(path, is_directory, hits)
        {
            return Fate::Dropped;
        }
        let relative = relative.as_os_str().as_bytes();
        let Filter { include, exclude } = self.filter;
        if !exclude.is_empty() && exclude.matches_in(relative, &level.exclude) {
            let searched = is_directory && exclude.has_exceptions();
            return if searched { Fate::Searched } else { Fate::Dropped };
        }
        match (include, &level.include) {
            (Some(include), Some(hits)) if !include.matches_in(relative, hits) => {
                let searched = is_directory && include.may_match_below(relative);
                if searched { Fate::Searched } else { Fate::Dropped }
            }
            _ => Fate::Selected,
        }
    }

    fn descend(&self, above: &Level, path: PathBuf, relative: PathBuf) -> Level {
        let bytes = relative.as_os_str().as_bytes();
        let ignore = self.tree.ignore().zip(above.ignore.as_ref());
        let include = self.filter.include.as_ref().zip(above.include.as_ref());
        Level {
            ignore: ignore.map(|(ignore, hits)| ignore.descend(&path, hits)),
            include: include.map(|(include, hits)| include.descend(bytes, hits)),
            exclude: self.filter.exclude.descend(bytes, &above.exclude),
            path,
            relative,
        }
    }
}
