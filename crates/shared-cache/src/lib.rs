//! Results of steps that machines share, in a folder or in a registry.
//!
//! Each step is one small document under its key, which names the step's layer: any number of machines
//! write at the same time, since none writes what another does, and a build reads the documents of the
//! steps that it looks up and no others. Layers are fetched when their files are needed.
//!
//! ```text
//! NAMESPACE-KEY          the record of a step: an image manifest with the record as an annotation
//! NAMESPACE-KEY.claim    who runs the step now, so that others wait for the record instead of running it
//! ```
//!
//! In a registry these are tags of one repository, in a folder files. An image may besides carry the
//! results of its own steps in its configuration ([`INLINE_FIELD`]). Who can write a namespace
//! decides what a build that reads it gets for a step, as who can push an image decides what is in it.
//! What is here only makes sure that nothing else is taken for it: a record is that of the key it is looked
//! up by, a layer has the digest that the record names.

mod claim;
mod document;
mod error;
mod folder;
mod image;
mod inline;
mod namespace;
mod prune;
mod registry;
mod shared;
mod storage;
mod writer;

pub use claim::{Claim, Claimed};
pub use document::{Found, FoundRecord, SharedLayer};
pub use error::CacheError;
pub use folder::Folder;
pub use image::CarryingImage;
pub use inline::{INLINE_FIELD, InlineLayer, InlineStep, inline_field};
pub use namespace::Namespace;
pub use prune::{PruneReport, prune};
pub use registry::RegistryStorage;
pub use shared::{SharedCache, Source, SourcePlace, Target};
pub use storage::{Listed, Storage};
pub use writer::{Entry, Written};
