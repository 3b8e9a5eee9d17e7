//! The entries of one pick: kept in memory where they are few, else found anew each time.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::slice;
use std::sync::OnceLock;

use lbuild_oci::{Digest, Hasher};

use crate::error::ContextError;
use crate::metadata::Metadata;
use crate::select::{Pick, Selection};
use crate::tree::SourceTree;
use crate::walk::{Entry, Filter, Walk};

/// The entries of one pick.
#[derive(Debug)]
pub(crate) enum Listing {
    /// All of them, a directory before what it holds.
    Kept(Vec<Entry>),
    /// Too many to be kept.
    Walked {
        /// The directory itself.
        metadata: Metadata,
        /// The digest of all entries as the first walk found them.
        first: OnceLock<Digest>,
    },
}

/// The entries of one pick, one after the other.
pub struct Entries<'a> {
    source: Source<'a>,
    has_changed: bool,
}

enum Source<'a> {
    Kept(slice::Iter<'a, Entry>),
    Walked { walk: Box<Walk<'a>>, hasher: Option<Hasher>, first: &'a OnceLock<Digest> },
}

impl Selection {
    /// The entries of a pick: the file, or the directory and all that it holds, each directory before
    /// what it holds, sorted by name.
    ///
    /// # Errors
    /// [`ContextError::Read`] for a directory that cannot be read any more.
    pub fn entries<'a>(&'a self, tree: &SourceTree<'a>, pick: &'a Pick) -> Result<Entries<'a>, ContextError> {
        let source = match &pick.listing {
            Listing::Kept(entries) => Source::Kept(entries.iter()),
            Listing::Walked { metadata, first } => {
                let walk = Box::new(Walk::new(*tree, &pick.path, *metadata, &self.filter)?);
                Source::Walked { walk, hasher: Some(Hasher::new()), first }
            }
        };
        Ok(Entries { source, has_changed: false })
    }
}

impl<'a> Entries<'a> {
    /// The next entry.
    ///
    /// # Errors
    /// [`ContextError::Read`] for a directory that cannot be read.
    // Not an iterator, since it can fail.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Cow<'a, Entry>>, ContextError> {
        let Source::Walked { walk, hasher, first } = &mut self.source else {
            let Source::Kept(entries) = &mut self.source else { return Ok(None) };
            return Ok(entries.next().map(Cow::Borrowed));
        };
        let entry = walk.next()?;
        match (&entry, hasher.as_mut()) {
            (Some(Entry { depth, name, metadata, is_implied }), Some(hasher)) => {
                add(hasher, *depth, name, metadata, *is_implied);
            }
            (None, _) => {
                if let Some(hasher) = hasher.take() {
                    let digest = hasher.finish();
                    self.has_changed = *first.get_or_init(|| digest) != digest;
                }
            }
            _ => {}
        }
        Ok(entry.map(Cow::Owned))
    }

    /// After the last entry: whether they were others than when they were walked through first.
    pub fn has_changed(&self) -> bool {
        self.has_changed
    }
}

impl Listing {
    /// Of a file.
    pub fn of_file(metadata: Metadata) -> Self {
        Self::Kept(vec![Entry { depth: 0, name: OsString::new(), metadata, is_implied: false }])
    }

    /// Of the directory `path` and what it holds. Takes its entries from the `room` that there is.
    pub fn of_directory(
        tree: &SourceTree<'_>,
        path: &Path,
        metadata: Metadata,
        filter: &Filter,
        room: &mut usize,
    ) -> Result<Self, ContextError> {
        let mut walk = Walk::new(*tree, path, metadata, filter)?;
        let mut entries = Vec::new();
        while let Some(entry) = walk.next()? {
            if entries.len() >= *room {
                *room = 0;
                return Ok(Self::Walked { metadata, first: OnceLock::new() });
            }
            entries.push(entry);
        }
        *room -= entries.len();
        Ok(Self::Kept(entries))
    }

    /// The entries, if they are kept.
    pub fn kept(&self) -> Option<&[Entry]> {
        match self {
            Self::Kept(entries) => Some(entries),
            Self::Walked { .. } => None,
        }
    }

    /// Metadata of the file or directory itself.
    pub fn metadata(&self) -> &Metadata {
        match self {
            Self::Kept(entries) => &entries[0].metadata,
            Self::Walked { metadata, .. } => metadata,
        }
    }

    /// Whether there is nothing beside the file or directory itself.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Kept(entries) if entries.len() == 1)
    }
}

/// Adds everything by which a change of an entry shows.
pub(crate) fn add(hasher: &mut Hasher, depth: usize, name: &OsStr, metadata: &Metadata, is_implied: bool) {
    let Metadata { kind, mode, uid, gid, size, mtime, ctime, device, inode, special, .. } = metadata;
    let numbers = [
        depth as u64,
        name.len() as u64,
        u64::from(is_implied) << 8 | u64::from(kind.letter()),
        u64::from(*mode),
        u64::from(*uid) << 32 | u64::from(*gid),
        *size,
        *device,
        *inode,
        *special,
        mtime.seconds.cast_unsigned(),
        ctime.seconds.cast_unsigned(),
        u64::from(mtime.nanos) << 32 | u64::from(ctime.nanos),
    ];
    let mut bytes = [[0; 8]; 12];
    for (place, number) in bytes.iter_mut().zip(numbers) {
        *place = number.to_le_bytes();
    }
    hasher.update(bytes.as_flattened());
    hasher.update(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lbuild_confined::Root;

    use super::*;
    use crate::memo::DigestMemo;
    use crate::select::{Selector, select_keeping};
    use crate::{Relevant, SourceTree};

    const EXCLUDE: [&str; 3] = ["**/x*", "b", "!b/kept"];

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for path in ["a/1", "a/2/deep", "b/kept", "b/other", "c/x1", "z"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "content").unwrap();
        }
        folder
    }

    fn select(tree: &SourceTree<'_>, room: usize) -> Selection {
        let exclude = EXCLUDE.map(str::to_owned);
        select_keeping(tree, &Selector { pattern: ".", exclude: &exclude, parents: false }, room).unwrap()
    }

    fn entries(tree: &SourceTree<'_>, selection: &Selection) -> (Vec<Entry>, bool) {
        let mut entries = selection.entries(tree, &selection.picks[0]).unwrap();
        let all = std::iter::from_fn(|| entries.next().unwrap().map(Cow::into_owned)).collect();
        (all, entries.has_changed())
    }

    #[test]
    fn entries_that_are_not_kept_are_the_same_ones() {
        let folder = folder();
        let root = Root::open(folder.path()).unwrap();
        let tree = SourceTree::new(&root);
        let (kept, walked) = (select(&tree, 100), select(&tree, 3));
        assert!(matches!(walked.picks[0].listing, Listing::Walked { .. }));
        assert_eq!(entries(&tree, &kept), entries(&tree, &walked));
        let digest = |selection: &Selection| {
            let relevant = Relevant { owner: true, mode: true };
            selection.digest(&tree, &DigestMemo::new(), relevant, &|| false).unwrap()
        };
        assert_eq!(digest(&kept), digest(&walked));
    }

    #[test]
    fn a_change_between_two_walks_is_seen() {
        let folder = folder();
        let root = Root::open(folder.path()).unwrap();
        let tree = SourceTree::new(&root);
        let selection = select(&tree, 3);
        assert!(!entries(&tree, &selection).1);
        assert!(!entries(&tree, &selection).1, "nothing has changed yet");
        fs::write(folder.path().join("a/2/deep"), "other content").unwrap();
        assert!(entries(&tree, &selection).1);
    }
}
