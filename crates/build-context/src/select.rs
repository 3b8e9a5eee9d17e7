//! What one source of a COPY or ADD selects from a tree.
//!
//! A source is cleaned and taken from the tree's root. Wildcards match as Go's `filepath.Match`, do not
//! look through symbolic links, and may match nothing; the part before the first wildcard must exist,
//! and so must a source without wildcards. A source that is a symbolic link stands for what it leads to.
//!
//! Source: <https://docs.docker.com/reference/dockerfile/#copy> and what BuildKit does

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{self, AtFlags, Mode, OFlags};

use crate::clean;
use crate::error::ContextError;
use crate::glob::{Glob, has_wildcards};
use crate::listing::Listing;
use crate::metadata::Metadata;
use crate::names::Names;
use crate::patterns::Patterns;
use crate::tree::SourceTree;
use crate::walk::{Filter, unreadable};

/// As many entries of one selection are kept in memory; a selection that has more is walked again
/// whenever it is needed.
const KEPT_ENTRIES: usize = 7 << 14;

/// One source of an instruction, its variables expanded.
#[derive(Debug, Clone, Copy)]
pub struct Selector<'a> {
    /// The path, perhaps with wildcards.
    pub pattern: &'a str,
    /// `--exclude`: not these, as seen from each directory that the pattern selects. A file that the
    /// pattern itself selects is never excluded, as in BuildKit.
    pub exclude: &'a [String],
    /// `--parents`: with the directories above, from the first `/./` on.
    pub parents: bool,
}

/// What a [`Selector`] selects.
#[derive(Debug)]
pub struct Selection {
    /// One for each path that the pattern matches, sorted; none if its wildcards match nothing.
    pub picks: Vec<Pick>,
    pub(crate) filter: Filter,
    /// Before anything was looked at.
    pub(crate) begun: SystemTime,
}

/// One path that a pattern matches.
#[derive(Debug)]
pub struct Pick {
    /// From the tree's root, links followed.
    pub path: PathBuf,
    /// The last component before links were followed: the name that a file is copied under. Empty for
    /// the tree's root.
    pub name: OsString,
    pub(crate) listing: Listing,
}

impl Pick {
    /// Metadata of the file or directory itself.
    pub fn metadata(&self) -> &Metadata {
        self.listing.metadata()
    }
}

/// Selects from a tree.
///
/// # Errors
/// [`ContextError::NotFound`] for what must exist and does not (or is hidden by ignore rules),
/// [`ContextError::Wildcards`] and [`ContextError::Pattern`] for what cannot be parsed, and
/// [`ContextError::Read`].
pub fn select(tree: &SourceTree<'_>, selector: &Selector<'_>) -> Result<Selection, ContextError> {
    select_keeping(tree, selector, KEPT_ENTRIES)
}

/// [`select`], which keeps at most so many entries in memory.
pub(crate) fn select_keeping(
    tree: &SourceTree<'_>,
    selector: &Selector<'_>,
    mut room: usize,
) -> Result<Selection, ContextError> {
    let begun = SystemTime::now();
    let (start, below) =
        if selector.parents { split_pivot(selector.pattern) } else { (selector.pattern, "") };
    let below = clean::from_root(below);
    let filter = Filter {
        include: (!below.is_empty()).then(|| Patterns::parse([below.as_str()])).transpose()?,
        exclude: Patterns::parse(selector.exclude.iter().map(String::as_str))?,
    };
    let paths = expand(tree, start, selector.pattern)?;
    let mut picks: Vec<_> =
        paths.iter().map(|path| pick(tree, path, selector, &filter, &mut room)).collect::<Result<_, _>>()?;
    if filter.include.is_some() {
        // Only a directory can hold what comes after the pivot.
        picks.retain(|pick| pick.metadata().is_directory());
    }
    let is_missing = filter.include.is_some() && picks.iter().all(|pick| pick.listing.is_empty());
    if is_missing && !has_wildcards(selector.pattern) {
        return Err(not_found(tree, selector.pattern, &clean::from_root(&format!("{start}/{below}"))));
    }
    Ok(Selection { picks, filter, begun })
}

/// The parts of a `--parents` source before and after the point where kept parents begin.
fn split_pivot(pattern: &str) -> (&str, &str) {
    pattern.split_once("/./").unwrap_or(("/", pattern))
}

fn pick(
    tree: &SourceTree<'_>,
    path: &Path,
    selector: &Selector<'_>,
    filter: &Filter,
    room: &mut usize,
) -> Result<Pick, ContextError> {
    let text = path.to_string_lossy();
    let resolved = resolve(tree, path)?;
    let metadata = tree.lstat(&resolved).map_err(|source| unreadable(&resolved, source))?;
    let metadata = metadata.ok_or_else(|| not_found(tree, selector.pattern, &text))?;
    let listing = if metadata.is_directory() {
        Listing::of_directory(tree, &resolved, metadata, filter, room)?
    } else {
        Listing::of_file(metadata)
    };
    Ok(Pick { path: resolved, name: path.file_name().unwrap_or_default().to_owned(), listing })
}

fn resolve(tree: &SourceTree<'_>, path: &Path) -> Result<PathBuf, ContextError> {
    tree.resolve(path).map_err(|source| unreadable(path, source))
}

/// The paths that a pattern matches, sorted; the pattern itself if it has no wildcards.
fn expand(tree: &SourceTree<'_>, start: &str, pattern: &str) -> Result<Vec<PathBuf>, ContextError> {
    let cleaned = clean::from_root(start);
    let components: Vec<&str> = cleaned.split('/').collect();
    let fixed = components.iter().take_while(|component| !has_wildcards(component)).count();
    if fixed == components.len() {
        return Ok(vec![PathBuf::from(cleaned)]);
    }
    let globs = components[fixed..].iter().map(|component| Glob::new(component));
    let globs: Vec<_> = globs
        .collect::<Result<_, _>>()
        .map_err(|source| ContextError::Wildcards { pattern: pattern.to_owned(), source })?;
    let fixed: PathBuf = components[..fixed].iter().collect();
    let base = resolve(tree, &fixed)?;
    let metadata = tree.lstat(&base).map_err(|source| unreadable(&base, source))?;
    let metadata = metadata.ok_or_else(|| not_found(tree, pattern, &fixed.to_string_lossy()))?;
    let mut matches = Vec::new();
    if metadata.is_directory() {
        match_below(tree, &base, &globs, &mut matches)?;
    }
    Ok(matches)
}

/// Adds the paths below a directory whose components match `globs` one by one.
fn match_below(
    tree: &SourceTree<'_>,
    directory: &Path,
    globs: &[Glob],
    matches: &mut Vec<PathBuf>,
) -> Result<(), ContextError> {
    let Some((glob, deeper)) = globs.split_first() else { return Ok(()) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let open = tree.root().open_at(directory, flags, Mode::empty());
    let open = open.map_err(|source| unreadable(directory, source))?;
    for name in Names::sorted(&open).map_err(|source| unreadable(directory, source))? {
        if !glob.matches(name.as_encoded_bytes()) {
            continue;
        }
        let path = directory.join(&name);
        let Ok(stat) = fs::statat(&open, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
        let is_directory = Metadata::of(&stat).is_directory();
        if tree.ignore().is_some_and(|ignore| !ignore.shows(&path, is_directory)) {
            continue;
        }
        if deeper.is_empty() {
            matches.push(path);
        } else if is_directory {
            match_below(tree, &path, deeper, matches)?;
        }
    }
    Ok(())
}

/// The error for `path`, with the ignore rule that hides it where it exists.
fn not_found(tree: &SourceTree<'_>, pattern: &str, path: &str) -> ContextError {
    let root = tree.root();
    let hidden = || {
        root.lstat(root.resolve(path).ok()?).ok()?;
        // Resolving stops at what is hidden.
        let resolved = tree.resolve(path).ok()?;
        let mut above: Vec<_> = resolved.ancestors().collect();
        above.reverse();
        let hides = |path: &&Path| tree.lstat(path).is_ok_and(|metadata| metadata.is_none());
        tree.ignore()?.explain(above.into_iter().find(hides)?)
    };
    ContextError::NotFound { pattern: pattern.to_owned(), ignored: hidden() }
}
