//! Plans, caches and runs the steps of a build.
//!
//! ```text
//! Dockerfile → plan (stages as a graph) → images looked up → stages solved side by side → image
//!                                          each step: key → recorded result, or run and commit
//! ```
//!
//! Nothing is printed: [`build`] emits [`BuildEvent`]s and returns a [`BuildOutcome`] or a
//! [`BuildError`], whose diagnostics name places in the Dockerfile.

mod arguments;
mod base;
mod check;
mod context;
mod copy;
mod download;
mod environment;
mod error;
mod event;
mod finish;
mod key;
mod latch;
mod metadata;
mod plan;

mod problem;
mod request;
mod solve;
mod state;
mod step;
mod time;
mod user;

use std::collections::BTreeSet;

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{ImageConfig, Platform};
use lbuild_parser::Dockerfile;
pub use lbuild_runner::Cancel;

pub use error::BuildError;
pub use event::{BuildEvent, LayerSummary, PlannedStep, StepId, Stream};
pub use request::{BuildRequest, CacheUse, Entitlement, NamedContext, RunOptions, Secret};

use crate::context::Contexts;
use crate::plan::{Plan, PlanError, PlanInput};
use crate::solve::{Parts, Solver};

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
    let dockerfile = lbuild_parser::parse(&request.dockerfile).map_err(BuildError::Dockerfile)?;
    let globals = globals(request, &dockerfile)?;
    let mut plan = plan(request, &dockerfile, &globals)?;
    let images = base::resolve(store, request, &dockerfile, &mut plan)?;
    let contexts = Contexts::new(store, request);
    let findings = check::check(request, &dockerfile, &plan, &images, &contexts);
    if dockerfile.check.error && !findings.is_empty() {
        return Err(BuildError::Dockerfile(findings));
    }
    findings.into_iter().for_each(|finding| events(BuildEvent::Warning(finding)));
    let parts = Parts {
        store,
        request,
        dockerfile: &dockerfile,
        plan: &plan,
        globals: &globals,
        images: &images,
        events,
        cancel,
        contexts: &contexts,
    };
    let solved = Solver::new(parts).solve();
    // What was finished before a failure is worth keeping too.
    let flushed = store.flush();
    let solved = solved?;
    flushed?;
    let (image, config) = finish::finish(store, request, solved.state)?;
    Ok(BuildOutcome { image, config, executed: solved.executed, cached: solved.cached })
}

fn globals(request: &BuildRequest, dockerfile: &Dockerfile) -> Result<environment::Environment, BuildError> {
    let platform = request.platform.clone().unwrap_or_else(Platform::host);
    let last = dockerfile.stages.last().and_then(|stage| stage.name.as_deref());
    let target = request.target.as_deref().or(last).unwrap_or_default();
    arguments::globals(dockerfile, &request.build_args, &platform, target)
        .map_err(|problem| BuildError::Dockerfile(vec![problem]))
}

fn plan(
    request: &BuildRequest,
    dockerfile: &Dockerfile,
    globals: &environment::Environment,
) -> Result<Plan, BuildError> {
    let named: BTreeSet<String> = request.named_contexts.keys().cloned().collect();
    let input = PlanInput { globals, named: &named, target: request.target.as_deref() };
    Plan::new(dockerfile, &input).map_err(|error| match error {
        PlanError::Dockerfile(problems) => BuildError::Dockerfile(problems),
        PlanError::NoSuchTarget(name) => {
            let stages = dockerfile.stages.iter().filter_map(|stage| stage.name.clone()).collect();
            BuildError::NoSuchTarget { name, stages }
        }
    })
}
