//! Removes what nothing needs any more.
//!
//! Names are taken away under the store's exclusive lock, which takes no longer than to read the
//! records; what lost its name is measured and removed afterwards.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lbuild_oci::{Digest, lock};

use crate::error::OnPath;
use crate::inventory::{Inventory, Part};
use crate::lock::PATIENCE;
use crate::prune_plan::{Kind, Plan};
use crate::sizes::Sizes;
use crate::staging::Staging;
use crate::{Store, StoreError, usage};

/// What [`Store::prune`](crate::Store::prune) removes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneOptions {
    /// Cache records and cache mounts too, however recently they were used.
    pub all: bool,
    /// Images without a name too.
    pub untagged: bool,
    /// What was used within this time stays. By default all that a limit lets, else seven days' use.
    pub keep_duration: Option<Duration>,
    /// Cached steps and cache mounts go, the longest unused first, until the store takes at most this
    /// many bytes.
    pub keep_storage: Option<u64>,
    /// They go until the disk has at least this many bytes free.
    pub min_free: Option<u64>,
    /// Count, but remove nothing.
    pub dry_run: bool,
}

impl PruneOptions {
    /// Whether things go only until there is space enough.
    pub(crate) fn has_limits(&self) -> bool {
        self.keep_storage.is_some() || self.min_free.is_some()
    }

    /// How long what was used stays.
    pub(crate) fn keep(&self) -> Duration {
        const DEFAULT: Duration = Duration::from_secs(7 * 24 * 60 * 60);
        let default = if self.all || self.has_limits() { Duration::ZERO } else { DEFAULT };
        self.keep_duration.unwrap_or(default)
    }
}

/// What was removed, or would be in a dry run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Images without a name.
    pub images: Removed,
    /// Cache records.
    pub cache_records: Removed,
    /// Directories of `RUN --mount=type=cache`.
    pub cache_mounts: Removed,
    /// Layer records.
    pub layers: Removed,
    /// Unpacked layers.
    pub snapshots: Removed,
    /// Layers and manifests as they came.
    pub blobs: Removed,
    /// Leftovers of builds that were killed, and damaged files that were set aside.
    pub leftovers: Removed,
    /// What is told of builds: records, logs, lists of files.
    pub builds: Removed,
}

/// A number of things and the disk space that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many.
    pub count: u64,
    /// Bytes on disk, hard links counted once.
    pub bytes: u64,
}

impl Removed {
    /// One more thing.
    pub(crate) fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

impl PruneReport {
    /// Everything together.
    pub fn total(&self) -> Removed {
        let Self { images, cache_records, cache_mounts, layers, snapshots, blobs, leftovers, builds } = *self;
        let add = |sum: Removed, part: Removed| Removed {
            count: sum.count + part.count,
            bytes: sum.bytes + part.bytes,
        };
        [images, cache_records, cache_mounts, layers, snapshots, blobs, leftovers, builds]
            .into_iter()
            .fold(Removed::default(), add)
    }

    fn of(&mut self, kind: Kind) -> &mut Removed {
        match kind {
            Kind::Image => &mut self.images,
            Kind::Step => &mut self.cache_records,
            Kind::CacheMount => &mut self.cache_mounts,
            Kind::Part(Part::Layer(_)) => &mut self.layers,
            Kind::Part(Part::Snapshot(_)) => &mut self.snapshots,
            Kind::Part(Part::Blob(_)) => &mut self.blobs,
            Kind::Stranger => &mut self.leftovers,
        }
    }
}

impl Store {
    /// Removes what no image, no recent cache record and no living process needs, and what killed builds
    /// left. Builds go on meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if a step of this process still uses the store, or another process looks
    /// something up for ten seconds.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport, StoreError> {
        self.flush()?;
        if Arc::strong_count(&self.staging) > 1 {
            return Err(StoreError::Busy { path: self.root().to_owned() });
        }
        let mut report = PruneReport::default();
        let leftovers = Staging::clear_dead(&self.layout.tmp(), options.dry_run)?;
        report.leftovers = Removed { count: leftovers.count, bytes: leftovers.bytes };
        if options.all {
            report.builds = self.prune_builds(options.dry_run)?;
        }
        if options.has_limits() {
            // So that the lock is not held as long as that takes.
            Sizes::load(self, &Inventory::read(self)?)?.save(self);
        }
        let result = self.prune_planned(options, &mut report);
        self.snapshots.forget();
        lock(&self.layers).clear();
        result.map(|()| report)
    }

    fn prune_planned(&self, options: &PruneOptions, report: &mut PruneReport) -> Result<(), StoreError> {
        let holder = self.staging.directory()?;
        let alone = self.lock.exclusive(self.root(), PATIENCE)?;
        let held = self.staging.leases_of_others(&self.layout.tmp())?;
        let plan = self.plan_prune(options, &held)?;
        if options.dry_run {
            drop(alone);
            for (kind, path) in plan.removals(self) {
                report.of(kind).add(usage::of(&path).bytes);
            }
            return Ok(());
        }
        let mut unnamed = Vec::new();
        for (number, (kind, path)) in plan.removals(self).into_iter().enumerate() {
            let aside = holder.path().join(number.to_string());
            take_away(&path, &aside)?;
            unnamed.push((kind, aside));
        }
        drop(alone);
        for (kind, path) in unnamed {
            report.of(kind).add(usage::of(&path).bytes);
            usage::remove_tree(&path)?;
        }
        Ok(())
    }

    /// What a prune would remove while other processes hold `held`.
    pub(crate) fn plan_prune(
        &self,
        options: &PruneOptions,
        held: &HashSet<Digest>,
    ) -> Result<Plan, StoreError> {
        let inventory = Inventory::read(self)?;
        let mut plan = Plan::new(self, &inventory, options, held)?;
        plan.choose(self, inventory, options)?;
        Ok(plan)
    }
}

/// Takes the name from a file or a tree, so that no half of it bears it. What is gone is no error.
fn take_away(path: &Path, aside: &PathBuf) -> Result<(), StoreError> {
    match fs::rename(path, aside) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.on("remove", path),
    }
}
