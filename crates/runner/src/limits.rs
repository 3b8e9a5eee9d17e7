//! Limits of a run: control group and rlimits.

use std::fmt;
use std::io;
use std::str::FromStr;

use rustix::process::{Rlimit, getrlimit, setrlimit};
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

/// The open files of each process unless a [`Ulimit`] says otherwise, as systemd gives them to
/// services and Docker to containers: few, since some programs visit each possible descriptor, but
/// to be raised by those that need more.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

impl Ulimit {
    /// Applies `ulimits` to this process, the default one first.
    ///
    /// # Errors
    /// As setrlimit(2), with the limit that was refused.
    pub(crate) fn apply_all(ulimits: &[Self]) -> Result<(), (Self, io::Error)> {
        // A limit that cannot be raised so far stays where it is.
        if apply(Resource::Nofile, Some(OPEN_FILES.0), Some(OPEN_FILES.1)).is_err() {
            let hard = getrlimit(Resource::Nofile.number()).maximum;
            let soft = OPEN_FILES.0.min(hard.unwrap_or(u64::MAX));
            // Lowering is always permitted.
            let _ = apply(Resource::Nofile, Some(soft), hard);
        }
        for ulimit in ulimits {
            apply(ulimit.resource, ulimit.soft, ulimit.hard).map_err(|error| (*ulimit, error))?;
        }
        Ok(())
    }
}

fn apply(resource: Resource, soft: Option<u64>, hard: Option<u64>) -> io::Result<()> {
    Ok(setrlimit(resource.number(), Rlimit { current: soft, maximum: hard })?)
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

/// Each resource with its name.
const NAMES: [(Resource, &str); 15] = [
    (Resource::Core, "core"),
    (Resource::Cpu, "cpu"),
    (Resource::Data, "data"),
    (Resource::Fsize, "fsize"),
    (Resource::Locks, "locks"),
    (Resource::Memlock, "memlock"),
    (Resource::Msgqueue, "msgqueue"),
    (Resource::Nice, "nice"),
    (Resource::Nofile, "nofile"),
    (Resource::Nproc, "nproc"),
    (Resource::Rss, "rss"),
    (Resource::Rtprio, "rtprio"),
    (Resource::Rttime, "rttime"),
    (Resource::Sigpending, "sigpending"),
    (Resource::Stack, "stack"),
];

impl FromStr for Resource {
    type Err = UnknownResource;

    fn from_str(name: &str) -> Result<Self, UnknownResource> {
        let known = NAMES.iter().find(|(_, known)| *known == name);
        known.map(|&(resource, _)| resource).ok_or_else(|| UnknownResource(name.to_owned()))
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(resource, _)| resource == self).map_or("", |&(_, name)| name);
        f.write_str(name)
    }
}

impl Resource {
    fn number(self) -> rustix::process::Resource {
        use rustix::process::Resource as Kernel;
        match self {
            Self::Core => Kernel::Core,
            Self::Cpu => Kernel::Cpu,
            Self::Data => Kernel::Data,
            Self::Fsize => Kernel::Fsize,
            Self::Locks => Kernel::Locks,
            Self::Memlock => Kernel::Memlock,
            Self::Msgqueue => Kernel::Msgqueue,
            Self::Nice => Kernel::Nice,
            Self::Nofile => Kernel::Nofile,
            Self::Nproc => Kernel::Nproc,
            Self::Rss => Kernel::Rss,
            Self::Rtprio => Kernel::Rtprio,
            Self::Rttime => Kernel::Rttime,
            Self::Sigpending => Kernel::Sigpending,
            Self::Stack => Kernel::Stack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_have_the_names_that_docker_gives_them() {
        assert_eq!("nofile".parse(), Ok(Resource::Nofile));
        assert_eq!("NOFILE".parse::<Resource>(), Err(UnknownResource("NOFILE".into())));
        for (resource, name) in NAMES {
            assert_eq!(resource.to_string(), name);
            assert_eq!(name.parse(), Ok(resource));
        }
    }
}
