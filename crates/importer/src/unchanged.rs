//! Which image an unchanged file, or an id of another tool, was when it was brought in.
//!
//! Kept as a record of the cache, which needs the image's layers and goes with the rest of the cache.

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Digest, json};
use serde_json::Value;

use crate::{ImportError, Loaded};

/// The image that was brought in from `identity`, if it is still here.
pub(crate) fn image(store: &Store, identity: &Value) -> Option<ImageRecord> {
    let bytes = store.cache_get(&key(identity))?;
    let id: Digest = std::str::from_utf8(&bytes).ok()?.parse().ok()?;
    store.image(&id).ok()?
}

/// Remembers what `identity` gave.
pub(crate) fn remember(store: &Store, identity: &Value, image: &Loaded) {
    store.cache_put(&key(identity), image.id.to_string().into_bytes(), &image.layers);
}

/// An image that was just brought in.
pub(crate) fn record(store: &Store, id: &Digest) -> Result<Option<ImageRecord>, ImportError> {
    store.image(id).map_err(|source| ImportError::Store { what: format!("image {id}"), source })
}

fn key(identity: &Value) -> Digest {
    Digest::of(json::canonical(&serde_json::json!({ "brought in": identity })))
}
