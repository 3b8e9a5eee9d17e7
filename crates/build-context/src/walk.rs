//! Walking a directory of a tree, in sorted order and by open directories, however deep it is.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::vec;

use lbuild_confined::Descent;
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
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = tree.root().open_at(start, flags, Mode::empty());
    let descent = Descent::new(directory.map_err(|source| unreadable(start, source))?);
    let top = Entry { depth: 0, name: OsString::new(), metadata, is_implied: false };
    let (path, relative) = (start.to_owned(), PathBuf::new());
    let mut walk = Walk { tree, filter, entries: vec![top], descent, path, relative, levels: Vec::new() };
    walk.enter(walk.top_rules())?;
    while let Some(level) = walk.levels.last_mut() {
        match level.names.next() {
            Some(name) => walk.visit(name)?,
            None => walk.leave()?,
        }
    }
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
    descent: Descent,
    /// Of the directory that the walk is in, from the tree's root.
    path: PathBuf,
    /// The same from the top of the selection.
    relative: PathBuf,
    /// From the top to the directory that the walk is in.
    levels: Vec<Level>,
}

/// A directory that the walk is in.
struct Level {
    /// Of its entry.
    index: usize,
    /// Those that are still to be looked at.
    names: vec::IntoIter<OsString>,
    rules: Rules,
}

/// What the rules say so far about what a directory holds.
struct Rules {
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
    fn top_rules(&self) -> Rules {
        let ignore = self.tree.ignore().map(|ignore| {
            // Outermost first, without the root.
            let above = self.path.ancestors().filter(|path| !path.as_os_str().is_empty());
            let mut above: Vec<_> = above.collect();
            above.reverse();
            above.into_iter().fold(ignore.top(), |hits, path| ignore.descend(path, &hits))
        });
        let include = self.filter.include.as_ref().map(Patterns::top);
        Rules { ignore, include, exclude: self.filter.exclude.top() }
    }

    /// Begins with the directory that was just opened and whose entry is the last.
    fn enter(&mut self, rules: Rules) -> Result<(), ContextError> {
        let names = sorted_names(self.descent.directory());
        let names = names.map_err(|source| unreadable(&self.path, source))?.into_iter();
        self.levels.push(Level { index: self.entries.len() - 1, names, rules });
        Ok(())
    }

    /// Adds a file of the directory that the walk is in; if it is a directory, the walk is in it next.
    fn visit(&mut self, name: OsString) -> Result<(), ContextError> {
        let Some(Level { rules, .. }) = self.levels.last() else { return Ok(()) };
        let path = self.path.join(&name);
        let metadata = match fs::statat(self.descent.directory(), &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.tree.metadata(&stat),
            // It went away since the directory was read.
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(unreadable(&path, error)),
        };
        let relative = self.relative.join(&name);
        let is_implied = match self.fate(&path, &relative, metadata.is_directory(), rules) {
            Fate::Selected => false,
            Fate::Searched => true,
            Fate::Dropped => return Ok(()),
        };
        let below = metadata.is_directory().then(|| self.descend(rules, &path, &relative));
        self.entries.push(Entry { depth: self.levels.len(), name: name.clone(), metadata, is_implied });
        let Some(below) = below else { return Ok(()) };
        let directory = self.descent.open(&name).map_err(|error| unreadable(&path, error))?;
        self.descent.enter(name, directory);
        (self.path, self.relative) = (path, relative);
        self.enter(below)
    }

    /// Goes back to the directory above, and forgets a directory that holds nothing selected if it is
    /// not selected itself.
    fn leave(&mut self) -> Result<(), ContextError> {
        let Some(Level { index, .. }) = self.levels.pop() else { return Ok(()) };
        if self.levels.is_empty() {
            return Ok(());
        }
        if self.entries[index].is_implied && self.entries.len() == index + 1 {
            self.entries.truncate(index);
        }
        self.path.pop();
        self.relative.pop();
        self.descent.leave().map_err(|error| unreadable(&self.path, error))
    }

    fn fate(&self, path: &Path, relative: &Path, is_directory: bool, rules: &Rules) -> Fate {
        if let (Some(ignore), Some(hits)) = (self.tree.ignore(), &rules.ignore)
            && !ignore.shows_in(path, is_directory, hits)
        {
            return Fate::Dropped;
        }
        let relative = relative.as_os_str().as_bytes();
        let Filter { include, exclude } = self.filter;
        if !exclude.is_empty() && exclude.matches_in(relative, &rules.exclude) {
            let searched = is_directory && exclude.has_exceptions();
            return if searched { Fate::Searched } else { Fate::Dropped };
        }
        match (include, &rules.include) {
            (Some(include), Some(hits)) if !include.matches_in(relative, hits) => {
                let searched = is_directory && include.may_match_below(relative);
                if searched { Fate::Searched } else { Fate::Dropped }
            }
            _ => Fate::Selected,
        }
    }

    fn descend(&self, above: &Rules, path: &Path, relative: &Path) -> Rules {
        let bytes = relative.as_os_str().as_bytes();
        let ignore = self.tree.ignore().zip(above.ignore.as_ref());
        let include = self.filter.include.as_ref().zip(above.include.as_ref());
        Rules {
            ignore: ignore.map(|(ignore, hits)| ignore.descend(path, hits)),
            include: include.map(|(include, hits)| include.descend(bytes, hits)),
            exclude: self.filter.exclude.descend(bytes, &above.exclude),
        }
    }
}
