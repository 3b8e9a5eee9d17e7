//! Where things lie in a store.

use std::path::{Path, PathBuf};

use lbuild_oci::{ChainId, DiffId, Digest, Reference};

/// The paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn version(&self) -> PathBuf {
        self.root.join("version")
    }

    /// Which attributes overlayfs marks snapshots with, `trusted` or `user`, and whether owners are noted.
    pub fn marks(&self) -> PathBuf {
        self.root.join("marks")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub fn snapshot(&self, chain: &ChainId) -> PathBuf {
        self.snapshots().join(chain.digest().hex())
    }

    pub fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    pub fn layer(&self, diff_id: &DiffId) -> PathBuf {
        self.layers().join(diff_id.digest().hex())
    }

    pub fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    pub fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub fn image(&self, id: &Digest) -> PathBuf {
        self.images().join(id.hex())
    }

    pub fn names(&self) -> PathBuf {
        self.root.join("names")
    }

    /// A name may be longer than a file's can be, so its file is named by its digest.
    pub fn name(&self, name: &Reference) -> PathBuf {
        self.names().join(Digest::of(name.to_string()).hex())
    }

    pub fn cache(&self) -> PathBuf {
        self.root.join("cache")
    }

    /// Damaged files that were moved out of the way.
    pub fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// What the snapshots take on disk.
    pub fn sizes(&self) -> PathBuf {
        self.root.join("sizes")
    }

    /// The locks of steps that are being made.
    pub fn step_locks(&self) -> PathBuf {
        self.root.join("locks")
    }

    pub fn step_lock(&self, key: &Digest) -> PathBuf {
        self.step_locks().join(key.hex())
    }

    pub fn cache_mounts(&self) -> PathBuf {
        self.root.join("cache-mounts")
    }

    pub fn cache_record(&self, key: &Digest) -> PathBuf {
        let hex = key.hex();
        self.cache().join(&hex[..2]).join(hex)
    }
}
