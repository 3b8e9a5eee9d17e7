//! Why a context cannot be used.

use std::io;
use std::path::PathBuf;

use crate::ignore::Reason;
use crate::pattern::PatternError;
use crate::program::SyntaxError;

/// Why a context cannot be opened, selected from or hashed.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The folder given as the context cannot be opened.
    #[error("cannot open the build context {path}")]
    Open {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The ignore file exists but cannot be read.
    #[error("cannot read {path}")]
    IgnoreFile {
        /// The ignore file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of the ignore file has no meaning.
    #[error("{}, line {line}", file.as_deref().unwrap_or(std::path::Path::new(".dockerignore")).display())]
    IgnoreLine {
        /// The ignore file, if it has a name.
        file: Option<PathBuf>,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        source: PatternError,
    },
    /// A source that must exist does not.
    #[error("{pattern}: not found{}", .ignored.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default())]
    NotFound {
        /// The source as the instruction has it.
        pattern: String,
        /// The ignore rule that hides it, where it exists.
        ignored: Option<Reason>,
    },
    /// A source's wildcards have no meaning.
    #[error("{pattern}: bad wildcards")]
    Wildcards {
        /// The source as the instruction has it.
        pattern: String,
        /// What is wrong with it.
        source: SyntaxError,
    },
    /// An `--exclude` or a `--parents` path has no meaning.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// A file of the tree cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// From the tree's root.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The caller wanted no more of it.
    #[error("interrupted")]
    Interrupted,
    /// An archive given as the context cannot be unpacked.
    #[error("cannot unpack the build context")]
    Archive(#[source] lbuild_archive::ArchiveError),
    /// A stream given as the context cannot be read, or its copy cannot be written.
    #[error("cannot read the build context from the stream")]
    Stream(#[source] io::Error),
}
