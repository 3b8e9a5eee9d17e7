//! How an image is written.

use std::collections::BTreeMap;

use lbuild_oci::{Digest, MediaType, Reference};

use crate::ExportError;

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all, which is the fastest way into a local Docker.
    #[default]
    None,
    /// What every reader knows.
    Gzip {
        /// From 0, not at all, to 9, the smallest.
        level: u32,
    },
    /// Faster and smaller than gzip, for readers from 2020 on; Docker 20.10 is none.
    Zstd {
        /// From 1, the fastest, to 22, the smallest.
        level: i32,
    },
}

impl Compression {
    /// gzip at the level that Docker and BuildKit use.
    pub const GZIP: Self = Self::Gzip { level: 6 };
    /// zstd at its own default level.
    pub const ZSTD: Self = Self::Zstd { level: 3 };

    /// The media type of a layer so compressed.
    pub fn media_type(self) -> MediaType {
        match self {
            Self::None => MediaType::Layer,
            Self::Gzip { .. } => MediaType::LayerGzip,
            Self::Zstd { .. } => MediaType::LayerZstd,
        }
    }

    pub(crate) fn check(self) -> Result<(), ExportError> {
        match self {
            Self::Gzip { level } if level > 9 => {
                Err(ExportError::Level { format: "gzip", least: 0, most: 9 })
            }
            Self::Zstd { level } if !(1..=22).contains(&level) => {
                Err(ExportError::Level { format: "zstd", least: 1, most: 22 })
            }
            _ => Ok(()),
        }
    }
}

/// How an image is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportOptions {
    /// Of layers that were made here, or came uncompressed.
    pub compression: Compression,
    /// Whether layers that came compressed are compressed anew too. Else they stay as they came.
    pub force_compression: bool,
    /// What the image is called in the archive.
    pub names: Vec<Reference>,
    /// Annotations of the manifest; they come before those that the image has.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the index, where there is one.
    pub index_annotations: BTreeMap<String, String>,
    /// The modification time of the archive's own entries, in seconds since the Unix epoch; 0 by
    /// default.
    pub timestamp: Option<i64>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The digest of the image's manifest, or of the index of several images.
    pub manifest: Digest,
    /// Bytes of the manifest or the index.
    pub manifest_size: u64,
    /// The digest of the (first) image's configuration: what Docker calls the image's ID.
    pub image: Digest,
    /// Bytes of the configurations, the manifests and the layers.
    pub size: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked() {
        for (compression, is_valid) in [
            (Compression::None, true),
            (Compression::Gzip { level: 0 }, true),
            (Compression::Gzip { level: 10 }, false),
            (Compression::Zstd { level: 0 }, false),
            (Compression::Zstd { level: 22 }, true),
            (Compression::Zstd { level: 23 }, false),
        ] {
            assert_eq!(compression.check().is_ok(), is_valid, "{compression:?}");
        }
    }
}
