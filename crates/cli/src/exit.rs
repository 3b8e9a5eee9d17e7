//! The statuses that `lbuild` exits with.

use std::process::ExitCode;

/// How a command ended. `docs/exit-codes.md` and `--help` describe the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Success,
    /// A step of the build, a file or an image failed.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The Dockerfile is wrong; nothing was run.
    Dockerfile,
    /// The store cannot be used.
    Store,
    /// The program that `lbuild shell` ran ended with this status.
    Program(u8),
    /// The image was made, and a shared cache could not be written.
    Cache,
    /// A signal ended the command.
    Signal(i32),
}

impl Exit {
    /// The process's exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Dockerfile => 3,
            Self::Store => 4,
            Self::Program(status) => status,
            Self::Cache => 5,
            Self::Signal(signal) => {
                u8::try_from(signal).map_or(u8::MAX, |signal| 128_u8.saturating_add(signal))
            }
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// The part of `--help` that explains the numbers.
pub const HELP: &str = "\
Exit status:
  0    success
  1    a step of the build failed, or a file or an image is not there
  2    the command line is wrong
  3    the Dockerfile is wrong; nothing was run
  4    the store cannot be used: no permission, no space, damaged, or newer than this lbuild
  5    the image was made, and a shared cache (--cache-to) could not be written
  101  an error in lbuild itself; please report it
  130  interrupted (Ctrl-C); 143: terminated; 129: the terminal is gone";
