//! What takes the store's disk space.

use std::collections::{HashMap, HashSet};

use crate::inventory::{Inventory, Part};
use crate::prune::Removed;
use crate::sizes::Sizes;
use crate::{CacheMount, ImageRecord, PruneOptions, Store, StoreError, usage};
use lbuild_oci::Reference;

/// What takes the store's disk space. Bytes are those allocated, hard links counted once.
#[derive(Debug, Clone)]
pub struct DiskUsage {
    /// Each image by itself.
    pub images: Vec<ImageUsage>,
    /// What images need, all together.
    pub image_parts: Removed,
    /// Cached steps, with what only they need.
    pub steps: Removed,
    /// What neither needs.
    pub unused: Removed,
    /// Directories of `RUN --mount=type=cache`.
    pub cache_mounts: Vec<CacheMount>,
    /// What is told of builds that have ended: records, what steps printed, lists of files.
    pub builds: Removed,
    /// Damaged files that were set aside.
    pub quarantine: Removed,
    /// What a prune would free.
    pub prunable: u64,
    /// What a prune of everything without a name would free.
    pub prunable_all: u64,
}

/// What an image takes.
#[derive(Debug, Clone)]
pub struct ImageUsage {
    /// The image.
    pub image: ImageRecord,
    /// Its names.
    pub names: Vec<Reference>,
    /// Bytes of all that it needs.
    pub bytes: u64,
    /// Bytes of what other images need too.
    pub shared: u64,
}

impl DiskUsage {
    /// All bytes.
    pub fn total(&self) -> u64 {
        let mounts: u64 = self.cache_mounts.iter().map(|mount| mount.bytes).sum();
        let parts = [&self.image_parts, &self.steps, &self.unused, &self.builds, &self.quarantine]
            .map(|part| part.bytes);
        parts.iter().sum::<u64>() + mounts
    }
}

impl Store {
    /// Measures what takes the store's disk space.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn disk_usage(&self) -> Result<DiskUsage, StoreError> {
        let inventory = Inventory::read(self)?;
        let mut sizes = Sizes::load(self, &inventory)?;
        sizes.save(self);
        let there: HashSet<Part> = inventory.parts.iter().copied().collect();
        let mut needs: HashMap<Part, usize> = HashMap::new();
        let image_parts: Vec<HashSet<Part>> = inventory
            .images
            .iter()
            .map(|(image, _)| inventory.image(self, image).intersection(&there).copied().collect())
            .collect();
        image_parts.iter().flatten().for_each(|part| *needs.entry(*part).or_default() += 1);
        let mut sum = |parts: &mut dyn Iterator<Item = Part>| {
            let mut removed = Removed::default();
            parts.for_each(|part| removed.add(sizes.of(self, &part)));
            removed
        };
        let mut images = Vec::new();
        for ((image, names), parts) in inventory.images.iter().zip(&image_parts) {
            let bytes = sum(&mut parts.iter().copied()).bytes;
            let shared = sum(&mut parts.iter().copied().filter(|part| needs[part] > 1)).bytes;
            images.push(ImageUsage { image: image.clone(), names: names.clone(), bytes, shared });
        }
        let by_images: HashSet<Part> = needs.into_keys().collect();
        let stacks = inventory.steps.iter().filter_map(|step| step.layers.as_ref());
        let by_steps: HashSet<Part> = stacks.flat_map(|stack| inventory.stack(self, stack)).collect();
        let mut image_sum = sum(&mut by_images.iter().copied());
        image_sum.count = images.len() as u64;
        let mut steps = sum(&mut by_steps
            .iter()
            .copied()
            .filter(|part| there.contains(part) && !by_images.contains(part)));
        steps.count = inventory.steps.len() as u64;
        steps.bytes += inventory.steps.iter().map(|step| usage::of(&step.path).bytes).sum::<u64>();
        let unused = |part: &Part| !by_images.contains(part) && !by_steps.contains(part);
        let unused = sum(&mut there.iter().copied().filter(unused));
        let mut quarantine = Removed::default();
        self.quarantined()?.iter().for_each(|path| quarantine.add(usage::of(path).bytes));
        let prunable = |all| {
            let options = PruneOptions { all, untagged: all, dry_run: true, ..PruneOptions::default() };
            self.prune(&options).map(|report| report.total().bytes)
        };
        Ok(DiskUsage {
            images,
            image_parts: image_sum,
            steps,
            unused,
            cache_mounts: self.cache_mounts()?,
            builds: self.prune_builds(true)?,
            quarantine,
            prunable: prunable(false)?,
            prunable_all: prunable(true)?,
        })
    }
}
