//! Writes images out of the store.
//!
//! [`write_archive`] makes the tar that everybody reads: an OCI layout and a docker archive at once,
//! whose `manifest.json` names the layout's blobs. [`write_oci_archive`] and [`write_oci_layout`]
//! leave out the Docker part, [`docker_load`] hands the archive to a running Docker,
//! [`push`] brings the image to a registry,
//! [`write_rootfs_tar`] and [`write_rootfs_dir`] write the merged files instead of an image. The
//! same image and options give the same bytes.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md> and
//! <https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format>

mod archive;
mod contents;
mod docker;
mod document;
mod early;
mod encoder;
mod error;
mod gzip;
mod layer_push;
mod layout;
mod options;
mod package;
mod push;
mod rootfs;
mod tree;

pub use archive::{write_archive, write_oci_archive};
pub use contents::manifest;
pub use docker::{DockerLoad, docker_load};
pub use early::EarlyPush;
pub use error::ExportError;
pub use layout::write_oci_layout;
pub use options::{Compression, ExportOptions, Written};
pub use package::{Descriptor, Package, PackedLayer, compress_layer};
pub use push::{LAYERS_AT_ONCE, MediaTypes, PushOptions, Pushed, push};
pub use rootfs::{write_rootfs_dir, write_rootfs_tar};
