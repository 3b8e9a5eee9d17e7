//! Shared caches as the steps of a build see them.

use std::collections::BTreeSet;
use std::error::Error;
use std::thread::Scope;
use std::time::Duration;

use lbuild_layer_store::{Layer, Store, StoreError};
use lbuild_oci::DiffId;
use lbuild_shared_cache::{Claim, Claimed, Entry, FoundRecord, SharedCache};

use crate::BuildError;
use crate::event::BuildEvent;
use crate::key::{Key, Record};
use crate::latch::Permit;
use crate::listing::Listings;
use crate::plan::{Base, Plan};
use crate::solve::{Solver, StepPlace};
use crate::state::StageState;

/// Between two looks for a record that another machine is making; it grows from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_millis(800);

/// Threads that write records, compressing their layers.
const WRITERS: usize = 2;

/// What a step may do that is in no cache.
pub(crate) enum Turn<'a> {
    /// Run, with a permit and the claim that keeps other machines from it.
    Run(Permit<'a>, HeldClaim<'a>),
    /// Another machine ran it meanwhile.
    Found(Record),
}

/// A claim, if there is one; released if the step leaves no record.
pub(crate) struct HeldClaim<'a> {
    cache: Option<&'a SharedCache>,
    claim: Option<Claim>,
}

/// Says that no more records come, also where a stage panicked.
struct Closing<'a, 'b> {
    solver: &'a Solver<'b>,
    cache: &'a SharedCache,
}

impl Drop for Closing<'_, '_> {
    fn drop(&mut self) {
        self.cache.close(self.solver.is_interrupted());
    }
}

/// Says that no more layers are listed, also where a stage panicked.
struct NoMoreListings<'a>(&'a Listings);

impl Drop for NoMoreListings<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for HeldClaim<'_> {
    fn drop(&mut self) {
        if let (Some(cache), Some(claim)) = (self.cache, &self.claim) {
            cache.release(claim);
        }
    }
}

impl HeldClaim<'_> {
    /// The claim, to end with the record that is written.
    pub fn take(mut self) -> Option<Claim> {
        self.claim.take()
    }
}

/// The record of `key` that another machine made on top of `below`; from now on it is in `store` too.
///
/// Neither what is found nor where it comes from is trusted: it must be the record of this very key, and
/// its layer is checked against its digest when it is fetched.
pub(crate) fn find(
    store: &Store,
    cache: &SharedCache,
    key: &Key,
    below: &[DiffId],
) -> Result<Option<Record>, StoreError> {
    let digest = key.digest();
    let Some(found) = cache.find(&digest) else { return Ok(None) };
    let record = match found.record {
        FoundRecord::Carried(step) => Record::of_carried(key, step),
        FoundRecord::Whole(bytes) => {
            let record = Record::from_bytes(&bytes).filter(|record| record.key.digest() == digest);
            let Some(record) = record else {
                cache.reject(&digest, "it is the record of another step");
                return Ok(None);
            };
            if record.layer.is_some() != found.layer.is_some() {
                cache.reject(&digest, "it does not say where its layer is");
                return Ok(None);
            }
            record
        }
    };
    let mut layers = below.to_vec();
    match (&record.layer, found.layer) {
        (None, _) => {}
        (Some(layer), _) if cache.is_lost(&layer.diff_id) => {
            cache.outdate(&digest);
            return Ok(None);
        }
        (Some(layer), Some(shared)) => {
            let digest = shared.blob.digest;
            let mut elsewhere = Layer::elsewhere(layer.diff_id, shared.blob, shared.source);
            (elsewhere.size, elsewhere.entries) = (layer.size, layer.entries);
            store.add_layer(&elsewhere)?;
            if let Some(origin) = shared.origin {
                store.add_blob_origin(&digest, &origin, &layer.diff_id);
            }
            layers.push(layer.diff_id);
        }
        // A layer of a stage whose files the image has copies of. If it is needed after all, it is made.
        (Some(_), None) => return Ok(Some(record)),
    }
    store.cache_put_from_elsewhere(&digest, record.to_bytes(), &layers);
    Ok(Some(record))
}

/// An image must know where its layers are, also where a record that was found did not.
///
/// # Errors
/// [`StoreError::UnknownLayer`].
pub(crate) fn check_layers(store: &Store, layers: &[DiffId]) -> Result<(), StoreError> {
    for layer in layers {
        store.layer(layer)?.ok_or(StoreError::UnknownLayer(*layer))?;
    }
    Ok(())
}

/// Reads the layers of a stage's own steps that nobody has read yet, and checks that they are those that the
/// records name.
///
/// # Errors
/// [`StoreError::Lost`] for one that is not.
pub(crate) fn verify_layers(store: &Store, state: &StageState) -> Result<(), StoreError> {
    let layers: Vec<DiffId> =
        state.steps.iter().filter_map(|step| Some(step.layer.as_ref()?.diff_id)).collect();
    store.fetch_layers(&layers)
}

/// A record as shared caches take it.
pub(crate) fn entry(record: &Record, is_final: bool, replaces: bool, claim: Option<Claim>) -> Entry {
    Entry {
        key: record.key.digest(),
        record: String::from_utf8_lossy(&record.to_bytes()).into_owned(),
        layer: record.layer.as_ref().map(|layer| layer.diff_id),
        is_final,
        replaces,
        claim,
    }
}

/// The layer that a build failed for, since it was not to be had from where it should be, or since
/// another thread has found that out and the store knows it no more.
pub(crate) fn lost_layer(error: &BuildError) -> Option<DiffId> {
    causes(error).find_map(|cause| match cause {
        StoreError::Lost { diff_id, .. } | StoreError::UnknownLayer(diff_id) => Some(*diff_id),
        _ => None,
    })
}

/// Whether a step failed since it needs the content of a layer that was not fetched.
pub(crate) fn is_hollow(error: &BuildError) -> bool {
    causes(error).any(|cause| matches!(cause, StoreError::Hollow { .. }))
}

/// Whether a build failed for a layer that the store does not know.
pub(crate) fn is_unknown(error: &BuildError) -> bool {
    causes(error).any(|cause| matches!(cause, StoreError::UnknownLayer(_)))
}

/// What the store said, wherever in `error` it is.
fn causes(error: &BuildError) -> impl Iterator<Item = &StoreError> {
    let first: Option<&(dyn Error + 'static)> = match error {
        BuildError::Store(error) => Some(error),
        BuildError::Step { source, .. } => source.as_deref().map(|error| error as _),
        other => other.source(),
    };
    std::iter::successors(first, |&cause| cause.source()).filter_map(|cause| cause.downcast_ref())
}

/// The stages whose steps are in the resulting image.
pub(crate) fn final_stages(plan: &Plan) -> BTreeSet<usize> {
    let mut stages = BTreeSet::new();
    let mut stage = plan.target;
    while stages.insert(stage) {
        match plan.stages[stage].base {
            Base::Stage(parent) => stage = parent,
            _ => break,
        }
    }
    stages
}

impl Solver<'_> {
    /// The record of another machine.
    pub fn look_up_elsewhere(&self, key: &Key, below: &[DiffId]) -> Option<Record> {
        let cache = self.build.request.shared_cache.as_deref()?;
        let found = find(self.build.store, cache, key, below);
        self.tell(cache);
        // A record that cannot be kept is as good as none.
        found.ok().flatten()
    }

    /// Has a record written to the shared caches.
    pub fn share(&self, stage: usize, record: &Record, claim: HeldClaim<'_>) {
        if let Some(cache) = self.written_cache() {
            let layer = record.layer.as_ref().map(|layer| self.build.store.layer(&layer.diff_id));
            if let Some(Ok(None)) = layer {
                // An image carries the result, and not the layer: there is nothing to share.
                return;
            }
            let is_final = self.final_stages.contains(&stage);
            cache.write(entry(record, is_final, !self.may_use_cache(stage), claim.take()));
        }
    }

    /// The shared caches, if anything is written to them.
    fn written_cache(&self) -> Option<&SharedCache> {
        let cache = self.build.request.shared_cache.as_deref().filter(|cache| cache.has_targets());
        cache.filter(|_| !self.build.is_forecast)
    }

    /// A claim that nobody made.
    pub fn no_claim(&self) -> HeldClaim<'static> {
        HeldClaim { cache: None, claim: None }
    }

    /// Waits until the step may run here, or another machine has run it.
    pub fn turn(&self, place: StepPlace, key: &Key, below: &[DiffId]) -> Result<Turn<'_>, BuildError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let permit = self.permits.take();
            if self.build.cancel.is_cancelled() {
                return Err(BuildError::Interrupted);
            }
            let cache =
                self.build.request.shared_cache.as_deref().filter(|_| self.may_use_cache(place.stage));
            let claimed = cache.and_then(|cache| cache.claim(&key.digest()));
            match claimed {
                None => return Ok(Turn::Run(permit, self.no_claim())),
                Some(Claimed::Here(claim)) => {
                    let claim = HeldClaim { cache, claim: Some(claim) };
                    // It may have been written between the last look and the claim.
                    return Ok(match self.look_up_elsewhere(key, below) {
                        Some(record) => Turn::Found(record),
                        None => Turn::Run(permit, claim),
                    });
                }
                Some(Claimed::Elsewhere) => drop(permit),
            }
            self.emit(BuildEvent::Status(place.id, "another machine runs this step".to_owned()));
            std::thread::sleep(pause);
            pause = (pause * 2).min(LAST_PAUSE);
            if let Some(record) = self.look_up_elsewhere(key, below) {
                return Ok(Turn::Found(record));
            }
        }
    }

    /// Writes to the shared caches while `work` is done, and until all is written.
    pub fn write_shared<'scope, R>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> R,
    ) -> R {
        let Some(cache) = self.written_cache() else { return work() };
        let _ending = Closing { solver: self, cache };
        for _ in 0..WRITERS {
            scope.spawn(|| cache.run_writer(self.build.store));
        }
        scope.spawn(|| cache.run_renewals());
        std::thread::scope(|inner| {
            inner.spawn(|| self.run_listings());
            let _ending = NoMoreListings(&self.listings);
            work()
        })
    }

    /// Whether listings are of use to anybody.
    pub fn shares_listings(&self) -> bool {
        self.written_cache().is_some()
    }

    /// Has the listing of a layer written to the shared caches.
    pub fn share_listing(&self, record: &Record) {
        if let Some(cache) = self.written_cache() {
            cache.write(entry(record, true, false, None));
        }
    }

    /// Tells what is wrong with a shared cache.
    fn tell(&self, cache: &SharedCache) {
        for warning in cache.take_warnings() {
            self.emit(BuildEvent::Note(warning));
        }
    }
}
