//! Collects what is remembered of the build that is going on, and what earlier builds say about it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufWriter, Write};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use lbuild_layer_store::{BuildName, CacheMiss, LogWriter, Store, StoreError};
use lbuild_oci::{ChainId, DiffId, Digest, json, lock};

use crate::copy::CopyError;
use crate::event::{BuildEvent, PlannedStep, StepId};
use crate::explain::{Comparison, Earlier, FileChanges, ListWriter, ListedFile, Match, Reason, differences};
use crate::key::{Key, Record};
use crate::report::{BuildReport, Fate, StepReport};
use crate::request::BuildRequest;
use crate::state::StageState;
use crate::{BuildError, time};

/// As many earlier builds are looked at to explain a miss.
const LOOKED_AT: usize = 10;

/// Lists the files of a copy, in the order of a walk.
pub(crate) type ListFiles<'a> =
    dyn Fn(&mut dyn FnMut(&ListedFile) -> io::Result<()>) -> Result<(), CopyError> + 'a;

/// What is known of a build so far. Used by all of its threads.
pub(crate) struct Journal<'a> {
    store: &'a Store,
    request: &'a BuildRequest,
    started: String,
    began: Instant,
    steps: Mutex<Vec<StepReport>>,
    earlier: OnceLock<Earlier>,
    name: Mutex<Option<BuildName>>,
    logs: Mutex<BTreeMap<StepId, LogWriter>>,
    /// Why a log is not whole.
    log_error: Mutex<Option<StoreError>>,
}

impl<'a> Journal<'a> {
    /// The build begins.
    pub fn new(store: &'a Store, request: &'a BuildRequest) -> Self {
        Self {
            store,
            request,
            started: time::now(),
            began: Instant::now(),
            steps: Mutex::default(),
            earlier: OnceLock::new(),
            name: Mutex::default(),
            logs: Mutex::default(),
            log_error: Mutex::default(),
        }
    }

    /// Takes note of an event: of the steps, and of what they print.
    pub fn see(&self, event: &BuildEvent) {
        match event {
            BuildEvent::Planned(steps) | BuildEvent::Added(steps) => {
                lock(&self.steps).extend(steps.iter().map(not_reached));
            }
            BuildEvent::Output(id, _, bytes) => {
                if let Err(error) = self.log(*id, bytes) {
                    // The build goes on without a log.
                    lock(&self.log_error).get_or_insert(error);
                }
            }
            BuildEvent::Finished(id, ..) | BuildEvent::Cancelled(id) => self.end_log(*id),
            BuildEvent::Failed(id) => {
                self.change(*id, |step| step.fate = Fate::Failed);
                self.end_log(*id);
            }
            _ => {}
        }
    }

    /// Takes note of what a stage stands on.
    pub fn base(&self, id: StepId, name: &str, layers: &[DiffId]) {
        self.change(id, |step| {
            if step.fate == Fate::NotReached {
                step.fate = Fate::Cached;
            }
            step.base = Some((name.to_owned(), identity(layers)));
        });
    }

    /// Takes note of what a step sees.
    pub fn sees(&self, id: StepId, key: &Key, shown: &Key, state: &StageState) {
        self.change(id, |step| {
            step.key = Some(key.digest());
            step.files = shown.files();
            step.seen = shown.all();
            step.arguments = state.arguments.iter().map(|(name, _)| name.clone()).collect();
        });
    }

    /// Takes note of a result: one from the cache, or one that was made and perhaps not kept.
    pub fn result(&self, id: StepId, fate: Fate, record: &Record) {
        self.change(id, |step| {
            step.fate = fate;
            if fate == Fate::Cached {
                // Another build may have made it since it was missed.
                step.reasons.clear();
            }
            step.seconds = Some(record.seconds);
            step.layer = record.layer.as_ref().map(|layer| layer.diff_id);
            step.files = step.files.or(record.files);
        });
    }

    /// Keeps the list of a copy's files, to explain later misses.
    pub fn keep_files(&self, shown: &Key, files: &ListFiles<'_>) -> Result<(), BuildError> {
        let Some(id) = shown.files() else { return Ok(()) };
        let kept = self.store.keep_file_list::<ListError>(&id, |out| {
            let mut out = BufWriter::new(out);
            let mut writer = ListWriter::new(&mut out);
            files(&mut |file| writer.write(file)).map_err(|_| ListError::Files)?;
            out.flush().map_err(|_| ListError::Files)
        });
        match kept {
            Err(ListError::Store(error)) => Err(error.into()),
            // A list that cannot be made any more is not missed before a step misses.
            _ => Ok(()),
        }
    }

    /// Why the step `id`, which sees what was noted, misses. `is_allowed` tells whether it may be taken
    /// from the cache at all.
    pub fn explain(&self, id: StepId, is_allowed: bool, files: Option<&ListFiles<'_>>) -> Vec<Reason> {
        let (now, before_now) = {
            let steps = lock(&self.steps);
            let Some(now) = steps.get(id.0).cloned() else { return Vec::new() };
            let same_stage = |step: &&StepReport| step.stage == now.stage && step.number < now.number;
            let before: Vec<_> = steps.iter().filter(same_stage).cloned().collect();
            (now, before)
        };
        let reasons = match is_allowed {
            false => vec![Reason::NoCache],
            true => self.reasons(&now, &before_now, files),
        };
        self.change(id, |step| step.reasons.clone_from(&reasons));
        reasons
    }

    /// Takes note of a step of which nothing can be known before others have run.
    pub fn unknown(&self, id: StepId) {
        self.change(id, |step| step.reasons = vec![Reason::Unknown]);
    }

    /// How long the step would run, going by earlier builds.
    pub fn estimate(&self, id: StepId) -> Option<Duration> {
        let now = lock(&self.steps).get(id.0).cloned()?;
        let seconds = self.earlier().nearest(&now)?.step.seconds?;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The build is over: what is known of it is kept.
    ///
    /// # Errors
    /// The store's, also one that kept a log from being whole.
    pub fn end(&self, image: Option<Digest>, error: Option<&BuildError>) -> Result<(), StoreError> {
        let log_error = lock(&self.log_error).take();
        let steps = std::mem::take(&mut *lock(&self.steps));
        let files = steps.iter().filter_map(|step| step.files).collect::<BTreeSet<_>>();
        let report = BuildReport {
            subject: self.request.subject.clone(),
            target: self.request.target.clone(),
            started: self.started.clone(),
            seconds: self.began.elapsed().as_secs_f64(),
            image,
            error: error.map(ToString::to_string),
            steps,
        };
        let name = self.name(&mut lock(&self.name))?;
        self.store.end_build(&name, &json::canonical(&report), files, self.request.keep_builds)?;
        log_error.map_or(Ok(()), Err)
    }

    fn reasons(
        &self,
        now: &StepReport,
        before_now: &[StepReport],
        files: Option<&ListFiles<'_>>,
    ) -> Vec<Reason> {
        let earlier = self.earlier();
        if earlier.0.is_empty() {
            return vec![Reason::NoEarlierBuild];
        }
        let Some(found) = earlier.nearest(now) else { return vec![Reason::NewStep] };
        if found.step.key.is_some() && found.step.key == now.key {
            return vec![self.lost(found)];
        }
        if found.step.seen.is_empty() {
            // It was not reached, or failed before it was known what it sees.
            return vec![if found.step.fate == Fate::Failed { Reason::Failed } else { Reason::NewStep }];
        }
        let mut reasons = differences(found, now, before_now);
        let same_text = found.step.text == now.text;
        if same_text && found.step.files != now.files {
            let changes = self.file_changes(found.step, files);
            if changes.count != Some(0) && (changes.count.is_some() || reasons.is_empty()) {
                reasons.push(Reason::Files(changes));
            }
        }
        reasons
    }

    /// Why there is no result where the earlier build did the same.
    fn lost(&self, earlier: Match<'_>) -> Reason {
        let miss = earlier.step.key.as_ref().and_then(|key| self.store.cache_miss(key));
        match (earlier.step.fate, miss) {
            (Fate::Failed | Fate::NotReached, _) => Reason::Failed,
            (Fate::NotKept, _) => Reason::NotKept,
            (_, Some(CacheMiss::Damaged)) => Reason::Damaged,
            _ => Reason::Removed,
        }
    }

    fn file_changes(&self, earlier: &StepReport, files: Option<&ListFiles<'_>>) -> FileChanges {
        let compare = || {
            let list = self.store.file_list(&earlier.files?)?;
            let mut comparison = Comparison::new(io::BufReader::new(list)).ok()?;
            files?(&mut |file| comparison.push(file)).ok()?;
            comparison.finish().ok()
        };
        compare().unwrap_or_default()
    }

    fn earlier(&self) -> &Earlier {
        self.earlier.get_or_init(|| {
            let builds = BuildReport::of_subject(self.store, &self.request.subject);
            // What cannot be read explains nothing.
            Earlier(builds.map_or_else(
                |_| Vec::new(),
                |builds| builds.map(|(_, report)| report).take(LOOKED_AT).collect(),
            ))
        })
    }

    fn log(&self, id: StepId, bytes: &[u8]) -> Result<(), StoreError> {
        let mut logs = lock(&self.logs);
        if let Some(log) = logs.get_mut(&id) {
            return log.write(bytes);
        }
        let build = self.name(&mut lock(&self.name))?;
        let mut log = self.store.begin_log(&build, id.0)?;
        log.write(bytes)?;
        logs.insert(id, log);
        Ok(())
    }

    fn end_log(&self, id: StepId) {
        let ended = lock(&self.logs).remove(&id).map(LogWriter::finish);
        if let Some(Err(error)) = ended {
            lock(&self.log_error).get_or_insert(error);
        }
    }

    /// The build's number, which it gets when something is to be kept under it.
    fn name(&self, name: &mut Option<BuildName>) -> Result<BuildName, StoreError> {
        match name {
            Some(name) => Ok(name.clone()),
            None => Ok(name.insert(self.store.begin_build(&self.request.subject.word())?).clone()),
        }
    }

    fn change(&self, id: StepId, change: impl FnOnce(&mut StepReport)) {
        if let Some(step) = lock(&self.steps).get_mut(id.0) {
            change(step);
        }
    }
}

/// Why a list was not written.
enum ListError {
    Store(StoreError),
    /// The files cannot be read any more.
    Files,
}

impl From<StoreError> for ListError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn not_reached(step: &PlannedStep) -> StepReport {
    StepReport {
        stage: step.stage.clone(),
        number: step.number,
        text: step.text.clone(),
        fate: Fate::NotReached,
        reasons: Vec::new(),
        seconds: None,
        base: None,
        key: None,
        seen: BTreeMap::new(),
        arguments: BTreeSet::new(),
        files: None,
        layer: None,
    }
}

/// What identifies a stack of layers.
fn identity(layers: &[DiffId]) -> String {
    ChainId::of(layers).map_or_else(|| "nothing".to_owned(), |chain| chain.to_string())
}
