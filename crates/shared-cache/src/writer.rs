//! Records are written while the build runs, by threads that do nothing else.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use lbuild_exporter::{Compression, compress_layer};
use lbuild_layer_store::{Blob, Store};
use lbuild_oci::{DiffId, Digest, lock};

use crate::claim::RENEWAL;
use crate::document::{of_record, read_record};
use crate::shared::text;
use crate::{CacheError, Claim, SharedCache, Target};

/// As an image is pushed: then the same blob serves both.
const COMPRESSION: Compression = Compression::GZIP;

/// A record to be written.
#[derive(Debug)]
pub struct Entry {
    /// The key.
    pub key: Digest,
    /// The record, JSON.
    pub record: String,
    /// The layer, if the step has one.
    pub layer: Option<DiffId>,
    /// Whether the step is one of the resulting image.
    pub is_final: bool,
    /// Whether it takes the place of a record that is there.
    pub replaces: bool,
    /// The claim that ends with it.
    pub claim: Option<Claim>,
}

/// What was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Records that were not there before.
    pub records: usize,
    /// Layers that were uploaded.
    pub layers: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Why records are missing, once for each target.
    pub failures: Vec<String>,
    /// The same of targets whose errors are to be ignored.
    pub ignored: Vec<String>,
}

/// The blob of a layer, once it is written. The lock is held meanwhile, so that it is done once.
type BlobSlot = Mutex<Option<Blob>>;

/// What waits to be written, and what became of the rest.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    written: Mutex<Written>,
    failed: Mutex<HashSet<usize>>,
    /// Blobs of layers, for each target.
    layers: Vec<Mutex<HashMap<DiffId, Arc<BlobSlot>>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    seen: HashSet<Digest>,
    /// Entries that are being written.
    in_work: usize,
    is_closed: bool,
}

impl Queue {
    pub fn new(targets: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            written: Mutex::default(),
            failed: Mutex::default(),
            layers: (0..targets).map(|_| Mutex::default()).collect(),
        }
    }

    /// Notes why a target lacks records, once.
    pub fn fail(&self, target: &Target, index: usize, error: &CacheError) {
        if lock(&self.failed).insert(index) {
            let failure = format!("cannot write the shared cache {}: {}", target.name, text(error));
            let mut written = lock(&self.written);
            if target.ignores_errors { &mut written.ignored } else { &mut written.failures }.push(failure);
        }
    }

    /// Whether a target lacks records, and so gets no more.
    pub fn has_failed(&self, index: usize) -> bool {
        lock(&self.failed).contains(&index)
    }

    /// The next entry; `None` once all are taken and no more come.
    fn next(&self) -> Option<Entry> {
        let mut waiting = lock(&self.waiting);
        loop {
            if let Some(entry) = waiting.entries.pop_front() {
                waiting.in_work += 1;
                return Some(entry);
            }
            if waiting.is_closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl SharedCache {
    /// Has a record written by [`SharedCache::run_writer`], unless it was before.
    pub fn write(&self, entry: Entry) {
        let mut waiting = lock(&self.queue.waiting);
        let is_new = waiting.seen.insert(entry.key) || entry.replaces || self.is_outdated(&entry.key);
        if waiting.is_closed || !is_new {
            drop(waiting);
            entry.claim.iter().for_each(|claim| self.claims.give_up(claim));
            return;
        }
        waiting.entries.push_back(entry);
        self.queue.changed.notify_one();
    }

    /// Writes records until [`SharedCache::close`]; any number of threads may do so.
    pub fn run_writer(&self, store: &Store) {
        while let Some(entry) = self.queue.next() {
            self.write_now(store, &entry);
            lock(&self.queue.waiting).in_work -= 1;
            self.queue.changed.notify_all();
        }
    }

    /// Renews claims until [`SharedCache::close`] and until the last record is written.
    pub fn run_renewals(&self) {
        let Some(target) = self.claiming() else { return };
        let mut renewed = Instant::now();
        loop {
            let waiting = lock(&self.queue.waiting);
            if waiting.is_closed && waiting.entries.is_empty() && waiting.in_work == 0 {
                return;
            }
            // Woken by every record, too.
            drop(self.queue.changed.wait_timeout(waiting, RENEWAL));
            if renewed.elapsed() >= RENEWAL {
                self.claims.renew(&*target.storage, &target.namespace);
                renewed = Instant::now();
            }
        }
    }

    /// Says that no more records come. After an interruption, those that wait are left out too.
    pub fn close(&self, is_interrupted: bool) {
        let mut waiting = lock(&self.queue.waiting);
        waiting.is_closed = true;
        if is_interrupted {
            waiting.entries.clear();
        }
        self.queue.changed.notify_all();
    }

    /// Begins anew after [`SharedCache::close`].
    pub fn reopen(&self) {
        lock(&self.queue.waiting).is_closed = false;
    }

    /// Writes one record at once. Failures are noted.
    pub fn write_now(&self, store: &Store, entry: &Entry) {
        for (index, target) in self.targets.iter().enumerate() {
            if let Err(error) = self.write_to(target, index, store, entry) {
                self.queue.fail(target, index, &error);
            }
        }
        entry.claim.iter().for_each(|claim| self.claims.give_up(claim));
    }

    /// What was written until now.
    pub fn written(&self) -> Written {
        lock(&self.queue.written).clone()
    }

    fn write_to(
        &self,
        target: &Target,
        index: usize,
        store: &Store,
        entry: &Entry,
    ) -> Result<(), CacheError> {
        if target.is_min && !entry.is_final || self.queue.has_failed(index) {
            return Ok(());
        }
        let name = target.namespace.record(&entry.key);
        let is_to_stay = !entry.replaces && !self.is_outdated(&entry.key);
        if is_to_stay && (self.is_found_beside(target, &entry.key) || is_there(target, &name, &entry.key)?) {
            return Ok(());
        }
        let blob = entry.layer.map(|layer| self.put_layer(target, index, store, &layer)).transpose()?;
        target.storage.put_document(&name, &of_record(&entry.key, &entry.record, blob.as_ref()))?;
        lock(&self.queue.written).records += 1;
        Ok(())
    }

    /// Puts a layer's blob, once.
    fn put_layer(
        &self,
        target: &Target,
        index: usize,
        store: &Store,
        diff_id: &DiffId,
    ) -> Result<Blob, CacheError> {
        let slot = Arc::clone(lock(&self.queue.layers[index]).entry(*diff_id).or_default());
        let mut slot = lock(&slot);
        if let Some(blob) = &*slot {
            return Ok(blob.clone());
        }
        let failed = |source| CacheError::Layer { layer: diff_id.0, source: Box::new(source) };
        let layer = store.layer(diff_id).map_err(failed)?;
        let layer = layer.ok_or_else(|| failed(lbuild_layer_store::StoreError::UnknownLayer(*diff_id)))?;
        let blob = match &layer.blob {
            Some(blob) => {
                if !target.storage.has_blob(blob)? && !take_blob(target, store, blob)? {
                    target.storage.put_blob(blob, &store.layer_blob(diff_id).map_err(failed)?)?;
                    self.count(blob);
                }
                blob.clone()
            }
            None => {
                let packed = compress_layer(store, &layer, COMPRESSION);
                let (packed, file) = packed.map_err(|error| CacheError::Compress(Box::new(error)))?;
                let blob = Blob { digest: packed.digest, size: packed.size, media_type: packed.media_type };
                // What is there under its digest was found to be something else.
                if self.is_lost(diff_id) || !target.storage.has_blob(&blob)? {
                    target.storage.put_blob(&blob, &file)?;
                    self.count(&blob);
                }
                blob
            }
        };
        *slot = Some(blob.clone());
        Ok(blob)
    }

    fn count(&self, blob: &Blob) {
        let mut written = lock(&self.queue.written);
        written.layers += 1;
        written.bytes += blob.size;
    }
}

/// Takes a blob from where it was seen, if the target can: then nobody downloads it to upload it.
fn take_blob(target: &Target, store: &Store, blob: &Blob) -> Result<bool, CacheError> {
    for origin in store.blob_origins(&blob.digest) {
        if target.storage.take_blob(blob, &origin)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether there is a record that can be read.
fn is_there(target: &Target, name: &str, key: &Digest) -> Result<bool, CacheError> {
    let document = target.storage.document(name)?;
    Ok(document.is_some_and(|bytes| read_record(&bytes, key, "").is_ok()))
}
