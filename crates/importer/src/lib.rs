//! Brings images from outside into the store.
//!
//! [`load`] reads an image archive as Docker, BuildKit, Podman, Buildah, skopeo and kaniko write it,
//! from a file or a pipe; [`load_layout`] reads an OCI layout folder; a [`LocalImage`] is one of a local
//! Docker, of containers-storage, or of such a file; [`pull`] fetches one from a registry. Every byte is checked on its
//! way in: a blob against the digest and size that name it, a layer against the DiffID in the
//! image's configuration. An image gets its names only after all images of the archive passed.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md> and
//! <https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format>

mod archive;
mod candidate;
mod containers_storage;
mod daemon;
mod docker;
mod document;
mod download;
mod error;
mod folder;
mod layer;
mod layout;
mod load;
mod local;
mod platform;
mod pull;
mod remote;
mod source;
mod tar_split;
mod unchanged;

pub use containers_storage::StorageRoot;
pub use error::ImportError;
pub use load::{Limits, LoadOptions, Loaded, load, load_layout};
pub use local::{ImageInPath, LocalImage};
pub use pull::{PullEvent, PullOptions, Pulled, pull, pulled};
