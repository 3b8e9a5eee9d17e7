//! A step's result: taken from the cache, or made and recorded.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Instant;

use lbuild_layer_store::{CommitOptions, StepLock};
use lbuild_oci::{DiffId, Digest};
use lbuild_shared_cache::InlineStep;

use super::{Build, Executed, Solver, StepPlace};
use crate::event::{BuildEvent, StepId};
use crate::explain::Reason;
use crate::journal::ListFiles;
use crate::key::{Key, Record, RecordedLayer};
use crate::problem::Problem;
use crate::report::Fate;
use crate::request::CacheUse;
use crate::shared::Turn;
use crate::state::StageState;
use crate::{BuildError, time};

/// A step whose result is looked up, or made.
pub(crate) struct Step<'s> {
    /// Where it is.
    pub place: StepPlace,
    /// All that it sees.
    pub key: Key,
    /// What people are told that it sees, if that is not its key.
    pub shown: Option<Key>,
    /// Its entry in the image's history.
    pub history: String,
    /// The files that it copies.
    pub files: Option<&'s ListFiles<'s>>,
    /// The keys that its result is found by in an image, if they are others than its own.
    pub found_by: Vec<Digest>,
}

/// A step's result, and whether it is kept under the step's key.
struct Made {
    record: Record,
    is_kept: bool,
}

impl From<Record> for Made {
    fn from(record: Record) -> Self {
        Self { record, is_kept: true }
    }
}

impl Step<'_> {
    fn shown(&self) -> &Key {
        self.shown.as_ref().unwrap_or(&self.key)
    }

    /// The result as an image carries it.
    fn carried(&self, record: &Record) -> InlineStep {
        match &self.found_by[..] {
            [] => record.carried(vec![self.key.digest()]),
            keys => record.carried(keys.to_vec()),
        }
    }
}

impl Solver<'_> {
    /// The recorded result of `key` on top of `below`, if the stage may use it.
    pub fn look_up(&self, stage: usize, key: &Key, below: &[DiffId]) -> Option<Record> {
        if !self.may_use_cache(stage) {
            return None;
        }
        self.look_up_here(stage, key).or_else(|| {
            let record = self.look_up_elsewhere(key, below)?;
            self.share(stage, &record, self.no_claim());
            Some(record)
        })
    }

    fn look_up_here(&self, stage: usize, key: &Key) -> Option<Record> {
        let found = self.build.store.cache_get(&key.digest());
        crate::tell_damage(self.build.store, self.build.events);
        let record = Record::from_bytes(&found?)?;
        self.share(stage, &record, self.no_claim());
        Some(record)
    }

    /// Whether a stage's steps may come from a cache.
    pub fn may_use_cache(&self, stage: usize) -> bool {
        match &self.build.request.cache {
            CacheUse::All | CacheUse::Only => true,
            CacheUse::None => false,
            CacheUse::Except(stages) => {
                let planned = &self.build.plan.stages[stage];
                !stages.iter().any(|name| {
                    planned.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(name))
                        || planned.label == *name
                })
            }
        }
    }

    /// Takes a step's result from the cache, or makes it and records it; adds it to the stage.
    ///
    /// `execute` gives the tree in which the step has done its work.
    ///
    /// # Errors
    /// What `execute` says, or the store.
    pub fn step<E: Into<Executed>>(
        &self,
        state: &mut StageState,
        step: Step<'_>,
        execute: impl FnOnce(&StageState) -> Result<E, BuildError>,
    ) -> Result<(), BuildError> {
        let below = state.layers.clone();
        self.step_on(&below, state, step, execute)
    }

    /// A [`Solver::step`] whose layer depends on `below` alone, and not on the whole stage.
    ///
    /// # Errors
    /// As [`Solver::step`].
    pub fn step_on<E: Into<Executed>>(
        &self,
        below: &[DiffId],
        state: &mut StageState,
        step: Step<'_>,
        execute: impl FnOnce(&StageState) -> Result<E, BuildError>,
    ) -> Result<(), BuildError> {
        self.start(step.place.id);
        self.build.journal.sees(step.place.id, &step.key, step.shown(), state);
        let Some(Made { record, is_kept }) = self.result(below, state, &step, execute)? else {
            state.is_unknown = true;
            return Ok(());
        };
        if is_kept {
            state.steps.push(step.carried(&record));
        }
        let layer = record.layer.as_ref().map(|layer| layer.diff_id);
        self.tell_layers(step.place.stage, layer.as_slice());
        state.record(step.history, Some(record.created), layer);
        Ok(())
    }

    /// Adds a result recorded under `key` to the stage.
    pub fn step_recorded(&self, state: &mut StageState, step: Step<'_>, record: Record) {
        let id = step.place.id;
        self.start(id);
        self.build.journal.sees(id, &step.key, step.shown(), state);
        self.tell_cached(id, &record);
        state.steps.push(step.carried(&record));
        let layer = record.layer.map(|layer| layer.diff_id);
        self.tell_layers(step.place.stage, layer.as_slice());
        state.record(step.history, Some(record.created), layer);
    }

    /// Tells of layers that a stage has, if they will be in the image.
    pub fn tell_layers(&self, stage: usize, layers: &[DiffId]) {
        if self.final_stages.contains(&stage) {
            layers.iter().for_each(|layer| self.emit(BuildEvent::Layer(*layer)));
        }
    }

    /// In a forecast: tells of a step that would run.
    pub fn would_run(&self, id: StepId, reasons: Vec<Reason>) {
        self.start(id);
        if reasons.contains(&Reason::Unknown) {
            self.build.journal.unknown(id);
        }
        self.emit(BuildEvent::Explained(id, reasons));
        self.emit(BuildEvent::WouldRun(id, self.build.journal.estimate(id)));
    }

    /// `None` in a forecast, if the step would run.
    fn result<E: Into<Executed>>(
        &self,
        below: &[DiffId],
        state: &StageState,
        step: &Step<'_>,
        execute: impl FnOnce(&StageState) -> Result<E, BuildError>,
    ) -> Result<Option<Made>, BuildError> {
        let (place, id) = (step.place, step.place.id);
        let same = self.in_work(step.key.digest());
        // Two stages with the same step wait for one result instead of making it twice.
        let _working = same.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(record) = self.recorded(place, &step.key, below) {
            return Ok(Some(record.into()));
        }
        let reasons = self.build.journal.explain(id, self.may_use_cache(place.stage), step.files);
        if self.build.is_forecast {
            self.would_run(id, reasons);
            return Ok(None);
        }
        if self.build.request.cache == CacheUse::Only {
            let text = self.step_text(place);
            let reason = reasons.first().map(ToString::to_string);
            return Err(BuildError::Frozen { span: place.span, text, reason });
        }
        let lock = self.lock_step(place, &step.key)?;
        // Another build may have made it meanwhile.
        if let Some(record) = lock.as_ref().and_then(|_| self.look_up_here(place.stage, &step.key)) {
            self.tell_cached(id, &record);
            return Ok(Some(record.into()));
        }
        let (_permit, claim) = match self.turn(place, &step.key, below)? {
            Turn::Run(permit, claim) => (permit, claim),
            Turn::Found(record) => {
                self.tell_cached(id, &record);
                return Ok(Some(record.into()));
            }
        };
        self.emit(BuildEvent::Explained(id, reasons));
        let began = Instant::now();
        let Executed { active, is_recordable } = self.timed(place.id, "work", || execute(state))?.into();
        let options = CommitOptions { latest_mtime: self.build.request.source_date_epoch };
        let Build { store, cancel, .. } = self.build;
        let cancelled = || cancel.is_cancelled();
        let layer = self.timed(place.id, "commit", || store.commit_unless(&cancelled, active, &options));
        let layer = layer.map_err(|error| Problem::from(error).at(place.span))?;
        let layer = layer.map(|layer| RecordedLayer {
            diff_id: layer.diff_id,
            size: layer.size,
            entries: layer.entries,
        });
        let took = began.elapsed();
        let created = self.epoch_text().unwrap_or_else(time::now);
        let (key, files) = (step.key.clone(), step.shown().files());
        let record = Record { key, layer, created, seconds: took.as_secs_f64(), files };
        if is_recordable {
            self.keep(below, &record, lock);
            self.share(place.stage, &record, claim);
            if let Some(files) = step.files {
                self.build.journal.keep_files(step.shown(), files)?;
            }
        }
        self.executed.fetch_add(1, Ordering::Relaxed);
        self.build.journal.result(id, if is_recordable { Fate::Ran } else { Fate::NotKept }, &record);
        self.emit(BuildEvent::Finished(id, record.summary(), took));
        Ok(Some(Made { record, is_kept: is_recordable }))
    }

    fn tell_cached(&self, id: StepId, record: &Record) {
        self.cached.fetch_add(1, Ordering::Relaxed);
        self.build.journal.result(id, Fate::Cached, record);
        self.emit(BuildEvent::Cached(id, record.summary()));
    }

    /// The recorded result of a step, which then is done.
    fn recorded(&self, place: StepPlace, key: &Key, below: &[DiffId]) -> Option<Record> {
        let record = self.look_up(place.stage, key, below)?;
        self.tell_cached(place.id, &record);
        Some(record)
    }

    /// Keeps other builds from making the same step; waits for one that does. `None` if the stage does
    /// not use the cache.
    fn lock_step(&self, place: StepPlace, key: &Key) -> Result<Option<StepLock>, BuildError> {
        if !self.may_use_cache(place.stage) {
            return Ok(None);
        }
        let Build { store, cancel, .. } = self.build;
        let waiting = || self.emit(BuildEvent::Status(place.id, "waiting for another build".to_owned()));
        let lock = store.lock_step(&key.digest(), &|| cancel.is_cancelled(), &waiting);
        let lock = lock.map_err(|error| Problem::from(error).at(place.span))?;
        lock.map(Some).ok_or(BuildError::Interrupted)
    }

    /// Records a result under its key; `lock` is the key's.
    fn keep(&self, below: &[DiffId], record: &Record, lock: Option<StepLock>) {
        let mut layers = below.to_vec();
        layers.extend(record.layer.as_ref().map(|layer| layer.diff_id));
        self.build.store.cache_put(&record.key.digest(), record.to_bytes(), &layers);
        self.finished.step(lock);
    }

    /// Records the result of `key` under another key as well.
    pub fn alias(&self, stage: usize, key: &Key, alias: Key, below: &[DiffId]) {
        let recorded = self.build.store.cache_get(&key.digest());
        if let Some(record) = recorded.as_deref().and_then(Record::from_bytes) {
            let record = Record { key: alias, ..record };
            self.keep(below, &record, None);
            self.share(stage, &record, self.no_claim());
        }
    }
}
