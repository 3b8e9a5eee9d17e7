//! What a build would do, found out without doing it.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use lbuild_layer_store::Store;
use lbuild_runner::Cancel;

use crate::context::Contexts;
use crate::event::{BuildEvent, PlannedStep, StepId};
use crate::explain::Reason;
use crate::journal::Journal;
use crate::prepared::{Prepared, Scope};
use crate::request::BuildRequest;
use crate::solve::{Build, Solver};
use crate::{BuildError, warn};

/// What a build would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Its steps, in the order of the plan.
    pub steps: Vec<ForecastStep>,
}

/// What would become of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastStep {
    /// The step.
    pub step: PlannedStep,
    /// Why it would run, the first reason first; `None`: it would come from the cache.
    pub reasons: Option<Vec<Reason>>,
    /// How long it ran in an earlier build.
    pub took: Option<Duration>,
}

impl Forecast {
    /// The steps that would run, or may.
    pub fn running(&self) -> impl Iterator<Item = &ForecastStep> {
        self.steps.iter().filter(|step| step.reasons.is_some())
    }
}

/// Finds out which steps of `request` would run and why. Images are looked up and the context is read;
/// nothing runs, is downloaded by a step or is recorded, but what is learned of the context's files.
///
/// # Errors
/// See [`BuildError`].
pub fn forecast(
    store: &Store,
    request: &BuildRequest,
    events: &(dyn Fn(BuildEvent) + Sync),
    cancel: &Cancel,
) -> Result<Forecast, BuildError> {
    let prepared = Prepared::new(store, request, Scope::Build)?;
    let contexts = Contexts::new(store, request);
    warn(request, &prepared, &contexts, events)?;
    let journal = Journal::new(store, request);
    let steps = Mutex::new(Vec::new());
    let note = |event: BuildEvent| {
        journal.see(&event);
        let mut steps = steps.lock().unwrap_or_else(PoisonError::into_inner);
        take_note(&mut steps, &event);
        if matches!(event, BuildEvent::Note(_)) {
            events(event);
        }
    };
    let Prepared { dockerfile, globals, plan, images } = prepared;
    let build = Build {
        store,
        request,
        dockerfile: &dockerfile,
        plan: &plan,
        globals: &globals,
        images: &images,
        events: &note,
        cancel,
        contexts: &contexts,
        journal: &journal,
        is_forecast: true,
        failed: None,
    };
    Solver::new(build).solve()?;
    Ok(Forecast { steps: steps.into_inner().unwrap_or_else(PoisonError::into_inner) })
}

fn take_note(steps: &mut Vec<ForecastStep>, event: &BuildEvent) {
    let mut change = |id: &StepId, change: &dyn Fn(&mut ForecastStep)| {
        if let Some(step) = steps.iter_mut().find(|known| known.step.id == *id) {
            change(step);
        }
    };
    match event {
        BuildEvent::Planned(planned) | BuildEvent::Added(planned) => {
            steps.extend(planned.iter().map(|step| ForecastStep {
                step: step.clone(),
                reasons: None,
                took: None,
            }));
        }
        BuildEvent::Explained(id, reasons) => change(id, &|step| step.reasons = Some(reasons.clone())),
        BuildEvent::WouldRun(id, took) => change(id, &|step| step.took = *took),
        _ => {}
    }
}
