//! Layers, snapshots, the build cache and images on disk.
//!
//! A [`Store`] is a directory that several processes share. A *layer* is a tar, known by its
//! [`DiffId`](lbuild_oci::DiffId). A *snapshot* is the directory that a layer unpacks to on top of
//! the layers below it, known by the stack's [`ChainId`](lbuild_oci::ChainId). This crate alone
//! knows overlayfs.

mod apply;
mod below;
mod blob;
mod cache;
mod cache_mount;
mod content;
mod directory;
mod error;
mod image;
mod layer;
mod layout;
mod lock;
mod mount;
mod name;
mod overlay;
mod pack;
mod prune;
mod record;
mod seal;
mod seeds;
mod snapshot;
mod snapshots;
mod staging;
mod store;
mod unpack;
mod usage;
mod whiteout;
mod workspace;

pub use cache_mount::{CacheMountGuard, CacheMountSharing};
pub use error::StoreError;
pub use image::ImageRecord;
pub use layer::{Blob, Layer, LayerEntry, LayerEntryKind};
pub use prune::{PruneOptions, PruneReport, Removed};
pub use snapshot::{ActiveSnapshot, CommitOptions, PrepareOptions, View};
pub use store::{Store, StoreOptions};
