//! Why a program did not run to its end.

use std::io;
use std::path::PathBuf;

/// Why a run has no [`Exit`](crate::Exit).
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The program is not in the root, or not in `PATH`. A shell's exit code for it is 127.
    #[error("{program}: not found{}", if program.contains('/') { "" } else { " in PATH" })]
    NotFound {
        /// As it was asked for.
        program: String,
    },
    /// The program is there but cannot be executed. A shell's exit code for it is 126.
    #[error("{program}: cannot be executed: {reason}")]
    NotExecutable {
        /// As it was asked for.
        program: String,
        /// What is wrong with it, such as a missing interpreter.
        reason: String,
    },
    /// The kernel takes no arguments and variables of this length (E2BIG, see execve(2)).
    #[error("{program}: the command is too long for the kernel")]
    TooLong {
        /// As it was asked for.
        program: String,
    },
    /// The working directory is missing, or no directory inside the root.
    #[error("working directory {}", path.display())]
    WorkingDirectory {
        /// As it was asked for.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A limit cannot be had.
    #[error("cannot limit the {controller} of a RUN")]
    Limit {
        /// The control groups' controller, such as `memory`.
        controller: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The surroundings of the program could not be made.
    #[error("cannot {what}")]
    Setup {
        /// What was attempted, such as "mount /proc".
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was cancelled; all its processes are gone.
    #[error("cancelled")]
    Cancelled,
}

impl RunError {
    /// For `map_err`; `what` completes the sentence "cannot ...".
    pub(crate) fn setting_up<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::setup(what, source)
    }

    pub(crate) fn setup(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Setup { what: what.into(), source: source.into() }
    }
}
