//! Removes what nothing needs any more.

use std::time::Duration;

/// What [`Store::prune`](crate::Store::prune) removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneOptions {
    /// Cache records too, however recently they were used.
    pub all: bool,
    /// Images without a name too.
    pub untagged: bool,
    /// Cache records used within this time stay, with what they need.
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Images without a name.
    pub images: Removed,
    /// Cache records.
    pub cache_records: Removed,
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
        [self.images, self.cache_records, self.layers, self.snapshots, self.blobs, self.leftovers]
            .into_iter()
            .fold(Removed::default(), |sum, part| Removed {
                count: sum.count + part.count,
                bytes: sum.bytes + part.bytes,
            })
    }
}
