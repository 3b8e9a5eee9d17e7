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
mod prepared;
mod problem;
mod request;
mod solve;
mod state;
mod step;
#[cfg(test)]
mod testing;
mod time;
mod user;

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::ImageConfig;
use lbuild_parser::Diagnostic;
pub use lbuild_runner::Cancel;

pub use error::BuildError;
pub use event::{BuildEvent, LayerSummary, PlannedStep, StepId, Stream};
pub use request::{BuildRequest, CacheUse, Entitlement, NamedContext, RunOptions, Secret};

use crate::base::Missing;
use crate::context::Contexts;
use crate::prepared::Prepared;
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
    let Prepared { dockerfile, globals, plan, images } = Prepared::new(store, request, Missing::Refuse)?;
    let contexts = Contexts::new(store, request);
    let findings = check::findings(request, &dockerfile, &plan, &images, &contexts);
    let violation = dockerfile.check.violation(&findings);
    findings.into_iter().for_each(|finding| events(BuildEvent::Warning(finding)));
    if let Some(violation) = violation {
        return Err(BuildError::Dockerfile(vec![Diagnostic::file_error(violation)]));
    }
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
