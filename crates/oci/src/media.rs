//! Media types of layers, configs, manifests and indexes, in their OCI and Docker names.

use serde::{Deserialize, Serialize};

/// What a blob holds. Docker's schema 2 names are read as their OCI equivalents.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/main/media-types.md>
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum MediaType {
    /// An uncompressed layer tar.
    Layer,
    /// A gzip layer.
    LayerGzip,
    /// A zstd layer.
    LayerZstd,
    /// An image configuration.
    Config,
    /// An image manifest.
    Manifest,
    /// An image index (Docker's manifest list).
    Index,
    /// Anything else, kept as it was written.
    Other(String),
}

impl MediaType {
    /// The OCI name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Layer => "application/vnd.oci.image.layer.v1.tar",
            Self::LayerGzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::LayerZstd => "application/vnd.oci.image.layer.v1.tar+zstd",
            Self::Config => "application/vnd.oci.image.config.v1+json",
            Self::Manifest => "application/vnd.oci.image.manifest.v1+json",
            Self::Index => "application/vnd.oci.image.index.v1+json",
            Self::Other(name) => name,
        }
    }

    /// Whether the blob is a layer that this project can read.
    pub fn is_layer(&self) -> bool {
        matches!(self, Self::Layer | Self::LayerGzip | Self::LayerZstd)
    }
}

impl From<String> for MediaType {
    fn from(name: String) -> Self {
        match name.as_str() {
            "application/vnd.oci.image.layer.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar" => Self::Layer,
            "application/vnd.oci.image.layer.v1.tar+gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" => Self::LayerGzip,
            "application/vnd.oci.image.layer.v1.tar+zstd"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
            | "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd" => Self::LayerZstd,
            "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {
                Self::Config
            }
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => Self::Manifest,
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => Self::Index,
            _ => Self::Other(name),
        }
    }
}

impl From<&str> for MediaType {
    fn from(name: &str) -> Self {
        Self::from(name.to_owned())
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> Self {
        media_type.as_str().to_owned()
    }
}
