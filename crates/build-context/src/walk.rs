//! Walking a directory of a tree, in sorted order and by open directories, however deep it is.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lbuild_confined::Descent;
use rustix::fs::{self, AtFlags, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::error::ContextError;
use crate::metadata::Metadata;
use crate::patterns::{Hits, Patterns};
use crate::tree::SourceTree;

/// As much of a directory as is read at once.
const DIRECTORY_BYTES: usize = 64 << 10;

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

/// A way through a directory of a tree and what it holds, entry by entry.
pub(crate) struct Walk<'a> {
    tree: SourceTree<'a>,
    filter: &'a Filter,
    descent: Descent,
    /// Of the directory that the walk is in, from the tree's root.
    path: PathBuf,
    /// The same from the top of the selection.
    relative: PathBuf,
    /// From the top to the directory that the walk is in.
    levels: Vec<Level>,
    /// Directories that are selected only if something in them is.
    held: Vec<Entry>,
    /// What comes next.
    ready: VecDeque<Entry>,
}

/// The names in an open directory, sorted as bytes.
pub(crate) fn sorted_names(directory: impl AsFd) -> io::Result<Names> {
    let mut names = Names { bytes: Vec::new(), places: Vec::new(), next: 0 };
    let mut buffer = Vec::with_capacity(DIRECTORY_BYTES);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            let start = names.bytes.len();
            names.bytes.extend_from_slice(name);
            names.places.push((start, name.len()));
        }
    }
    let Names { bytes, places, .. } = &mut names;
    places.sort_unstable_by_key(|(start, length)| &bytes[*start..start + length]);
    Ok(names)
}

/// Names of a directory in order, without an allocation for each.
#[derive(Debug)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Beginning and length of each.
    places: Vec<(usize, usize)>,
    next: usize,
}

impl Iterator for Names {
    type Item = OsString;

    fn next(&mut self) -> Option<OsString> {
        let (start, length) = *self.places.get(self.next)?;
        self.next += 1;
        Some(OsStr::from_bytes(&self.bytes[start..start + length]).to_owned())
    }
}

pub(crate) fn unreadable(path: &Path, source: impl Into<io::Error>) -> ContextError {
    ContextError::Read { path: path.to_owned(), source: source.into() }
}

/// A directory that the walk is in.
struct Level {
    /// Those that are still to be looked at.
    names: Names,
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

impl<'a> Walk<'a> {
    /// Begins with the directory `start`.
    pub(crate) fn new(
        tree: SourceTree<'a>,
        start: &Path,
        metadata: Metadata,
        filter: &'a Filter,
    ) -> Result<Self, ContextError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let directory = tree.root().open_at(start, flags, Mode::empty());
        let descent = Descent::new(directory.map_err(|source| unreadable(start, source))?);
        let top = Entry { depth: 0, name: OsString::new(), metadata, is_implied: false };
        let (path, relative) = (start.to_owned(), PathBuf::new());
        let (held, ready) = (Vec::new(), VecDeque::from([top]));
        let mut walk = Walk { tree, filter, descent, path, relative, levels: Vec::new(), held, ready };
        walk.enter(walk.top_rules())?;
        Ok(walk)
    }

    /// The next entry.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, ContextError> {
        while self.ready.is_empty() {
            let Some(level) = self.levels.last_mut() else { return Ok(None) };
            match level.names.next() {
                Some(name) => self.visit(name)?,
                None => self.leave()?,
            }
        }
        Ok(self.ready.pop_front())
    }

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

    /// Begins with the directory that was just opened.
    fn enter(&mut self, rules: Rules) -> Result<(), ContextError> {
        let names = sorted_names(self.descent.directory());
        let names = names.map_err(|source| unreadable(&self.path, source))?;
        self.levels.push(Level { names, rules });
        Ok(())
    }

    /// Looks at a file of the directory that the walk is in; if it is a directory, the walk is in it next.
    fn visit(&mut self, name: OsString) -> Result<(), ContextError> {
        self.path.push(&name);
        self.relative.push(&name);
        if !self.visit_here(name)? {
            self.path.pop();
            self.relative.pop();
        }
        Ok(())
    }

    /// Whether the walk went into the file.
    fn visit_here(&mut self, name: OsString) -> Result<bool, ContextError> {
        let Some(Level { rules, .. }) = self.levels.last() else { return Ok(false) };
        let metadata = match fs::statat(self.descent.directory(), &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.tree.metadata(&stat),
            // It went away since the directory was read.
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(unreadable(&self.path, error)),
        };
        let is_directory = metadata.is_directory();
        let is_implied = match self.fate(&self.path, &self.relative, is_directory, rules) {
            Fate::Selected => false,
            Fate::Searched => true,
            Fate::Dropped => return Ok(false),
        };
        let below = is_directory.then(|| self.descend(rules, &self.path, &self.relative));
        let entry = Entry { depth: self.levels.len(), name, metadata, is_implied };
        let Some(below) = below else {
            self.select(entry);
            return Ok(false);
        };
        let name = entry.name.clone();
        let directory = self.descent.open(&name).map_err(|error| unreadable(&self.path, error))?;
        if is_implied {
            self.held.push(entry);
        } else {
            self.select(entry);
        }
        self.descent.enter(name, directory);
        self.enter(below)?;
        Ok(true)
    }

    /// Selects an entry, and the directories above it that were held back.
    fn select(&mut self, entry: Entry) {
        self.ready.extend(self.held.drain(..));
        self.ready.push_back(entry);
    }

    /// Goes back to the directory above, and forgets a directory that holds nothing selected if it is
    /// not selected itself.
    fn leave(&mut self) -> Result<(), ContextError> {
        self.levels.pop();
        if self.levels.is_empty() {
            return Ok(());
        }
        self.held.pop_if(|held| held.depth == self.levels.len());
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
