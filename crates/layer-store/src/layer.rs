//! A layer: what the store knows of one tar.

use std::path::PathBuf;

use lbuild_oci::{ChainId, DiffId, Digest, MediaType};
use serde::{Deserialize, Serialize};

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The length of the uncompressed tar in bytes; 0 where an import did not tell.
    pub size: u64,
    /// The number of the tar's entries; 0 where an import did not tell.
    pub entries: u64,
    /// The layer as it came from elsewhere; `None` for a layer that was packed here, whose tar is
    /// reproduced from its snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Blob>,
    /// What times in the tar were clamped to, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_mtime: Option<i64>,
    /// The snapshot that the tar is reproduced from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<ChainId>,
}

impl Layer {
    /// A layer that came from elsewhere as `blob`; `size` is the length of its uncompressed tar in
    /// bytes.
    pub fn imported(diff_id: DiffId, size: u64, blob: Blob) -> Self {
        Self { diff_id, size, entries: 0, blob: Some(blob), latest_mtime: None, snapshot: None }
    }
}

/// A layer's bytes as they were received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The digest of these bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// How they are compressed.
    pub media_type: MediaType,
}

/// One entry of a layer, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    /// The path from the image's root, without a leading slash; of a deletion, what is deleted.
    pub path: PathBuf,
    /// What the entry is.
    pub kind: LayerEntryKind,
    /// Bytes of a file's content; else 0.
    pub size: u64,
}

/// What an entry of a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerEntryKind {
    /// A regular file.
    File,
    /// Another name of a file in the layer.
    HardLink,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A device node.
    Device,
    /// The deletion of what a lower layer has there.
    Whiteout,
    /// The deletion of all that lower layers have in this directory.
    Opaque,
}
