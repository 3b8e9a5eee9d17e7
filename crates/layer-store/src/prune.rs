//! Removes what nothing needs any more.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lbuild_oci::{ChainId, DiffId, Digest};

use crate::cache::CacheRecord;
use crate::cache_mount::ID_FILE;
use crate::error::OnPath;
use crate::image::file_names;
use crate::snapshots::lock;
use crate::staging::Staging;
use crate::{ImageRecord, Store, StoreError, record, usage};

/// How long prune waits for other processes to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What [`Store::prune`](crate::Store::prune) removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneOptions {
    /// Cache records and cache mounts too, however recently they were used.
    pub all: bool,
    /// Images without a name too.
    pub untagged: bool,
    /// Cache records used within this time stay, with what they need, and so do cache mounts.
    pub keep_duration: Duration,
    /// Count, but remove nothing.
    pub dry_run: bool,
}

impl Default for PruneOptions {
    /// Keeps every image and the cache of the last seven days.
    fn default() -> Self {
        Self {
            all: false,
            untagged: false,
            keep_duration: Duration::from_secs(7 * 24 * 60 * 60),
            dry_run: false,
        }
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
    /// Leftovers of builds that were killed.
    pub leftovers: Removed,
}

/// A number of things and the disk space that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removed {
    /// How many.
    pub count: u64,
    /// Bytes on disk, hard links counted once.
    pub bytes: u64,
}

impl PruneReport {
    /// Everything together.
    pub fn total(&self) -> Removed {
        let Self { images, cache_records, cache_mounts, layers, snapshots, blobs, leftovers } = *self;
        let add = |sum: Removed, part: Removed| Removed {
            count: sum.count + part.count,
            bytes: sum.bytes + part.bytes,
        };
        [images, cache_records, cache_mounts, layers, snapshots, blobs, leftovers]
            .into_iter()
            .fold(Removed::default(), add)
    }
}

/// What must stay.
#[derive(Default)]
struct Live {
    layers: HashSet<DiffId>,
    chains: HashSet<ChainId>,
    blobs: HashSet<Digest>,
}

impl Store {
    /// Removes what no image and no recent cache record needs, and what killed builds left.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process, or a step of this one, still uses the store after ten
    /// seconds.
    pub fn prune(&self, options: &PruneOptions) -> Result<PruneReport, StoreError> {
        self.prune_within(options, PATIENCE)
    }

    pub(crate) fn prune_within(
        &self,
        options: &PruneOptions,
        patience: Duration,
    ) -> Result<PruneReport, StoreError> {
        self.flush()?;
        if Arc::strong_count(&self.staging) > 1 {
            return Err(StoreError::Busy { path: self.root().to_owned() });
        }
        let alone = self.lock.exclusive(self.root(), patience);
        // Another prune may have come first while this one waited, also in vain.
        self.snapshots.forget();
        lock(&self.layers).clear();
        let _alone = alone?;
        let result = self.prune_alone(options);
        self.snapshots.forget();
        lock(&self.layers).clear();
        result
    }

    fn prune_alone(&self, options: &PruneOptions) -> Result<PruneReport, StoreError> {
        let mut report = PruneReport::default();
        let leftovers = Staging::clear_dead(&self.layout.tmp(), options.dry_run)?;
        report.leftovers = Removed { count: leftovers.count, bytes: leftovers.bytes };
        let mut live = Live::default();
        self.prune_images(options, &mut live, &mut report)?;
        self.prune_cache(options, &mut live, &mut report)?;
        self.prune_cache_mounts(options, &mut report)?;
        // Records first: what is named is whole at any moment.
        let parse = |name: &str| Digest::from_hex(name).ok();
        let (layers, snapshots, blobs) = (self.layout.layers(), self.layout.snapshots(), self.layout.blobs());
        self.sweep(options, &layers, &mut report.layers, |name| {
            parse(name).is_some_and(|digest| live.layers.contains(&DiffId(digest)))
        })?;
        self.sweep(options, &snapshots, &mut report.snapshots, |name| {
            parse(name).is_some_and(|digest| live.chains.contains(&ChainId(digest)))
        })?;
        self.sweep(options, &blobs, &mut report.blobs, |name| {
            parse(name).is_some_and(|digest| live.blobs.contains(&digest))
        })?;
        Ok(report)
    }

    fn prune_images(
        &self,
        options: &PruneOptions,
        live: &mut Live,
        report: &mut PruneReport,
    ) -> Result<(), StoreError> {
        let mounted = self.mounted_images()?;
        for (image, names) in self.images()? {
            if options.untagged && names.is_empty() && !mounted.contains(&image.id) {
                self.discard(options, &self.layout.image(&image.id), &mut report.images)?;
            } else {
                self.keep_image(&image, live)?;
            }
        }
        Ok(())
    }

    fn keep_image(&self, image: &ImageRecord, live: &mut Live) -> Result<(), StoreError> {
        live.blobs.extend(image.manifest);
        self.keep_stack(&image.layers, live)
    }

    /// Keeps what a stack of layers is made of, and where a layer's tar is reproduced from.
    fn keep_stack(&self, layers: &[DiffId], live: &mut Live) -> Result<(), StoreError> {
        live.chains.extend(self.snapshots.chains(layers));
        for diff_id in layers {
            if live.layers.insert(*diff_id)
                && let Some(layer) = self.layer(diff_id)?
            {
                live.chains.extend(layer.snapshot);
                live.blobs.extend(layer.blob.map(|blob| blob.digest));
            }
        }
        Ok(())
    }

    fn prune_cache(
        &self,
        options: &PruneOptions,
        live: &mut Live,
        report: &mut PruneReport,
    ) -> Result<(), StoreError> {
        let cache = self.layout.cache();
        for shard in file_names(&cache)? {
            let shard = cache.join(shard);
            for name in file_names(&shard)? {
                let path = shard.join(name);
                let is_kept = !options.all && is_younger(&path, options.keep_duration);
                let record = record::read_intact(&path)?.and_then(|body| CacheRecord::decode(&body));
                match record.filter(|_| is_kept) {
                    Some(record) => self.keep_stack(&record.layers, live)?,
                    None => self.discard(options, &path, &mut report.cache_records)?,
                }
            }
        }
        Ok(())
    }

    fn prune_cache_mounts(&self, options: &PruneOptions, report: &mut PruneReport) -> Result<(), StoreError> {
        let directory = self.layout.cache_mounts();
        if !directory.exists() {
            return Ok(());
        }
        for name in file_names(&directory)? {
            let path = directory.join(name);
            if options.all || !is_younger(&path.join(ID_FILE), options.keep_duration) {
                self.discard(options, &path, &mut report.cache_mounts)?;
            }
        }
        Ok(())
    }

    fn sweep(
        &self,
        options: &PruneOptions,
        directory: &Path,
        removed: &mut Removed,
        is_live: impl Fn(&str) -> bool,
    ) -> Result<(), StoreError> {
        for name in file_names(directory)? {
            if !is_live(&name) {
                self.discard(options, &directory.join(name), removed)?;
            }
        }
        Ok(())
    }

    /// Removes a file or a tree. It loses its name first, so that no half of it bears it.
    fn discard(&self, options: &PruneOptions, path: &Path, removed: &mut Removed) -> Result<(), StoreError> {
        removed.count += 1;
        removed.bytes += usage::of(path).bytes;
        if options.dry_run {
            return Ok(());
        }
        let holder = self.staging.directory()?;
        let aside: PathBuf = holder.path().join("removed");
        fs::rename(path, &aside).on("remove", path)?;
        usage::remove_tree(&aside)
    }
}

fn is_younger(path: &Path, age: Duration) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    // A time in the future, by a clock that was set back, counts as now.
    let passed = |time| SystemTime::now().duration_since(time).unwrap_or_default();
    modified.is_ok_and(|time| passed(time) < age)
}
