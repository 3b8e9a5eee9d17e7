//! Why the store has no result for a key.

use lbuild_oci::Digest;

use crate::cache::CacheRecord;
use crate::{Store, record};

/// Why [`Store::cache_get`] gives nothing for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheMiss {
    /// There is no record: there never was one, or it was pruned.
    Absent,
    /// The record is damaged.
    Damaged,
    /// A layer that the record needs is gone.
    NoLayer,
}

impl Store {
    /// Why there is no result for `key`; `None` if there is one.
    pub fn cache_miss(&self, key: &Digest) -> Option<CacheMiss> {
        if self.cache_get(key).is_some() {
            return None;
        }
        let path = self.layout.cache_record(key);
        Some(match record::read(&path) {
            Ok(None) if self.was_set_aside(&path) => CacheMiss::Damaged,
            Ok(None) => CacheMiss::Absent,
            Ok(Some(body)) if CacheRecord::decode(&body).is_some() => CacheMiss::NoLayer,
            _ => CacheMiss::Damaged,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use lbuild_oci::DiffId;

    use super::*;
    use crate::StoreOptions;

    #[test]
    fn a_miss_has_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
        let key = Digest::of("key");
        assert_eq!(store.cache_miss(&key), Some(CacheMiss::Absent));
        store.cache_put(&key, b"record".to_vec(), &[]);
        store.flush().unwrap();
        assert_eq!(store.cache_miss(&key), None);
        fs::write(store.layout.cache_record(&key), "torn").unwrap();
        assert_eq!(store.cache_miss(&key), Some(CacheMiss::Damaged));
        let other = Digest::of("other");
        store.cache_put(&other, b"record".to_vec(), &[DiffId(Digest::of("gone"))]);
        store.flush().unwrap();
        assert_eq!(store.cache_miss(&other), Some(CacheMiss::NoLayer));
    }
}
