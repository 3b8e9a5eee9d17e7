//! An image: what the store knows of one configuration.

use std::collections::BTreeMap;

use lbuild_oci::{DiffId, Digest, Platform};
use serde::{Deserialize, Serialize};

/// One image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The digest of the configuration.
    pub id: Digest,
    /// The layers, bottom first.
    pub layers: Vec<DiffId>,
    /// What the image runs on.
    pub platform: Platform,
    /// When it was made, RFC 3339, as its configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The manifest that it was pulled with, a blob of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The manifest's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}
