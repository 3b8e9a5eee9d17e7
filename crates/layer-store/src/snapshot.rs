//! Merged trees: a writable one for a step, a read-only one to look at.

use std::os::fd::BorrowedFd;

use lbuild_confined::Root;
use lbuild_oci::DiffId;

/// Directories that a step sees besides its layers, so that mount points need not be made.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrepareOptions<'a> {
    /// Below all layers: seen where the layers have nothing.
    pub stubs: Option<BorrowedFd<'a>>,
    /// Above all layers: hides what the layers have.
    pub overlay_stubs: Option<BorrowedFd<'a>>,
}

/// How a step becomes a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitOptions {
    /// Later times are clamped to this, in seconds since the Unix epoch (`SOURCE_DATE_EPOCH`).
    pub latest_mtime: Option<i64>,
}

/// A writable tree on top of layers; dropping it discards what was written.
#[derive(Debug)]
pub struct ActiveSnapshot {
    root: Root,
    parent: Vec<DiffId>,
}

impl ActiveSnapshot {
    /// The merged tree: a mount that no path of the file system leads to.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// The layers below, bottom first.
    pub fn parent(&self) -> &[DiffId] {
        &self.parent
    }
}

/// A read-only tree of merged layers.
#[derive(Debug)]
pub struct View {
    root: Root,
}

impl View {
    /// The merged tree.
    pub fn root(&self) -> &Root {
        &self.root
    }
}
