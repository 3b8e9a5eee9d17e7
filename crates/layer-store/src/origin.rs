//! Where a layer's blob can be had: the repositories of registries that it was seen in.
//!
//! A push takes a layer that its registry has in another repository from there. What is remembered
//! may be wrong by then, and then costs a request.

use lbuild_oci::{DiffId, Digest, json};
use serde::{Deserialize, Serialize};

use crate::Store;

/// Repositories that are remembered for a blob.
const MOST: usize = 8;

/// A repository of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobOrigin {
    /// The registry's host and port.
    pub registry: String,
    /// The repository's path there.
    pub repository: String,
}

impl Store {
    /// Where the blob `digest` was seen, the latest first.
    pub fn blob_origins(&self, digest: &Digest) -> Vec<BlobOrigin> {
        let known = self.cache_get(&key(digest));
        known.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
    }

    /// Remembers that `origin` has the blob `digest`, which holds the layer `layer`; kept at the next
    /// [`Store::flush`].
    pub fn add_blob_origin(&self, digest: &Digest, origin: &BlobOrigin, layer: &DiffId) {
        let mut origins = self.blob_origins(digest);
        if origins.first() == Some(origin) {
            return;
        }
        origins.retain(|known| known != origin);
        origins.insert(0, origin.clone());
        origins.truncate(MOST);
        self.cache_put(&key(digest), json::canonical(&origins), &[*layer]);
    }
}

fn key(digest: &Digest) -> Digest {
    Digest::of(json::canonical(&serde_json::json!({ "origins of": digest })))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blob, Layer, StoreOptions};
    use lbuild_oci::MediaType;

    #[test]
    fn the_latest_origin_comes_first_and_none_twice() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
        let (digest, size) = store.write_blob(&mut &b"layer"[..], None).unwrap();
        let layer = DiffId(digest);
        let blob = Blob { digest, size, media_type: MediaType::Layer };
        store.add_layer(&Layer::imported(layer, size, blob)).unwrap();
        let origin =
            |repository: &str| BlobOrigin { registry: "a.io".to_owned(), repository: repository.to_owned() };
        for repository in ["x", "y", "x"] {
            store.add_blob_origin(&digest, &origin(repository), &layer);
        }
        assert_eq!(store.blob_origins(&digest), [origin("x"), origin("y")]);
        for number in 0..20 {
            store.add_blob_origin(&digest, &origin(&number.to_string()), &layer);
        }
        assert_eq!(store.blob_origins(&digest).len(), MOST);
        assert_eq!(store.blob_origins(&Digest::of("other")), []);
    }
}
