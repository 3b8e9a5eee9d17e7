//! What passes between [`run`](crate::run) and its supervisor.
//!
//! The [`Order`] comes in a file in memory, as JSON; what happened goes back as one [`Report`] a
//! line through a pipe. Open files are inherited under fixed numbers.

use std::ffi::{CString, OsStr};
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::RunError;
use crate::limits::Ulimit;
use crate::spec::{Network, Security, User};

/// The first argument of a supervisor: how it is told apart, and what `ps` shows.
pub(crate) const ROLE: &str = "lbuild-run-supervisor";

/// Where the reports go.
pub(crate) const REPORT_FD: RawFd = 3;
/// Where the order comes from.
pub(crate) const ORDER_FD: RawFd = 4;
/// The compiled system call filter; empty for none.
pub(crate) const FILTER_FD: RawFd = 5;
/// The root file system. The trees to mount follow, in the order's order.
pub(crate) const ROOT_FD: RawFd = 6;

/// A [`RunSpec`](crate::RunSpec) without its open files.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The process id of lbuild.
    pub(crate) parent: i32,
    pub(crate) args: Vec<Bytes>,
    /// `NAME=VALUE` each.
    pub(crate) env: Vec<Bytes>,
    pub(crate) cwd: Bytes,
    pub(crate) user: User,
    pub(crate) hostname: String,
    pub(crate) network: Network,
    pub(crate) security: Security,
    pub(crate) mounts: Vec<OrderedMount>,
    pub(crate) hosts: Bytes,
    pub(crate) resolv_conf: Bytes,
    pub(crate) shm_size: u64,
    pub(crate) ulimits: Vec<Ulimit>,
    /// The `cgroup.procs` files of the control groups to join.
    pub(crate) cgroups: Vec<Bytes>,
    pub(crate) no_new_privileges: bool,
    /// Whether neither namespaces nor mounts can be had.
    pub(crate) is_bare: bool,
    /// Whether standard input, output and error are lbuild's own.
    pub(crate) interactive: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct OrderedMount {
    pub(crate) source: OrderedSource,
    pub(crate) target: Bytes,
    pub(crate) read_only: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum OrderedSource {
    /// The next inherited file descriptor, or what lies at a path inside it.
    Tree {
        path: Option<Bytes>,
    },
    Tmpfs {
        size: Option<u64>,
        mode: u32,
    },
    File {
        content: Bytes,
        mode: u32,
        uid: u32,
        gid: u32,
    },
}

/// How the run ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The program returned this status.
    Exited(i32),
    /// This signal killed the program.
    Killed(i32),
    /// There was no program to end.
    Failed(Failure),
}

/// A [`RunError`] on its way.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    NotFound,
    NotExecutable { reason: String },
    TooLong,
    WorkingDirectory { errno: i32 },
    Setup { what: String, errno: i32 },
}

impl Failure {
    /// `what` completes the sentence "cannot ...".
    pub(crate) fn setup(what: impl Into<String>, error: impl Into<io::Error>) -> Self {
        Self::Setup { what: what.into(), errno: errno(&error.into()) }
    }

    /// What the caller of `run` is told, who asked for `program` in `cwd`.
    pub(crate) fn into_error(self, program: &OsStr, cwd: &Path) -> RunError {
        let program = program.to_string_lossy().into_owned();
        match self {
            Self::NotFound => RunError::NotFound { program },
            Self::NotExecutable { reason } => RunError::NotExecutable { program, reason },
            Self::TooLong => RunError::TooLong { program },
            Self::WorkingDirectory { errno } => RunError::WorkingDirectory {
                path: cwd.to_owned(),
                source: io::Error::from_raw_os_error(errno),
            },
            Self::Setup { what, errno } => RunError::setup(what, io::Error::from_raw_os_error(errno)),
        }
    }
}

/// The number of an error of the kernel; `EINVAL` for one that came from elsewhere.
pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EINVAL)
}

/// What an error says, without its number.
pub(crate) fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| Errno::from_raw(number).desc().to_owned())
}

/// Any bytes, as a JSON string: the character U+00NN stands for the byte NN.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl fmt::Debug for Bytes {
    /// Never shows them: the environment and files in memory hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Bytes {
    pub(crate) fn as_os_str(&self) -> &OsStr {
        OsStr::from_bytes(&self.0)
    }

    pub(crate) fn as_path(&self) -> &Path {
        Path::new(self.as_os_str())
    }

    /// # Errors
    /// `InvalidInput` if there is a NUL inside.
    pub(crate) fn to_c_string(&self) -> io::Result<CString> {
        CString::new(self.0.clone()).map_err(io::Error::from)
    }
}

impl<T: AsRef<OsStr>> From<T> for Bytes {
    fn from(text: T) -> Self {
        Self(text.as_ref().as_bytes().to_owned())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.iter().map(|&byte| char::from(byte)).collect::<String>())
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes: Result<_, _> = text.chars().map(u8::try_from).collect();
        bytes.map(Self).map_err(|_| de::Error::custom("a character beyond U+00FF"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive_the_way() {
        let all = Bytes((0..=255).collect());
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Bytes>(&json).unwrap(), all);
        assert_eq!(serde_json::to_string(&Bytes(b"PATH=/bin".to_vec())).unwrap(), r#""PATH=/bin""#);
        assert!(serde_json::from_str::<Bytes>("\"\u{20ac}\"").is_err());
    }
}
