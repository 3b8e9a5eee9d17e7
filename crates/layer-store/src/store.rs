//! The store as its users see it.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use lbuild_oci::{DiffId, Digest, ImageConfig, Reference};

use crate::{
    ActiveSnapshot, CommitOptions, ImageRecord, Layer, LayerEntry, PrepareOptions, PruneOptions, PruneReport,
    StoreError, View,
};

/// How a store is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreOptions {
    /// Whether this process is in a user namespace, where overlayfs keeps its marks in `user.*`.
    pub userxattr: bool,
}

/// A store of layers, snapshots, cache records and images.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

#[allow(unused_variables)]
impl Store {
    /// Opens the store at `root`, which is made if it does not exist.
    pub fn open(root: &Path, options: StoreOptions) -> Result<Store, StoreError> {
        unimplemented!()
    }
    /// The store's directory.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// Keeps what `reader` gives, under its digest; returns that and the number of bytes.
    pub fn write_blob(
        &self,
        reader: &mut dyn Read,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), StoreError> {
        unimplemented!()
    }
    /// Opens a blob.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        unimplemented!()
    }
    /// Whether a blob is here.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        unimplemented!()
    }
    /// Makes a layer known whose blob is here.
    pub fn add_layer(&self, layer: &Layer) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// What is known of a layer.
    pub fn layer(&self, diff_id: &DiffId) -> Result<Option<Layer>, StoreError> {
        unimplemented!()
    }
    /// Writes the layer's uncompressed tar and returns its length in bytes.
    pub fn write_layer_tar(&self, diff_id: &DiffId, output: &mut dyn Write) -> Result<u64, StoreError> {
        unimplemented!()
    }
    /// The layer's entries, in the tar's order.
    pub fn layer_entries(&self, diff_id: &DiffId) -> Result<Vec<LayerEntry>, StoreError> {
        unimplemented!()
    }
    /// A writable tree on top of `layers`, bottom first.
    pub fn prepare(
        &self,
        layers: &[DiffId],
        options: &PrepareOptions<'_>,
    ) -> Result<ActiveSnapshot, StoreError> {
        unimplemented!()
    }
    /// A read-only tree of `layers`, bottom first.
    pub fn view(&self, layers: &[DiffId]) -> Result<View, StoreError> {
        unimplemented!()
    }
    /// Makes a layer of what a step changed; `None` if nothing.
    pub fn commit(
        &self,
        active: ActiveSnapshot,
        options: &CommitOptions,
    ) -> Result<Option<Layer>, StoreError> {
        unimplemented!()
    }
    /// The layers' directories, bottom first.
    pub fn layer_directories(&self, layers: &[DiffId]) -> Result<Vec<PathBuf>, StoreError> {
        unimplemented!()
    }
    /// A new, empty directory on the store's disk, that ends with this process.
    pub fn scratch(&self) -> Result<PathBuf, StoreError> {
        unimplemented!()
    }
    /// The cache record of `key`; `None` also where it is damaged or a layer that it needs is gone.
    pub fn cache_get(&self, key: &Digest) -> Option<Vec<u8>> {
        unimplemented!()
    }
    /// Keeps a cache record, durable at the next flush; `layers` are those that it needs, bottom first.
    pub fn cache_put(&self, key: &Digest, record: Vec<u8>, layers: &[DiffId]) {
        unimplemented!()
    }
    /// Keeps an image.
    pub fn put_image(&self, image: &ImageRecord, config: &[u8]) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// What is known of an image.
    pub fn image(&self, id: &Digest) -> Result<Option<ImageRecord>, StoreError> {
        unimplemented!()
    }
    /// An image's configuration, parsed and as it was written.
    pub fn image_config(&self, id: &Digest) -> Result<(ImageConfig, Vec<u8>), StoreError> {
        unimplemented!()
    }
    /// Gives `name` to an image; returns the image that had it.
    pub fn tag(&self, name: &Reference, id: &Digest) -> Result<Option<Digest>, StoreError> {
        unimplemented!()
    }
    /// Removes a name; whether it was there.
    pub fn untag(&self, name: &Reference) -> Result<bool, StoreError> {
        unimplemented!()
    }
    /// Removes an image and its names.
    pub fn remove_image(&self, id: &Digest) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// The image of a name or of an abbreviated identity.
    pub fn find(&self, text: &str) -> Result<Option<ImageRecord>, StoreError> {
        unimplemented!()
    }
    /// All images with their names.
    pub fn images(&self) -> Result<Vec<(ImageRecord, Vec<Reference>)>, StoreError> {
        unimplemented!()
    }
    /// Makes everything committed so far durable and visible to other processes.
    pub fn flush(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Removes what nothing needs.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport, StoreError> {
        unimplemented!()
    }
    /// Attaches a read-only look at an image to `target`.
    pub fn mount(&self, image: &Digest, target: &Path) -> Result<(), StoreError> {
        unimplemented!()
    }
    /// Ends [`Store::mount`].
    pub fn unmount(&self, target: &Path) -> Result<(), StoreError> {
        unimplemented!()
    }
}
