//! Builds the needed stages, independent ones side by side.

mod result;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lbuild_layer_store::{ActiveSnapshot, StepLock, Store, StoreError};
use lbuild_oci::{Digest, ImageConfig, Platform};
use lbuild_parser::{Dockerfile, Instruction, Span};
use lbuild_runner::Cancel;
use lbuild_shared_cache::InlineStep;

use crate::base::{Images, stage_platform};
use crate::context::Contexts;
use crate::durable::Finished;
use crate::environment::Environment;
use crate::event::{self, BuildEvent, PlannedStep, StepId};
use crate::explain::Reason;
use crate::journal::Journal;
use crate::latch::{Latch, Permits};
use crate::listing::Listings;
use crate::metadata::{self, Scope};
use crate::plan::{Base, Origin, Plan, Task};
use crate::problem::Problem;
use crate::request::{BuildRequest, CacheUse, NamedContext};
use crate::shared;
use crate::state::StageState;
use crate::step::run::FailedStep;
use crate::step::stubs::DefaultStubs;
use crate::{BuildError, time};

/// A step's work.
pub(crate) struct Executed {
    /// The tree in which it was done.
    pub active: ActiveSnapshot,
    /// Whether the result is what the key says, and may be taken in its place from now on.
    pub is_recordable: bool,
}

impl From<ActiveSnapshot> for Executed {
    fn from(active: ActiveSnapshot) -> Self {
        Self { active, is_recordable: true }
    }
}

/// A finished stage, or that it failed.
type StageResult = Option<Arc<StageState>>;

/// One build's threads and what they share.
pub(crate) struct Solver<'a> {
    /// What is built.
    pub build: Build<'a>,
    pub stubs: DefaultStubs,
    steps: BTreeMap<(usize, usize), StepId>,
    results: Vec<Latch<StageResult>>,
    pub permits: Permits,
    in_work: Mutex<HashMap<Digest, Arc<Mutex<()>>>>,
    started: Mutex<BTreeSet<StepId>>,
    failure: Mutex<Option<BuildError>>,
    finished: Finished,
    pub listings: Listings,
    executed: AtomicUsize,
    cached: AtomicUsize,
    /// Stages whose steps are in the resulting image.
    pub final_stages: BTreeSet<usize>,
}

/// What a build is made of.
#[derive(Clone, Copy)]
pub(crate) struct Build<'a> {
    pub store: &'a Store,
    pub request: &'a BuildRequest,
    pub dockerfile: &'a Dockerfile,
    pub plan: &'a Plan,
    pub globals: &'a Environment,
    pub images: &'a Images,
    pub events: &'a (dyn Fn(BuildEvent) + Sync),
    pub cancel: &'a Cancel,
    pub contexts: &'a Contexts<'a>,
    pub journal: &'a Journal<'a>,
    /// Whether it is only found out what would run.
    pub is_forecast: bool,
    /// Where a RUN that fails is left for whoever wants to look into it.
    pub failed: Option<&'a Mutex<Option<FailedStep>>>,
}

/// The target stage, and how many steps ran and were cached.
pub(crate) struct Solved {
    pub state: StageState,
    /// The steps of the stages that the target is not made of, as an image carries them.
    pub other_steps: Vec<InlineStep>,
    pub executed: usize,
    pub cached: usize,
}

pub(crate) use result::Step;

/// A step on its way: where it is shown, and where it stands.
#[derive(Clone, Copy)]
pub(crate) struct StepPlace {
    pub stage: usize,
    pub id: StepId,
    pub span: Span,
}

impl<'a> Solver<'a> {
    /// Makes everything ready and announces the steps.
    pub fn new(build: Build<'a>) -> Self {
        let Build { store, request, plan, events, .. } = build;
        let (planned, steps) = number_steps(plan);
        events(BuildEvent::Planned(planned));
        if store.works_in_memory() {
            let note = "the store is on an overlay, as in a container without a volume: each step works in \
                        memory and is copied afterwards";
            events(BuildEvent::Note(note.to_owned()));
        }
        if store.copies() {
            let note = "overlays cannot be mounted here: each step works in a copy of its layers";
            events(BuildEvent::Note(note.to_owned()));
        }
        let parallel = match request.parallel {
            0 => std::thread::available_parallelism().map_or(2, |count| count.get().max(2)),
            count => count,
        };
        Self {
            build,
            stubs: DefaultStubs::new(),
            steps,
            results: plan.stages.iter().map(|_| Latch::new()).collect(),
            permits: Permits::new(parallel),
            in_work: Mutex::default(),
            started: Mutex::default(),
            failure: Mutex::default(),
            finished: Finished::new(plan.needed().len()),
            listings: Listings::new(),
            executed: AtomicUsize::new(0),
            cached: AtomicUsize::new(0),
            final_stages: shared::final_stages(plan),
        }
    }

    /// Builds the target.
    ///
    /// # Errors
    /// The first failure of any needed stage.
    pub fn solve(self) -> Result<Solved, BuildError> {
        // If a flush fails, so does the last one.
        let (_, locks) = std::thread::scope(|scope| self.write_shared(scope, || self.solve_stages()));
        self.build.contexts.save_memo();
        // What was finished before a failure is worth keeping too.
        let flushed = event::timed(self.build.events, None, "sync", || self.build.store.flush());
        drop(locks);
        if let Some(failure) = self.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(failure);
        }
        flushed?;
        let state = self.results[self.build.plan.target].wait().ok_or(BuildError::Interrupted)?;
        let other_stages =
            self.build.plan.needed().into_iter().filter(|stage| !self.final_stages.contains(stage));
        let other_stages = other_stages.filter_map(|stage| self.results[stage].wait());
        Ok(Solved {
            other_steps: other_stages.flat_map(|state| state.steps.clone()).collect(),
            state: Arc::unwrap_or_clone(state),
            executed: self.executed.into_inner(),
            cached: self.cached.into_inner(),
        })
    }

    /// Builds all needed stages to their ends, and makes durable what they make; returns how the last flush
    /// ended, and the locks that end with the next one.
    fn solve_stages(&self) -> (Result<(), StoreError>, Vec<StepLock>) {
        std::thread::scope(|scope| {
            for stage in self.build.plan.needed() {
                let work = move || {
                    let ending = Ending { solver: self, stage };
                    let result = self.build_stage(stage);
                    std::mem::forget(ending);
                    self.finish_stage(stage, result);
                };
                if let Err(error) = std::thread::Builder::new().spawn_scoped(scope, work) {
                    let what = format!("cannot start a thread for stage {stage}");
                    self.finish_stage(stage, Err(BuildError::io(what)(error)));
                }
            }
            self.finished.keep(self.build.store)
        })
    }

    /// Whether the user ended the build, rather than a step.
    pub fn is_interrupted(&self) -> bool {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        self.build.cancel.is_cancelled() && matches!(*failure, None | Some(BuildError::Interrupted))
    }

    /// Tells those who wait how the stage ended; the first failure ends the whole build.
    fn finish_stage(&self, stage: usize, result: Result<StageState, BuildError>) {
        let result = match result {
            Ok(state) => Some(Arc::new(state)),
            Err(error) => {
                let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                // What fails first after the user's interruption fails because of it.
                let is_interrupted = failure.is_none() && self.build.cancel.is_cancelled();
                let error = if is_interrupted { BuildError::Interrupted } else { error };
                // A stage that only stopped because another one failed must not hide why.
                let is_lost = shared::lost_layer(&error).is_some();
                if failure.as_ref().is_none_or(|known| matches!(known, BuildError::Interrupted)) {
                    *failure = Some(error);
                }
                // Then the build begins anew, and what the other stages make is of use.
                if !is_lost {
                    self.build.cancel.cancel();
                }
                None
            }
        };
        self.results[stage].set(result);
        self.finished.stage();
    }

    fn build_stage(&self, stage: usize) -> Result<StageState, BuildError> {
        let mut state = self.begin(stage)?;
        for (number, task) in self.build.plan.stages[stage].tasks.iter().enumerate() {
            if self.build.cancel.is_cancelled() {
                return Err(BuildError::Interrupted);
            }
            let span = if task.trigger { self.build.plan.stages[stage].span } else { task.step.span };
            if let Err(error) = self.apply(stage, number, span, &mut state, task) {
                let error = error.within(&task.step, span);
                self.tell_end(stage, number + 1, &error);
                return Err(error);
            }
        }
        Ok(state)
    }

    /// Tells that a step did not come to its end, wherever on its way that was.
    fn tell_end(&self, stage: usize, number: usize, error: &BuildError) {
        let Some(id) = self.steps.get(&(stage, number)).copied() else { return };
        self.start(id);
        self.emit(match error {
            BuildError::Interrupted => BuildEvent::Cancelled(id),
            // The build begins anew without the record that told of a layer which is nowhere.
            error if shared::is_unknown(error) => BuildEvent::Cancelled(id),
            _ => BuildEvent::Failed(id),
        });
    }

    /// Tells that a step begins, once.
    fn start(&self, id: StepId) {
        if self.started.lock().unwrap_or_else(PoisonError::into_inner).insert(id) {
            self.emit(BuildEvent::Started(id));
        }
    }

    /// The state with which a stage begins.
    fn begin(&self, stage: usize) -> Result<StageState, BuildError> {
        let planned = &self.build.plan.stages[stage];
        let platform = stage_platform(self.build.request, planned.platform.as_ref());
        let state = match &planned.base {
            Base::Scratch => StageState::scratch(&platform),
            Base::Stage(parent) => self.stage(*parent)?.child(),
            Base::Image(name) => StageState::new(self.image(name, &platform)?),
            Base::Named(name) => match self.build.request.named_contexts.get(name) {
                Some(NamedContext::Image(image)) => StageState::new(self.image(image, &platform)?),
                _ => self.begin_with_folder(stage, name, &platform)?,
            },
        };
        if !matches!(planned.base, Base::Stage(_)) {
            self.tell_layers(stage, &state.layers);
        }
        if let Some(id) = self.steps.get(&(stage, 0)) {
            self.start(*id);
            let name = match &planned.base {
                Base::Scratch => "scratch",
                Base::Stage(parent) => &self.build.plan.stages[*parent].label,
                Base::Image(name) | Base::Named(name) => name,
            };
            self.build.journal.base(*id, name, &state.layers);
            (self.build.events)(BuildEvent::Cached(*id, None));
        }
        Ok(state)
    }

    /// A stage whose base is a folder given by `--build-context`: its files are the first layer.
    fn begin_with_folder(
        &self,
        stage: usize,
        name: &str,
        platform: &Platform,
    ) -> Result<StageState, BuildError> {
        let place =
            StepPlace { stage, id: self.steps[&(stage, 0)], span: self.build.plan.stages[stage].span };
        let mut state = StageState::scratch(platform);
        crate::step::transfer::copy_whole(self, place, &mut state, &Origin::Named(name.to_owned()))?;
        Ok(state)
    }

    fn apply(
        &self,
        stage: usize,
        number: usize,
        span: Span,
        state: &mut StageState,
        task: &Task,
    ) -> Result<(), BuildError> {
        let place = || StepPlace { stage, id: self.steps[&(stage, number + 1)], span };
        if self.build.is_forecast && touches_files(&task.step.instruction) && self.is_unknown(state, task)? {
            state.is_unknown = true;
            self.would_run(place().id, vec![Reason::Unknown]);
            return Ok(());
        }
        match &task.step.instruction {
            Instruction::Run(run) => crate::step::run::run(self, place(), state, run, &task.origins),
            Instruction::Copy(copy) => {
                crate::step::transfer::copy(self, place(), state, copy, &task.origins[0])
            }
            Instruction::Add(add) => crate::step::transfer::add(self, place(), state, add),
            Instruction::Workdir(path) => crate::step::workdir::workdir(self, place(), state, path),
            other => {
                let text =
                    metadata::apply(state, other, &self.scope()).map_err(|problem| problem.at(span))?;
                if let Some(text) = text {
                    state.record(text, self.epoch_text(), None);
                }
                Ok(())
            }
        }
    }

    /// In a forecast: whether what a step stands on or copies from depends on steps that would run.
    fn is_unknown(&self, state: &StageState, task: &Task) -> Result<bool, BuildError> {
        let mut is_unknown = state.is_unknown;
        for origin in &task.origins {
            if let Origin::Stage(index) = origin {
                is_unknown |= self.stage(*index)?.is_unknown;
            }
        }
        Ok(is_unknown)
    }

    /// What metadata instructions need.
    pub fn scope(&self) -> Scope<'_> {
        Scope {
            escape: self.build.dockerfile.directives.escape,
            build_args: &self.build.request.build_args,
            globals: self.build.globals,
        }
    }

    /// A word of the Dockerfile, expanded.
    pub fn expand(&self, state: &StageState, word: &str) -> Result<String, Problem> {
        Ok(state.expand(self.build.dockerfile.directives.escape, word)?.text)
    }

    /// A finished stage, as soon as it is finished.
    ///
    /// # Errors
    /// [`BuildError::Interrupted`] if it failed: its own thread tells why.
    pub fn stage(&self, index: usize) -> Result<Arc<StageState>, BuildError> {
        self.results[index].wait().ok_or(BuildError::Interrupted)
    }

    /// The configuration of an image that the plan names.
    pub fn image(&self, name: &str, platform: &Platform) -> Result<ImageConfig, BuildError> {
        let image = self.build.images.get(&(name.to_owned(), platform.clone()));
        image.cloned().ok_or_else(|| BuildError::NoSuchImage { name: name.to_owned(), span: None })
    }

    /// `SOURCE_DATE_EPOCH` as the history shows it.
    pub fn epoch_text(&self) -> Option<String> {
        self.build.request.source_date_epoch.map(time::rfc3339)
    }

    /// Tells of files that changed while they were copied; whether there were none, so that the step
    /// may be kept under its key.
    pub fn note_changed<'p>(&self, changed: impl Iterator<Item = &'p Path>) -> bool {
        let mut is_recordable = true;
        for path in changed {
            is_recordable = false;
            let path = path.display();
            let note = format!("{path} changed while it was copied; this step is not kept in the cache");
            self.emit(BuildEvent::Note(note));
        }
        is_recordable
    }

    /// Does a part of a step's work and tells how long it took.
    pub fn timed<T>(&self, id: StepId, phase: &'static str, work: impl FnOnce() -> T) -> T {
        event::timed(self.build.events, Some(id), phase, work)
    }

    /// Sends an event.
    pub fn emit(&self, event: BuildEvent) {
        (self.build.events)(event);
    }

    /// Whether nothing may be done but what finds out which steps would run.
    pub fn is_frugal(&self) -> bool {
        self.build.is_forecast || self.build.request.cache == CacheUse::Only
    }

    fn in_work(&self, key: Digest) -> Arc<Mutex<()>> {
        let mut in_work = self.in_work.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(in_work.entry(key).or_default())
    }

    fn step_text(&self, place: StepPlace) -> String {
        let stage = &self.build.plan.stages[place.stage];
        let task = stage
            .tasks
            .iter()
            .enumerate()
            .find(|(number, _)| self.steps.get(&(place.stage, number + 1)) == Some(&place.id));
        task.map_or_else(|| stage.text.clone(), |(_, task)| task.step.text.clone())
    }
}

/// Ends a stage that panics, so that those who wait for it do not wait forever.
struct Ending<'a, 'b> {
    solver: &'a Solver<'b>,
    stage: usize,
}

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        self.solver.finish_stage(self.stage, Err(BuildError::Interrupted));
    }
}

/// Numbers what is shown of the needed stages: each FROM, and the instructions that touch files.
fn number_steps(plan: &Plan) -> (Vec<PlannedStep>, BTreeMap<(usize, usize), StepId>) {
    let (mut planned, mut ids) = (Vec::new(), BTreeMap::new());
    for index in plan.needed() {
        let stage = &plan.stages[index];
        let shown: Vec<(usize, &Task)> = stage
            .tasks
            .iter()
            .enumerate()
            .filter(|(_, task)| touches_files(&task.step.instruction))
            .collect();
        let of = shown.len() + 1;
        let mut add = |number: usize, place: usize, text: &str, span: Span| {
            let id = StepId(planned.len());
            ids.insert((index, place), id);
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            planned.push(PlannedStep { id, stage: stage.label.clone(), number, of, text, span });
        };
        add(1, 0, &stage.text, stage.span);
        for (number, (place, task)) in shown.iter().enumerate() {
            let span = if task.trigger { stage.span } else { task.step.span };
            add(number + 2, place + 1, &task.step.text, span);
        }
    }
    (planned, ids)
}

fn touches_files(instruction: &Instruction) -> bool {
    use Instruction::{Add, Copy, Run, Workdir};
    matches!(instruction, Add(_) | Copy(_) | Run(_) | Workdir(_))
}
