//! What a build tells while it runs. The builder never prints: a front end renders these.

use std::time::{Duration, Instant};

use lbuild_oci::DiffId;
use lbuild_parser::{Diagnostic, Span};

use crate::explain::Reason;

/// A step's number in the plan: all needed stages' steps, in Dockerfile order, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub usize);

/// A step as the plan shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// The step.
    pub id: StepId,
    /// The stage's name, or its number where it has none.
    pub stage: String,
    /// The step's number within its stage, FROM being 1.
    pub number: usize,
    /// How many steps the stage has.
    pub of: usize,
    /// The instruction as it is written, on one line.
    pub text: String,
    /// Where it stands in the Dockerfile; empty for a trigger of the base image.
    pub span: Span,
}

/// The two outputs of a RUN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// The layer that a step made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerSummary {
    /// The layer.
    pub diff_id: DiffId,
    /// Bytes of its uncompressed tar.
    pub size: u64,
    /// Entries of its tar.
    pub entries: u64,
}

/// Does a part of a build's work and tells how long it took.
pub(crate) fn timed<T>(
    events: &(dyn Fn(BuildEvent) + Sync),
    step: Option<StepId>,
    phase: &'static str,
    work: impl FnOnce() -> T,
) -> T {
    let began = Instant::now();
    let result = work();
    events(BuildEvent::Phase(step, phase, began.elapsed()));
    result
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum BuildEvent {
    /// First: every step that will be looked at.
    Planned(Vec<PlannedStep>),
    /// Steps that the base image's ONBUILD triggers add, once the base is known.
    Added(Vec<PlannedStep>),
    /// Work on a step begins (its key is being computed, or it runs).
    Started(StepId),
    /// A RUN wrote something. Bytes as they came, not necessarily whole lines.
    Output(StepId, Stream, Vec<u8>),
    /// A few words about what a long step does now, such as `extracting 2 of 5 layers`.
    Status(StepId, String),
    /// The step is not taken from the cache; the first reason comes first.
    Explained(StepId, Vec<Reason>),
    /// In a forecast: the step would run, for as long as in an earlier build where that is known. The
    /// last reason given is why.
    WouldRun(StepId, Option<Duration>),
    /// The step was in the cache.
    Cached(StepId, Option<LayerSummary>),
    /// The step is done; `None` means that it changed nothing or only the configuration.
    Finished(StepId, Option<LayerSummary>, Duration),
    /// A layer of the resulting image is in the store, or known by where it can be fetched. Each comes once
    /// at least, in no certain order, and those of a build that fails come too.
    Layer(DiffId),
    /// The step failed; [`crate::BuildError`] says why.
    Failed(StepId),
    /// The step was stopped because another one failed or the user interrupted the build.
    Cancelled(StepId),
    /// A part of the work, of a step or of the whole build, has ended and took so long. For those who look
    /// where the time goes.
    Phase(Option<StepId>, &'static str, Duration),
    /// Something that the user should know about the Dockerfile.
    Warning(Diagnostic),
    /// Something that the user should know about this machine or build, one sentence.
    Note(String),
}
