//! What a layer lies on while it is unpacked: looked at only where the layer depends on it.
//!
//! Most entries of a layer are made the same whatever lies below, so a layer may be unpacked while those
//! below it still come. What depends on them waits for them.

use std::cell::OnceCell;
use std::os::fd::BorrowedFd;

use lbuild_confined::Root;
use rustix::fs::Stat;

use crate::StoreError;

/// Gives what a layer lies on, once that is there.
pub(crate) trait Beneath {
    /// The tree of the layers below; `None` if there are none.
    fn tree(&self) -> Result<Option<Root>, StoreError>;

    /// What the root of the tree is, also where there is none.
    fn root(&self) -> Result<Stat, StoreError>;

    /// Has `root`, before anything is in it, note what the root of the tree notes of owners. Waits only
    /// where owners are noted.
    fn carry_notes(&self, root: BorrowedFd<'_>) -> Result<(), StoreError>;
}

/// The tree below a layer, opened once.
pub(crate) struct Ground<'a> {
    beneath: &'a dyn Beneath,
    tree: OnceCell<Option<Root>>,
}

impl<'a> Ground<'a> {
    pub fn new(beneath: &'a dyn Beneath) -> Self {
        Self { beneath, tree: OnceCell::new() }
    }

    /// The tree of the layers below; `None` if there are none. Waits for them.
    pub fn tree(&self) -> Result<Option<&Root>, StoreError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree.as_ref());
        }
        let tree = self.beneath.tree()?;
        Ok(self.tree.get_or_init(|| tree).as_ref())
    }

    /// What the root of the tree is. Waits for the layers below.
    pub fn root(&self) -> Result<Stat, StoreError> {
        self.beneath.root()
    }
}
