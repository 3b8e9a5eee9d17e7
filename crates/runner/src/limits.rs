//! Limits of a run: control group and rlimits.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What all processes of a run together may use. `None` stands for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Limits {
    /// Memory in bytes; beyond it the kernel kills a process of the run.
    pub memory: Option<u64>,
    /// Processors' time: 1.5 is one processor and a half.
    pub cpus: Option<f64>,
    /// Processes and threads at a time.
    pub pids: Option<u64>,
}

impl Limits {
    /// Whether nothing is limited.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One resource limit of each process, as setrlimit(2) has it. `None` stands for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit in force.
    pub soft: Option<u64>,
    /// What an unprivileged process may raise `soft` to.
    pub hard: Option<u64>,
}

/// A resource of getrlimit(2), by the names that `docker build --ulimit` has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "getrlimit(2) describes each")]
pub enum Resource {
    Core,
    Cpu,
    Data,
    Fsize,
    Locks,
    Memlock,
    Msgqueue,
    Nice,
    Nofile,
    Nproc,
    Rss,
    Rtprio,
    Rttime,
    Sigpending,
    Stack,
}

/// A name that is no [`Resource`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown ulimit `{0}`")]
pub struct UnknownResource(String);

impl FromStr for Resource {
    type Err = UnknownResource;

    fn from_str(name: &str) -> Result<Self, UnknownResource> {
        Ok(match name {
            "core" => Self::Core,
            "cpu" => Self::Cpu,
            "data" => Self::Data,
            "fsize" => Self::Fsize,
            "locks" => Self::Locks,
            "memlock" => Self::Memlock,
            "msgqueue" => Self::Msgqueue,
            "nice" => Self::Nice,
            "nofile" => Self::Nofile,
            "nproc" => Self::Nproc,
            "rss" => Self::Rss,
            "rtprio" => Self::Rtprio,
            "rttime" => Self::Rttime,
            "sigpending" => Self::Sigpending,
            "stack" => Self::Stack,
            _ => return Err(UnknownResource(name.to_owned())),
        })
    }
}
