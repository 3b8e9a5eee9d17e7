//! Why an image could not be brought in.

use std::io;
use std::path::PathBuf;

use lbuild_archive::ArchiveError;
use lbuild_layer_store::StoreError;
use lbuild_oci::{DiffId, Digest, Platform, ReferenceError};
use lbuild_registry::RegistryError;

/// Why an image could not be brought into the store.
///
/// The store has no image that it had not before, except perhaps after [`ImportError::Store`]: it keeps
/// images one after the other.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// What was given holds no image.
    #[error("not an image archive: {reason}")]
    NotAnImage {
        /// What it is instead, and what to do.
        reason: String,
    },
    /// The archive cannot be read as a tar.
    #[error("cannot read the image archive")]
    Archive(#[from] ArchiveError),
    /// A file of the archive or layout cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file, as the archive or layout names it.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The store failed.
    #[error("cannot keep {what} in the store")]
    Store {
        /// What was to be kept.
        what: String,
        /// Why.
        source: StoreError,
    },
    /// A document is not what it should be.
    #[error("cannot parse {path}")]
    Parse {
        /// The document.
        path: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A document breaks a rule of its format.
    #[error("{path}: {reason}")]
    Invalid {
        /// The document.
        path: String,
        /// Which rule.
        reason: String,
    },
    /// A document is larger than any honest one.
    #[error("{path} is larger than {limit} bytes, the limit for a document")]
    DocumentTooLarge {
        /// The document.
        path: String,
        /// How much was allowed.
        limit: u64,
    },
    /// A document refers to something that is not there.
    #[error("{path} is missing; the image is incomplete")]
    Missing {
        /// What is missing.
        path: String,
    },
    /// One path of the archive has two contents.
    #[error("{path} is in the archive twice with different contents")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// A blob is not what its name says.
    #[error("{path} is damaged: its digest is {found}, not {expected}")]
    DigestMismatch {
        /// The blob.
        path: String,
        /// What names it.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// A blob is not as long as its descriptor says.
    #[error("{path} is damaged: it has {found} bytes, not {expected}")]
    SizeMismatch {
        /// The blob.
        path: String,
        /// As its descriptor says, in bytes.
        expected: u64,
        /// As it is, in bytes.
        found: u64,
    },
    /// A layer's tar is not the one that the configuration names.
    #[error("layer {layer} is damaged: its DiffID is {found}, not {expected}")]
    DiffIdMismatch {
        /// The blob that holds the layer.
        layer: Digest,
        /// As the configuration says.
        expected: DiffId,
        /// As it is.
        found: DiffId,
    },
    /// The configuration and the manifest disagree.
    #[error(
        "image {image} is inconsistent: its configuration has {configured} layers, its manifest {listed}"
    )]
    LayerCount {
        /// The digest of the configuration.
        image: Digest,
        /// Layers of the configuration.
        configured: usize,
        /// Layers of the manifest.
        listed: usize,
    },
    /// A layer cannot be decompressed, or unpacks to more than is allowed.
    #[error("cannot unpack layer {layer}")]
    Layer {
        /// The blob that holds the layer.
        layer: Digest,
        /// Why.
        source: io::Error,
    },
    /// A layer or document is of a type that is not supported.
    #[error("{path}: the media type {media_type:?} is not supported; is this a container image?")]
    UnsupportedMediaType {
        /// What has that type.
        path: String,
        /// The type.
        media_type: String,
    },
    /// No image is for the wanted platform.
    #[error("no image for {wanted}; there is {}", list(.available))]
    NoPlatform {
        /// What was asked for, or what this machine is.
        wanted: Platform,
        /// What there is.
        available: Vec<Platform>,
    },
    /// No image has the wanted name or digest.
    #[error("no image is named {wanted:?} here; there is {}", if .available.is_empty() { "none with a name".to_owned() } else { .available.join(", ") })]
    NotFound {
        /// What was asked for.
        wanted: String,
        /// The names that there are.
        available: Vec<String>,
    },
    /// A name was given for one image, and there are several.
    #[error("there are {count} images here; a name can be given to one only")]
    SeveralImages {
        /// How many.
        count: usize,
    },
    /// One image was asked for without saying which.
    #[error("there are {count} images here; name one of them")]
    Unclear {
        /// How many.
        count: usize,
    },
    /// No Docker answers.
    #[error("cannot reach Docker at {socket}; is it running, and may this user open its socket?")]
    DockerUnreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection to Docker broke, or Docker does not speak HTTP.
    #[error("the connection to Docker at {socket} failed")]
    DockerConnection {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Docker does not give an image.
    #[error("Docker does not give the image: {message}")]
    DockerRefused {
        /// What Docker says.
        message: String,
    },
    /// A registry does not give the image.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A layer is to be had only elsewhere than in the registry, and that is not allowed.
    #[error("layer {layer} is not in the registry but at {url}")]
    Foreign {
        /// The blob that holds the layer.
        layer: Digest,
        /// The first place that the manifest names.
        url: String,
    },
    /// An image has a name that cannot be one.
    #[error("{path} gives a malformed name")]
    Name {
        /// The document.
        path: String,
        /// Why.
        source: ReferenceError,
    },
}

fn list(platforms: &[Platform]) -> String {
    let texts: Vec<String> = platforms.iter().map(Platform::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}
