//! Layers, snapshots, the build cache and images on disk.
//!
//! A [`Store`] is a directory that several processes share. A *layer* is a tar, known by its
//! [`DiffId`](lbuild_oci::DiffId). A *snapshot* is the directory that a layer unpacks to on top of
//! the layers below it, known by the stack's [`ChainId`](lbuild_oci::ChainId). This crate alone
//! knows overlayfs.
//!
//! A step runs in an [`ActiveSnapshot`] and is sealed by [`Store::commit`]: its upper directory is
//! compared with what lay below, stripped of what is no change, hashed as the tar it would be, and
//! *becomes* the snapshot. The tar is not kept: it is made again from the snapshot whenever it is
//! asked for, and checked. A layer from elsewhere is kept as it came and unpacked while it comes, or when it is first
//! looked into; one that still *is* elsewhere ([`Layer::sources`]) is fetched then, by the [`Fetcher`].
//!
//! # On disk
//!
//! ```text
//! version                 the format's number
//! lock                    shared while something is looked up, exclusive while names are taken away
//! tmp/<process>/          what a process has made and not named
//! tmp/<process>.lock      held as long as the process lives; a list of what it has found
//! locks/<key>             held while a step is made, or a snapshot
//! quarantine/             damaged files, moved out of the way
//! snapshots/<chain>/      a directory as overlayfs takes it for a lower layer
//! layers/<diff id>        what is known of a layer
//! blobs/sha256/<digest>   bytes as they came: layers, manifests
//! images/<id>             an image and its configuration
//! names/<digest of name>  an image's name
//! cache/<2>/<key>         what the builder remembers of a step
//! cache-mounts/<id>/      what `RUN --mount=type=cache` keeps
//! builds/, logs/, file-lists/  what is told of builds afterwards
//! ```
//!
//! Digests are written as 64 hexadecimal digits. What bears its name is whole: it was made in
//! `tmp/`, [`Store::flush`] ran one syncfs, and then it was renamed. Small files are
//! records that carry their own checksum; a torn one counts as absent.

mod apply;
mod arrival;
mod below;
mod blob;
mod cache;
mod cache_archive;
mod cache_miss;
mod cache_mount;
mod changes;
mod check;
mod content;
mod copied;
mod directory;
mod disk_usage;
mod error;
mod fetch;
mod format;
mod ground;
mod hollow;
mod image;
mod inventory;
mod journal;
mod layer;
mod layout;
mod listing;
mod lock;
mod mount;
mod name;
mod noted;
mod origin;
mod overlay;
mod pack;
mod prune;
mod prune_plan;
mod quarantine;
mod receive;
mod record;
mod rise;
mod seal;
mod seeds;
mod sizes;
mod snapshot;
mod snapshots;
mod staging;
mod step_lock;
mod store;
mod union;
mod unpack;
mod usage;
mod whiteout;
mod workspace;

pub use lbuild_archive::Limits as ArchiveLimits;

pub use cache_archive::CacheMount;
pub use cache_miss::CacheMiss;
pub use cache_mount::{CacheMountGuard, CacheMountSharing};
pub use changes::ChangedEntry;
pub use check::{CheckReport, Finding};
pub use disk_usage::{DiskUsage, ImageUsage};
pub use error::StoreError;
pub use fetch::Fetcher;
pub use image::ImageRecord;
pub use journal::{BuildName, KeepBuilds, LogWriter};
pub use layer::{Blob, Layer, LayerEntry, LayerEntryKind};
pub use origin::BlobOrigin;
pub use overlay::try_overlay;
pub use prune::{PruneOptions, PruneReport, Removed};
pub use quarantine::Damage;
pub use receive::{Incoming, Received};
pub use rise::Place;
pub use snapshot::{ActiveSnapshot, CommitOptions, PrepareOptions, View};
pub use step_lock::StepLock;
pub use store::{Ownership, Store, StoreOptions, Trees, check_owner};
