//! Decides what a prune removes.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use lbuild_oci::Digest;

use crate::error::OnPath;
use crate::inventory::{Inventory, Part};
use crate::sizes::Sizes;
use crate::{PruneOptions, Store, StoreError, usage};

/// What a removed thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    Step,
    CacheMount,
    Part(Part),
    Stranger,
}

/// What goes, and what is needed how often by the rest.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Images, steps, cache mounts and strangers.
    named: Vec<(Kind, PathBuf)>,
    parts: Vec<Part>,
    needs: HashMap<Part, usize>,
}

/// A cached step or a cache mount that may go.
struct Candidate {
    kind: Kind,
    path: PathBuf,
    last_used: SystemTime,
    /// What only has to stay as long as it does.
    needs: HashSet<Part>,
}

/// How much is to be freed until there is space enough.
struct Space {
    store: u64,
    free: u64,
    keep_storage: Option<u64>,
    min_free: Option<u64>,
}

impl Plan {
    /// Finds out what must stay: what images need that stay themselves, and what is `held`.
    pub fn new(
        store: &Store,
        inventory: &Inventory,
        options: &PruneOptions,
        held: &HashSet<Digest>,
    ) -> Result<Self, StoreError> {
        let mut plan = Self::default();
        let mounted = store.mounted_images()?;
        for (image, names) in &inventory.images {
            let path = store.layout.image(&image.id);
            let is_used = !names.is_empty() || mounted.contains(&image.id) || held.contains(&image.id);
            let is_recent =
                is_younger(usage::last_modified(&path), options.keep_duration.unwrap_or_default());
            if options.untagged && !is_used && !is_recent {
                plan.named.push((Kind::Image, path));
            } else {
                plan.need(inventory.image(store, image));
            }
        }
        for digest in held {
            plan.need(inventory.held(store, digest));
        }
        Ok(plan)
    }

    /// Chooses, the longest unused first, which steps and cache mounts go, and then all that nothing
    /// needs any more.
    pub fn choose(
        &mut self,
        store: &Store,
        inventory: Inventory,
        options: &PruneOptions,
    ) -> Result<(), StoreError> {
        let mut candidates = self.candidates(store, &inventory)?;
        candidates.sort_by_key(|candidate| candidate.last_used);
        for candidate in &candidates {
            self.need(candidate.needs.iter().copied());
        }
        let unneeded: Vec<Part> =
            inventory.parts.iter().copied().filter(|part| !self.needs.contains_key(part)).collect();
        let mut sizes = None;
        if options.has_limits() {
            let mut measured = Sizes::load(store, &inventory)?;
            let space = Space::new(store, &inventory, &mut measured, options)?;
            sizes = Some((measured, space));
        }
        if let Some((sizes, space)) = &mut sizes {
            unneeded.iter().for_each(|part| space.freed(sizes.of(store, part)));
        }
        self.parts = unneeded;
        for candidate in candidates {
            if is_younger(candidate.last_used, options.keep()) {
                continue;
            }
            if sizes.as_ref().is_some_and(|(_, space)| space.is_enough()) {
                break;
            }
            let released = self.release(&candidate.needs);
            if let Some((sizes, space)) = &mut sizes {
                released.iter().for_each(|part| space.freed(sizes.of(store, part)));
                space.freed(usage::of(&candidate.path).bytes);
            }
            // What only was going to be there is not there to be removed.
            self.parts.extend(released);
            self.named.push((candidate.kind, candidate.path));
        }
        let there: HashSet<Part> = inventory.parts.into_iter().collect();
        self.parts.retain(|part| there.contains(part));
        self.named.extend(inventory.strangers.into_iter().map(|path| (Kind::Stranger, path)));
        self.named.extend(store.quarantined()?.into_iter().map(|path| (Kind::Stranger, path)));
        Ok(())
    }

    /// What goes, in an order in which what is named is whole at any moment: records first.
    pub fn removals(&self, store: &Store) -> Vec<(Kind, PathBuf)> {
        let mut parts = self.parts.clone();
        parts.sort_unstable();
        let parts = parts.into_iter().map(|part| (Kind::Part(part), part.path(&store.layout)));
        self.named.iter().cloned().chain(parts).collect()
    }

    fn candidates(&mut self, store: &Store, inventory: &Inventory) -> Result<Vec<Candidate>, StoreError> {
        let mut candidates = Vec::new();
        for step in &inventory.steps {
            let (path, last_used) = (step.path.clone(), step.last_used);
            match &step.layers {
                Some(layers) => {
                    let needs = inventory.stack(store, layers);
                    candidates.push(Candidate { kind: Kind::Step, path, last_used, needs });
                }
                None => self.named.push((Kind::Step, path)),
            }
        }
        for mount in store.cache_mount_folders()? {
            if !mount.is_in_use {
                let (kind, needs) = (Kind::CacheMount, HashSet::new());
                candidates.push(Candidate { kind, path: mount.folder, last_used: mount.last_used, needs });
            }
        }
        Ok(candidates)
    }

    fn need(&mut self, parts: impl IntoIterator<Item = Part>) {
        parts.into_iter().for_each(|part| *self.needs.entry(part).or_default() += 1);
    }

    /// Those of `parts` that nothing else needs.
    fn release(&mut self, parts: &HashSet<Part>) -> Vec<Part> {
        let mut released = Vec::new();
        for part in parts {
            let needs = self.needs.entry(*part).or_default();
            *needs = needs.saturating_sub(1);
            if *needs == 0 {
                released.push(*part);
            }
        }
        released
    }
}

impl Space {
    fn new(
        store: &Store,
        inventory: &Inventory,
        sizes: &mut Sizes,
        options: &PruneOptions,
    ) -> Result<Self, StoreError> {
        let mut bytes: u64 = inventory.parts.iter().map(|part| sizes.of(store, part)).sum();
        bytes += inventory.steps.iter().map(|step| usage::of(&step.path).bytes).sum::<u64>();
        for folder in [store.layout.cache_mounts(), store.layout.images(), store.layout.quarantine()] {
            bytes += usage::of(&folder).bytes;
        }
        let disk = rustix::fs::statvfs(store.root()).on("read", store.root())?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let (keep_storage, min_free) = (options.keep_storage, options.min_free);
        Ok(Self { store: bytes, free, keep_storage, min_free })
    }

    fn freed(&mut self, bytes: u64) {
        self.store = self.store.saturating_sub(bytes);
        self.free = self.free.saturating_add(bytes);
    }

    fn is_enough(&self) -> bool {
        self.keep_storage.is_none_or(|most| self.store <= most)
            && self.min_free.is_none_or(|least| self.free >= least)
    }
}

/// Whether `time` is less than `age` ago. A time in the future, by a clock that was set back, counts as
/// now.
fn is_younger(time: SystemTime, age: Duration) -> bool {
    SystemTime::now().duration_since(time).unwrap_or_default() < age
}
