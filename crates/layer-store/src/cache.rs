//! What the builder remembers of steps: opaque records by key.

use lbuild_oci::{DiffId, Digest, lock};
use serde::{Deserialize, Serialize};

use crate::layout::Layout;
use crate::record;
use crate::staging::Staging;
use crate::{Store, StoreError};

/// What stands before a record's bytes, on a line of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    /// The layers that the record needs, bottom first.
    layers: Vec<DiffId>,
}

/// A record and what it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CacheRecord {
    pub layers: Vec<DiffId>,
    pub bytes: Vec<u8>,
    /// Whether another machine made it: then it takes no other record's place.
    pub is_from_elsewhere: bool,
}

impl Store {
    /// The cache record of `key`, also before it is flushed; `None` too where it is damaged or a
    /// layer that it needs is gone.
    pub fn cache_get(&self, key: &Digest) -> Option<Vec<u8>> {
        let pending = lock(&self.pending).cache.get(key).cloned();
        if let Some(record) = pending.filter(|record| self.knows_all(&record.layers)) {
            return Some(record.bytes);
        }
        let path = self.layout.cache_record(key);
        let body = match record::read_used(&path) {
            Err(StoreError::Damaged { path, reason }) => {
                // Where it cannot be moved it is replaced.
                let _ = self.set_aside(&path, &reason);
                None
            }
            result => result.ok()?,
        };
        let record = CacheRecord::decode(&body?)?;
        self.knows_all(&record.layers).then_some(record.bytes)
    }

    /// Keeps a cache record, which is durable at the next [`Store::flush`]. `layers` are those that it
    /// needs, a whole stack, bottom first: they live as long as it.
    pub fn cache_put(&self, key: &Digest, record: Vec<u8>, layers: &[DiffId]) {
        let record = CacheRecord { layers: layers.to_vec(), bytes: record, is_from_elsewhere: false };
        lock(&self.pending).cache.insert(*key, record);
    }

    /// As [`Store::cache_put`] for a record of another machine, which never takes the place of one that is
    /// here and whole.
    pub fn cache_put_from_elsewhere(&self, key: &Digest, record: Vec<u8>, layers: &[DiffId]) {
        let record = CacheRecord { layers: layers.to_vec(), bytes: record, is_from_elsewhere: true };
        lock(&self.pending).cache.entry(*key).or_insert(record);
    }

    fn knows_all(&self, layers: &[DiffId]) -> bool {
        layers.iter().all(|layer| matches!(self.layer(layer), Ok(Some(_))))
    }
}

impl CacheRecord {
    pub fn write(&self, staging: &Staging, layout: &Layout, key: &Digest) -> Result<(), StoreError> {
        let mut body = lbuild_oci::json::canonical(&Head { layers: self.layers.clone() });
        body.push(b'\n');
        body.extend_from_slice(&self.bytes);
        record::write(staging, &layout.cache_record(key), &body)
    }

    /// `None` if `body` is no record.
    pub fn decode(body: &[u8]) -> Option<Self> {
        let newline = body.iter().position(|&byte| byte == b'\n')?;
        let head: Head = serde_json::from_slice(&body[..newline]).ok()?;
        let bytes = body[newline + 1..].to_vec();
        Some(Self { layers: head.layers, bytes, is_from_elsewhere: false })
    }

    /// Whether there is a whole record of the key.
    pub fn is_known(layout: &Layout, key: &Digest) -> bool {
        let body = record::read(&layout.cache_record(key)).ok().flatten();
        body.is_some_and(|body| Self::decode(&body).is_some())
    }
}
