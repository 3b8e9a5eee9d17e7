//! How much disk space the parts of a store take.
//!
//! A snapshot never changes, so what it takes is remembered: looking at every file of a large store
//! takes long.

use std::collections::BTreeMap;

use lbuild_oci::json;

use crate::inventory::{Inventory, Part};
use crate::{Store, StoreError, record, usage};

/// Bytes on disk of the parts that were looked at.
#[derive(Debug, Default)]
pub(crate) struct Sizes {
    /// By the snapshot's name.
    snapshots: BTreeMap<String, u64>,
    is_changed: bool,
}

impl Sizes {
    /// What is remembered, and from now on what `inventory` has; what it has not is forgotten.
    pub fn load(store: &Store, inventory: &Inventory) -> Result<Self, StoreError> {
        let known: Option<BTreeMap<String, u64>> = record::read_json(&store.layout.sizes())?;
        let mut known = known.unwrap_or_default();
        let before = known.len();
        let mut sizes = Self::default();
        for part in &inventory.parts {
            let Part::Snapshot(chain) = part else { continue };
            let name = chain.digest().hex();
            if let Some(bytes) = known.remove(&name) {
                sizes.snapshots.insert(name, bytes);
            }
        }
        sizes.is_changed = sizes.snapshots.len() < before;
        inventory.parts.iter().for_each(|part| _ = sizes.of(store, part));
        Ok(sizes)
    }

    /// The bytes that a part takes; 0 if it is not there.
    pub fn of(&mut self, store: &Store, part: &Part) -> u64 {
        let path = part.path(&store.layout);
        let Part::Snapshot(chain) = part else { return usage::of(&path).bytes };
        let name = chain.digest().hex();
        if let Some(bytes) = self.snapshots.get(&name) {
            return *bytes;
        }
        let bytes = usage::of(&path).bytes;
        self.is_changed = true;
        self.snapshots.insert(name, bytes);
        bytes
    }

    /// Remembers what is new. If that cannot be written, it is measured again.
    pub fn save(&self, store: &Store) {
        if self.is_changed {
            let _ = record::write(&store.staging, &store.layout.sizes(), &json::canonical(&self.snapshots));
        }
    }
}
