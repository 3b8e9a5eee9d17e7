//! A build's view of the shared caches: where it looks records up, where it writes them.

use std::collections::HashSet;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use lbuild_oci::{DiffId, Digest, lock};

use crate::claim::Claims;
use crate::document::{Found, read_record};
use crate::image::Unusable;
use crate::writer::Queue;
use crate::{CacheError, CarryingImage, Claim, Claimed, Namespace, Storage};

/// A cache that fails so often is not asked again.
const MAX_FAILURES: usize = 3;

/// Where records are looked up: `--cache-from`.
#[derive(Debug, Clone)]
pub struct Source {
    /// What people call it.
    pub name: String,
    /// What it is.
    pub place: SourcePlace,
}

/// What records are looked up in.
#[derive(Debug, Clone)]
pub enum SourcePlace {
    /// A part of a cache.
    Cache {
        /// Where that is.
        storage: Arc<dyn Storage>,
        /// Which part.
        namespace: Namespace,
    },
    /// An image, with the records that it carries itself.
    Image {
        /// The image.
        image: Arc<CarryingImage>,
        /// Whether somebody expects that there are some.
        is_expected: bool,
    },
}

/// Where records are written: `--cache-to`.
#[derive(Debug, Clone)]
pub struct Target {
    /// What people call it.
    pub name: String,
    /// Where it is.
    pub storage: Arc<dyn Storage>,
    /// Which part of it.
    pub namespace: Namespace,
    /// Whether only the steps of the resulting image are written (`mode=min`).
    pub is_min: bool,
    /// Whether a build succeeds whose records could not be written (`ignore-error`).
    pub ignores_errors: bool,
    /// Whether a step is claimed before it runs, so that other machines wait for it.
    pub claims: bool,
}

/// The shared caches of a build.
#[derive(Debug)]
pub struct SharedCache {
    sources: Vec<AskedSource>,
    pub(crate) targets: Vec<Target>,
    pub(crate) queue: Queue,
    pub(crate) claims: Claims,
    warnings: Mutex<Vec<String>>,
    lost: Mutex<HashSet<DiffId>>,
    /// Records that are to be replaced.
    outdated: Mutex<HashSet<Digest>>,
    /// Records that were found, but for those that images carry.
    found: Mutex<HashSet<Digest>>,
}

#[derive(Debug)]
struct AskedSource {
    source: Source,
    failures: AtomicUsize,
    is_damaged: AtomicBool,
}

impl SharedCache {
    /// Looks up in `sources`, the first that has a record, and writes to all `targets`.
    pub fn new(sources: Vec<Source>, targets: Vec<Target>) -> Self {
        let asked = |source| AskedSource {
            source,
            failures: AtomicUsize::new(0),
            is_damaged: AtomicBool::new(false),
        };
        Self {
            sources: sources.into_iter().map(asked).collect(),
            queue: Queue::new(targets.len()),
            targets,
            claims: Claims::new(),
            warnings: Mutex::default(),
            lost: Mutex::default(),
            outdated: Mutex::default(),
            found: Mutex::default(),
        }
    }

    /// Whether anything is written.
    pub fn has_targets(&self) -> bool {
        !self.targets.is_empty()
    }

    /// What is recorded under a key. A cache that cannot be read has no records.
    pub fn find(&self, key: &Digest) -> Option<Found> {
        self.sources.iter().find_map(|asked| self.find_in(asked, key))
    }

    /// Whether a record need not be written to `target`: it was found, and who reads `target` as this
    /// build does reads where it was found as well.
    pub(crate) fn is_found_beside(&self, target: &Target, key: &Digest) -> bool {
        lock(&self.found).contains(key)
            && self.sources.iter().any(|asked| match &asked.source.place {
                SourcePlace::Cache { storage, namespace } => {
                    *namespace == target.namespace && storage.source() == target.storage.source()
                }
                SourcePlace::Image { .. } => false,
            })
    }

    /// Says that a record cannot be used, whatever the document around it is.
    pub fn reject(&self, key: &Digest, reason: &str) {
        self.outdate(key);
        self.warn(format!("the shared cache's record {} is not used: {reason}", key.short()));
    }

    /// Says that a layer could not be fetched: records with it are not used any more.
    pub fn lose(&self, layer: DiffId) {
        lock(&self.lost).insert(layer);
    }

    /// Whether a layer could not be fetched.
    pub fn is_lost(&self, layer: &DiffId) -> bool {
        lock(&self.lost).contains(layer)
    }

    /// Says that a record cannot be used any more and is to be replaced.
    pub fn outdate(&self, key: &Digest) {
        lock(&self.outdated).insert(*key);
    }

    /// Whether a record is to be replaced.
    pub(crate) fn is_outdated(&self, key: &Digest) -> bool {
        lock(&self.outdated).contains(key)
    }

    /// Claims a step, so that other machines do not run it meanwhile; `None` where nobody claims steps.
    pub fn claim(&self, key: &Digest) -> Option<Claimed> {
        let (index, target) = self.targets.iter().enumerate().find(|(_, target)| target.claims)?;
        if self.queue.has_failed(index) {
            return None;
        }
        match self.claims.claim(&*target.storage, &target.namespace, key) {
            Ok(claimed) => Some(claimed),
            Err(error) => {
                self.queue.fail(target, index, &error);
                None
            }
        }
    }

    /// Gives up a claim whose step has no record.
    pub fn release(&self, claim: &Claim) {
        if let Some(target) = self.claiming() {
            self.claims.release(&*target.storage, &target.namespace, claim);
        }
    }

    /// What the user should be told since the last time.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.warnings))
    }

    /// The target whose claims count.
    pub(crate) fn claiming(&self) -> Option<&Target> {
        self.targets.iter().find(|target| target.claims)
    }

    fn find_in(&self, asked: &AskedSource, key: &Digest) -> Option<Found> {
        match &asked.source.place {
            SourcePlace::Cache { storage, namespace } => {
                let found = self.find_record(asked, &**storage, namespace, key)?;
                lock(&self.found).insert(*key);
                Some(found)
            }
            SourcePlace::Image { image, is_expected } => {
                let found =
                    image.find(key, |why| self.tell_unusable(&asked.source.name, why, *is_expected))?;
                // Once one of those layers is needed, the others will be.
                Some(found).filter(|found| !found.is_without_blob() || lock(&self.lost).is_empty())
            }
        }
    }

    fn find_record(
        &self,
        asked: &AskedSource,
        storage: &dyn Storage,
        namespace: &Namespace,
        key: &Digest,
    ) -> Option<Found> {
        let AskedSource { source, failures, is_damaged } = asked;
        if failures.load(Ordering::Relaxed) >= MAX_FAILURES {
            return None;
        }
        let bytes = match storage.document(&namespace.record(key)) {
            Ok(bytes) => bytes?,
            Err(error) => {
                if failures.fetch_add(1, Ordering::Relaxed) == 0 {
                    self.warn(format!("the shared cache {} cannot be read: {}", source.name, text(&error)));
                }
                return None;
            }
        };
        match read_record(&bytes, key, &storage.source()) {
            Ok(mut found) => {
                if let Some(layer) = &mut found.layer {
                    layer.origin = storage.origin();
                }
                Some(found)
            }
            Err(reason) => {
                if !is_damaged.swap(true, Ordering::Relaxed) {
                    let name = &source.name;
                    self.warn(format!("a record of the shared cache {name} is not used: {reason}"));
                }
                None
            }
        }
    }

    fn tell_unusable(&self, name: &str, why: Unusable, is_expected: bool) {
        let reason = match why {
            _ if !is_expected => return,
            Unusable::Unread(error) => text(&error),
            Unusable::Wrong(reason) => reason,
        };
        self.warn(format!("the image {name} is not used as a cache: {reason}"));
    }

    fn warn(&self, warning: String) {
        lock(&self.warnings).push(warning);
    }
}

/// An error with its causes, on one line, without the numbers of system errors.
pub(crate) fn text(error: &CacheError) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        let message = error.to_string();
        let message = message.rsplit_once(" (os error ").map_or(&*message, |(message, _)| message);
        text = if text.is_empty() { message.to_owned() } else { format!("{text}: {message}") };
        cause = error.source();
    }
    text
}
