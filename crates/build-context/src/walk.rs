//! Walking a directory of a tree, in sorted order and by open directories, however deep it is.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use lbuild_confined::Descent;
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::ahead::{Ahead, Listed, Stats};
use crate::error::ContextError;
use crate::metadata::Metadata;
use crate::names::Names;
use crate::patterns::{Hits, Patterns};
use crate::trail::Trail;
use crate::tree::SourceTree;

/// How many of the directories in one that come next are read ahead.
const WINDOW: usize = 16;

/// How deep directories are read ahead: each takes a file descriptor for those in it.
const MAX_AHEAD_DEPTH: usize = 32;

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
    path: Trail,
    /// The same from the top of the selection.
    relative: Trail,
    /// From the top to the directory that the walk is in.
    levels: Vec<Level>,
    /// Directories that are selected only if something in them is.
    held: Vec<Entry>,
    /// What comes next.
    ready: VecDeque<Entry>,
    ahead: Ahead,
    /// Directories that the walk was in so far.
    count: usize,
}

pub(crate) fn unreadable(path: &Path, source: impl Into<io::Error>) -> ContextError {
    ContextError::Read { path: path.to_owned(), source: source.into() }
}

/// A directory that the walk is in.
struct Level {
    /// Those that are still to be looked at.
    names: Names,
    /// What is known of the next of them.
    stats: Stats,
    rules: Rules,
    /// How many directories the walk was in before this one.
    number: usize,
    /// The name behind the last that was asked for ahead.
    asked: usize,
    /// The directory, as soon as something in it is read ahead.
    handle: Option<Arc<OwnedFd>>,
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
        let (path, relative) = (Trail::new(start), Trail::new(Path::new("")));
        let (held, ready) = (Vec::new(), VecDeque::from([top]));
        let ahead = Ahead::default();
        let levels = Vec::new();
        let mut walk = Walk { tree, filter, descent, path, relative, levels, held, ready, ahead, count: 0 };
        let names = Names::sorted(walk.descent.directory()).map_err(|source| unreadable(start, source))?;
        walk.enter(names, Vec::new().into_iter(), walk.top_rules());
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
            let above = self.path.path().ancestors().filter(|path| !path.as_os_str().is_empty());
            let mut above: Vec<_> = above.collect();
            above.reverse();
            above.into_iter().fold(ignore.top(), |hits, path| ignore.descend(path, &hits))
        });
        let include = self.filter.include.as_ref().map(Patterns::top);
        Rules { ignore, include, exclude: self.filter.exclude.top() }
    }

    /// Begins with the directory that was just opened.
    fn enter(&mut self, names: Names, stats: Stats, rules: Rules) {
        let number = self.count;
        self.count += 1;
        self.levels.push(Level { names, stats, rules, number, asked: 0, handle: None });
        self.ask_ahead();
    }

    /// Asks for the directories that come next in the one that the walk is in.
    fn ask_ahead(&mut self) {
        let depth = self.levels.len();
        let Some(level) = self.levels.last_mut().filter(|_| depth <= MAX_AHEAD_DEPTH) else { return };
        let next = level.names.position();
        let waiting = (next..level.asked).filter(|index| level.names.is_directory(*index)).count();
        let first = next.max(level.asked);
        let places = (first..level.names.len()).filter(|index| level.names.is_directory(*index));
        let places: Vec<usize> = places.take(WINDOW.saturating_sub(waiting)).collect();
        for index in places {
            level.asked = index + 1;
            // For the last one nobody would be quicker than the walk.
            let Some(name) = level.names.get(index).map(OsStr::to_owned).filter(|_| index > next) else {
                continue;
            };
            self.path.push(&name);
            self.relative.push(&name);
            let fate =
                fate(&self.tree, self.filter, self.path.path(), self.relative.path(), true, &level.rules);
            self.path.pop();
            self.relative.pop();
            if matches!(fate, Fate::Dropped) {
                continue;
            }
            if level.handle.is_none() {
                level.handle = self.descent.directory().try_clone_to_owned().ok().map(Arc::new);
            }
            let Some(handle) = &level.handle else { return };
            self.ahead.ask((level.number, index), Arc::clone(handle), name);
        }
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
        let known = self.levels.last_mut().and_then(|level| level.stats.next());
        let look = || fs::statat(self.descent.directory(), &name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = known.unwrap_or_else(look);
        let Some(Level { names, rules, number, .. }) = self.levels.last() else { return Ok(false) };
        let place = (*number, names.position() - 1);
        let metadata = match stat {
            Ok(stat) => self.tree.metadata(&stat),
            // It went away since the directory was read.
            Err(Errno::NOENT) => return Ok(false),
            Err(error) => return Err(unreadable(self.path.path(), error)),
        };
        let is_directory = metadata.is_directory();
        let (path, relative) = (self.path.path(), self.relative.path());
        let is_implied = match fate(&self.tree, self.filter, path, relative, is_directory, rules) {
            Fate::Selected => false,
            Fate::Searched => true,
            Fate::Dropped => return Ok(false),
        };
        let below = is_directory.then(|| self.descend(rules, path, relative));
        let entry = Entry { depth: self.levels.len(), name, metadata, is_implied };
        let Some(below) = below else {
            self.select(entry);
            return Ok(false);
        };
        let name = entry.name.clone();
        let listed = match self.ahead.take(place) {
            Some(listed) => listed,
            None => self.list(&name).map_err(|error| unreadable(self.path.path(), error))?,
        };
        if is_implied {
            self.held.push(entry);
        } else {
            self.select(entry);
        }
        self.descent.enter(name, listed.directory);
        self.enter(listed.names, listed.stats, below);
        Ok(true)
    }

    /// Reads a directory that was not read ahead.
    fn list(&self, name: &OsStr) -> io::Result<Listed> {
        let directory = self.descent.open(name)?;
        let names = Names::sorted(&directory)?;
        Ok(Listed { directory, names, stats: Vec::new().into_iter() })
    }

    /// Selects an entry, and the directories above it that were held back.
    fn select(&mut self, entry: Entry) {
        self.ready.extend(self.held.drain(..));
        self.ready.push_back(entry);
    }

    /// Goes back to the directory above, and forgets a directory that holds nothing selected if it is
    /// not selected itself.
    fn leave(&mut self) -> Result<(), ContextError> {
        if let Some(level) = self.levels.pop()
            && level.handle.is_some()
        {
            self.ahead.forget(level.number);
        }
        if self.levels.is_empty() {
            return Ok(());
        }
        self.held.pop_if(|held| held.depth == self.levels.len());
        self.path.pop();
        self.relative.pop();
        self.descent.leave().map_err(|error| unreadable(self.path.path(), error))?;
        self.ask_ahead();
        Ok(())
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

/// What becomes of the file `path`, which is `relative` to the top of the selection.
fn fate(
    tree: &SourceTree<'_>,
    filter: &Filter,
    path: &Path,
    relative: &Path,
    is_directory: bool,
    rules: &Rules,
) -> Fate {
    if let (Some(ignore), Some(hits)) = (tree.ignore(), &rules.ignore)
        && !ignore.shows_in(path, is_directory, hits)
    {
        return Fate::Dropped;
    }
    let relative = relative.as_os_str().as_bytes();
    let Filter { include, exclude } = filter;
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use lbuild_confined::Root;

    use super::*;

    /// Everything below a folder in the order of a walk, found without one.
    fn everything(folder: &Path, depth: usize, found: &mut Vec<(usize, OsString)>) {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        for path in paths {
            found.push((depth, path.file_name().unwrap().to_owned()));
            if path.is_dir() {
                everything(&path, depth + 1, found);
            }
        }
    }

    #[test]
    fn a_walk_that_reads_ahead_finds_everything_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let deep: PathBuf = (0..2 * MAX_AHEAD_DEPTH).map(|level| format!("{level}")).collect();
        for directory in 0..3 * WINDOW {
            let below = if directory == 7 { deep.clone() } else { PathBuf::from("below") };
            let directory = folder.path().join(format!("{directory}")).join(below);
            std::fs::create_dir_all(directory.join("empty")).unwrap();
            for file in 0..directory.as_os_str().len() % 7 {
                std::fs::write(directory.join(format!("{file}")), "").unwrap();
            }
        }
        let wide = folder.path().join("wide");
        std::fs::create_dir(&wide).unwrap();
        (0..3000).for_each(|file| std::fs::write(wide.join(format!("{file}")), "").unwrap());
        let mut expected = vec![(0, OsString::new())];
        everything(folder.path(), 1, &mut expected);

        let root = Root::open(folder.path()).unwrap();
        let metadata = Metadata::of(&root.stat("").unwrap());
        let filter = Filter::default();
        let mut walk = Walk::new(SourceTree::new(&root), Path::new(""), metadata, &filter).unwrap();
        let mut found = Vec::new();
        while let Some(entry) = walk.next().unwrap() {
            found.push((entry.depth, entry.name));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn a_walk_may_end_early() {
        let folder = tempfile::tempdir().unwrap();
        (0..2 * WINDOW).for_each(|name| std::fs::create_dir(folder.path().join(format!("{name}"))).unwrap());
        let root = Root::open(folder.path()).unwrap();
        let metadata = Metadata::of(&root.stat("").unwrap());
        let filter = Filter::default();
        let mut walk = Walk::new(SourceTree::new(&root), Path::new(""), metadata, &filter).unwrap();
        assert!(walk.next().unwrap().is_some());
    }
}
