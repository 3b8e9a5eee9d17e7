//! A run as its caller sees it.

use crate::{Cancel, RunError, RunSpec};

/// How a run's process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this exit status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// One of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Runs `spec` to its end and passes on what it prints as it comes, on the calling thread.
///
/// # Errors
/// See [`RunError`]; no process and no mount of the run is left, whatever happens.
pub fn run(
    _spec: RunSpec,
    _output: &mut dyn FnMut(Stream, &[u8]),
    _cancel: &Cancel,
) -> Result<Exit, RunError> {
    Err(RunError::setup("run", rustix::io::Errno::NOSYS))
}

/// Acts as the supervisor and never returns, if [`run`] started this process as one.
///
/// To be called first thing in `main`, before threads, arguments and output.
pub fn supervise_if_asked() {}
