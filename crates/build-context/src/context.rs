//! A folder as a build context.

use std::path::Path;

use lbuild_confined::Root;

use crate::error::ContextError;
use crate::ignore::Ignore;
use crate::tree::{Owners, SourceTree};

/// A folder, seen through its ignore rules.
#[derive(Debug)]
pub struct Context {
    root: Root,
    ignore: Ignore,
    owners: Owners,
}

impl Context {
    /// A folder of the user's: what is copied from it belongs to root.
    ///
    /// # Errors
    /// [`ContextError::Open`] if it cannot be opened as a directory.
    pub fn open(folder: &Path, ignore: Ignore) -> Result<Self, ContextError> {
        Ok(Self { root: open_root(folder)?, ignore, owners: Owners::Root })
    }

    /// A folder with the ignore rules that it has itself, see [`Ignore::find`].
    ///
    /// # Errors
    /// As [`Context::open`] and [`Ignore::find`].
    pub fn discover(folder: &Path, dockerfile: Option<&Path>) -> Result<Self, ContextError> {
        let root = open_root(folder)?;
        let ignore = Ignore::find(&root, dockerfile)?;
        Ok(Self { root, ignore, owners: Owners::Root })
    }

    /// The same folder, whose files keep their owners: one that an archive was unpacked to.
    #[must_use]
    pub fn with_owners(self, owners: Owners) -> Self {
        Self { owners, ..self }
    }

    /// The whole folder, ignored files included.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The rules.
    pub fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// The tree that COPY and ADD read.
    pub fn tree(&self) -> SourceTree<'_> {
        SourceTree::new(&self.root).with_ignore(&self.ignore).with_owners(self.owners)
    }
}

fn open_root(folder: &Path) -> Result<Root, ContextError> {
    Root::open(folder).map_err(|source| ContextError::Open { path: folder.to_owned(), source })
}
