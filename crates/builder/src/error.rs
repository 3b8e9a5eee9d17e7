//! Why a build failed.

use std::io;

use lbuild_layer_store::StoreError;
use lbuild_oci::Platform;
use lbuild_parser::{Diagnostic, Span, Step};

use crate::problem::Problem;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile is wrong; every problem that was found.
    #[error("the Dockerfile has errors")]
    Dockerfile(Vec<Diagnostic>),
    /// A RUN ended with a status other than 0.
    #[error("{command} exited with status {status}")]
    Run {
        /// The instruction.
        span: Span,
        /// The command as it was run, on one line.
        command: String,
        /// The exit status; 128 and the signal's number for a signal.
        status: i32,
        /// The signal that ended it.
        signal: Option<i32>,
        /// The last lines that it wrote.
        last_output: Vec<u8>,
        /// What to do about it, where the status tells.
        help: Option<String>,
    },
    /// A step failed otherwise; the diagnostic names the line.
    #[error("{}", diagnostic.message)]
    Step {
        /// What, where and what to do.
        diagnostic: Box<Diagnostic>,
        /// The cause.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
        /// The word of the instruction that it is about, as it is written there.
        word: Option<String>,
        /// Whether the cause is that the store's disk is full.
        is_disk_full: bool,
    },
    /// The base image is not in the store.
    #[error("image {name} is not in the store")]
    NoSuchImage {
        /// The name as written.
        name: String,
        /// Where it is named.
        span: Option<Span>,
    },
    /// An image is not in the store and could not be brought in.
    #[error("cannot get image {name}")]
    Image {
        /// The name as written.
        name: String,
        /// Where it is named.
        span: Span,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The base image is for another platform, and no other is there.
    #[error("image {name} is for {found}, not for {wanted}")]
    WrongPlatform {
        /// The name as written.
        name: String,
        /// The image's platform.
        found: Box<Platform>,
        /// The platform that the build is for.
        wanted: Box<Platform>,
        /// Where it is named.
        span: Option<Span>,
    },
    /// The target stage does not exist.
    #[error("there is no stage {name:?}")]
    NoSuchTarget {
        /// The name as given.
        name: String,
        /// The stages that exist.
        stages: Vec<String>,
    },
    /// The user interrupted the build.
    #[error("the build was interrupted")]
    Interrupted,
    /// `--frozen`: a step is not in the cache.
    #[error("{text} is not in the cache, and --frozen allows no step to run{}", because(reason.as_deref()))]
    Frozen {
        /// The instruction.
        span: Span,
        /// The instruction as it is written.
        text: String,
        /// Why it is not in the cache.
        reason: Option<String>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The context could not be read.
    #[error("cannot read the build context")]
    Context(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Anything else of the machine.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// The cause.
        source: io::Error,
    },
}

impl BuildError {
    /// The same at the word of `step` that it is about, and what the store says of a step at that step.
    pub(crate) fn within(self, step: &Step, span: Span) -> Self {
        match self {
            Self::Step { mut diagnostic, source, word, is_disk_full } => {
                let place = word.as_deref().and_then(|word| step.place_of(word));
                if let Some(place) = place.filter(|_| diagnostic.span == Some(step.span)) {
                    diagnostic.span = Some(place);
                }
                Self::Step { diagnostic, source, word, is_disk_full }
            }
            Self::Store(error @ StoreError::TooManyLayers { .. }) => Problem::from(error)
                .help("each RUN, COPY and ADD that changes files makes a layer: join some of them")
                .at(span),
            other => other,
        }
    }

    /// Wraps an I/O error with what was being done.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

fn because(reason: Option<&str>) -> String {
    reason.map_or_else(String::new, |reason| format!(": {reason}"))
}
