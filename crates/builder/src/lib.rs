//! Plans, caches and runs the steps of a build.
//!
//! ```text
//! Dockerfile → plan (stages as a graph) → images looked up → stages solved side by side → image
//!                                          each step: key → recorded result, or run and commit
//! ```
//!
//! Nothing is printed: [`build`] emits [`BuildEvent`]s and returns a [`BuildOutcome`] or a
//! [`BuildError`], whose diagnostics name places in the Dockerfile.

mod access;
mod arguments;
mod base;
mod check;
mod context;
mod copy;
mod download;
mod durable;
mod environment;
mod error;
mod event;
mod explain;
mod finish;
mod forecast;
mod journal;
mod key;
mod latch;
mod listing;
mod metadata;
mod outline;
mod path;
mod plan;
mod prepared;
mod problem;
mod report;
mod request;
mod shared;
mod shell;
mod solve;
mod state;
mod step;
#[cfg(test)]
mod testing;
mod time;
mod user;

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Mutex;

use lbuild_layer_store::{ImageRecord, Store, StoreError};
use lbuild_oci::{DiffId, ImageConfig};
use lbuild_parser::Diagnostic;
pub use lbuild_runner::{Cancel, Exit, RunError};
use lbuild_shared_cache::Written;

pub use access::git_access;
pub use copy::{ModeChange, ModeError};
pub use error::BuildError;
pub use event::{BuildEvent, LayerSummary, PlannedStep, StepId, Stream};
pub use explain::{Change, Difference, FileChange, FileChanges, Reason};
pub use forecast::{Forecast, ForecastStep, forecast};
pub use outline::{Outline, OutlineArgument, OutlineMount, Target, targets};
pub use report::{BuildReport, Fate, StepReport, Subject};
pub use request::{
    BuildRequest, CacheUse, ContextFolder, Entitlement, ImageSource, NamedContext, RunOptions, Secret,
};
pub use shell::shell;
pub use step::run::FailedStep;

use crate::context::Contexts;
use crate::journal::Journal;
use crate::prepared::{Prepared, Scope};
use crate::solve::{Build, Solver};

/// What a build made.
#[derive(Debug, Clone, PartialEq)]
pub struct BuildOutcome {
    /// The image, in the store and without a name.
    pub image: ImageRecord,
    /// Its configuration.
    pub config: ImageConfig,
    /// Steps that ran.
    pub executed: usize,
    /// Steps that came from the cache.
    pub cached: usize,
    /// What was written to shared caches.
    pub shared: Written,
}

/// Builds what `request` asks for and puts the image into `store`.
///
/// Whatever happens, finished steps stay in the cache, and nothing runs or is mounted afterwards.
///
/// # Errors
/// See [`BuildError`].
pub fn build(
    store: &Store,
    request: &BuildRequest,
    events: &(dyn Fn(BuildEvent) + Sync),
    cancel: &Cancel,
) -> Result<BuildOutcome, BuildError> {
    build_or_keep(store, request, events, cancel, None)
}

/// [`build`], which leaves a RUN that fails in `failed`, for a look into its files.
///
/// # Errors
/// As [`build`].
pub fn build_or_keep(
    store: &Store,
    request: &BuildRequest,
    events: &(dyn Fn(BuildEvent) + Sync),
    cancel: &Cancel,
    failed: Option<&Mutex<Option<FailedStep>>>,
) -> Result<BuildOutcome, BuildError> {
    let prepared = event::timed(events, None, "plan", || Prepared::new(store, request, Scope::Build));
    // An image that seems missing may be damaged.
    tell_damage(store, events);
    let prepared = prepared?;
    let contexts = Contexts::new(store, request);
    warn(request, &prepared, &contexts, events)?;
    let journal = Journal::new(store, request);
    let events = |event: BuildEvent| {
        journal.see(&event);
        events(event);
    };
    let Prepared { dockerfile, globals, plan, images } = prepared;
    let build = Build {
        store,
        request,
        dockerfile: &dockerfile,
        plan: &plan,
        globals: &globals,
        images: &images,
        events: &events,
        cancel,
        contexts: &contexts,
        journal: &journal,
        is_forecast: false,
        failed,
    };
    let outcome = solve(build);
    if let Err(error) = remember(&journal, &outcome) {
        // An image is not worth less because its build cannot be explained later.
        let mut text = format!("this build is not remembered: {error}");
        if let Some(cause) = error.source() {
            text.push_str(&format!(": {cause}"));
        }
        events(BuildEvent::Note(text));
    }
    outcome
}

/// Solves until no step's layer turns out to be lost.
fn solve(build: Build<'_>) -> Result<BuildOutcome, BuildError> {
    let Build { store, request, .. } = build;
    let mut executed = 0;
    let mut lost = BTreeSet::new();
    loop {
        let solved = Solver::new(build).solve();
        executed += solved.as_ref().map_or(0, |solved| solved.executed);
        let cached = solved.as_ref().map_or(0, |solved| solved.cached);
        let finished = solved.and_then(|solved| {
            shared::check_layers(store, &solved.state.layers)?;
            if request.verifies_layers {
                event::timed(build.events, None, "verify", || shared::verify_layers(store, &solved.state))?;
            }
            if request.needs_layers {
                event::timed(build.events, None, "fetch", || store.fetch_layers(&solved.state.layers))?;
            }
            event::timed(build.events, None, "keep the image", || {
                finish::finish(store, request, solved.state, solved.other_steps)
            })
        });
        match finished {
            Ok((image, config)) => {
                let shared = request.shared_cache.as_ref().map(|cache| cache.written()).unwrap_or_default();
                return Ok(BuildOutcome { image, config, executed, cached, shared });
            }
            Err(error) => begin_anew(&build, &mut lost, error)?,
        }
    }
}

/// Makes ready for a build without a layer that is in a record and not to be had; other failures are
/// given back.
fn begin_anew(build: &Build<'_>, lost: &mut BTreeSet<DiffId>, error: BuildError) -> Result<(), BuildError> {
    let is_of_image = |layer| build.images.values().any(|image| image.rootfs.diff_ids.contains(&layer));
    let layer = shared::lost_layer(&error).filter(|layer| !is_of_image(*layer));
    // A layer that is missing although nothing says any more that it is there would be missed for ever.
    let layer = layer.filter(|layer| match &build.request.shared_cache {
        Some(cache) => !cache.is_lost(layer),
        None => !shared::is_unknown(&error) && lost.insert(*layer),
    });
    let (Some(layer), false) = (layer, build.cancel.is_cancelled()) else { return Err(error) };
    let note = if shared::is_unknown(&error) {
        // As of another stage of an image that carries its cache.
        format!("layer {layer} is needed, and no cache has it; the steps that lead to it run again")
    } else {
        let mut reason: &dyn Error = &error;
        while let Some(cause) = reason.source() {
            reason = cause;
        }
        format!("layer {layer} cannot be fetched ({reason}); the step that makes it runs again")
    };
    (build.events)(BuildEvent::Note(note));
    if let Some(cache) = &build.request.shared_cache {
        cache.lose(layer);
        cache.reopen();
    }
    Ok(())
}

fn remember(journal: &Journal<'_>, outcome: &Result<BuildOutcome, BuildError>) -> Result<(), StoreError> {
    let (image, error) = match outcome {
        Ok(outcome) => (Some(outcome.image.id), None),
        Err(error) => (None, Some(error)),
    };
    journal.end(image, error)
}

/// Lists the arguments, secrets and agents that the build of `request` takes, and emits warnings.
///
/// # Errors
/// A wrong Dockerfile, or no such target. Images need not be there.
pub fn outline(
    store: &Store,
    request: &BuildRequest,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<Outline, BuildError> {
    let prepared = Prepared::new(store, request, Scope::Outline)?;
    warn(request, &prepared, &Contexts::new(store, request), events)?;
    outline::outline(request, &prepared)
}

/// Reads what `request` would build, all stages unless it names one, and says what is wrong or could be
/// better. Images need not be there.
pub fn check(store: &Store, request: &BuildRequest) -> Checked {
    let prepared = match Prepared::new(store, request, Scope::Check) {
        Ok(prepared) => prepared,
        Err(error) => return Checked { warnings: Vec::new(), error: Some(error) },
    };
    let warnings = check::findings(request, &prepared, &Contexts::new(store, request));
    let error = violation(&prepared, &warnings);
    Checked { warnings, error }
}

/// What [`check`] found.
#[derive(Debug)]
pub struct Checked {
    /// What could be better.
    pub warnings: Vec<Diagnostic>,
    /// Why a build would fail before its first step.
    pub error: Option<BuildError>,
}

/// Tells, once, what was found damaged in the store.
fn tell_damage(store: &Store, events: &(dyn Fn(BuildEvent) + Sync)) {
    store.take_damage().iter().for_each(|damage| events(BuildEvent::Note(damage.to_string())));
}

/// Emits what could be better.
fn warn(
    request: &BuildRequest,
    prepared: &Prepared,
    contexts: &Contexts<'_>,
    events: &(dyn Fn(BuildEvent) + Sync),
) -> Result<(), BuildError> {
    let findings = check::findings(request, prepared, contexts);
    let violation = violation(prepared, &findings);
    findings.into_iter().for_each(|finding| events(BuildEvent::Warning(finding)));
    violation.map_or(Ok(()), Err)
}

/// The error that findings are where the Dockerfile says so.
fn violation(prepared: &Prepared, findings: &[Diagnostic]) -> Option<BuildError> {
    let violation = prepared.dockerfile.check.violation(findings)?;
    Some(BuildError::Dockerfile(vec![Diagnostic::file_error(violation)]))
}
