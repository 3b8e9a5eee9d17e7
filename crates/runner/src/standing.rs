//! What this process may do, and the user namespace in which it may do more.
//!
//! A process that may mount keeps what it has. Any other enters a user namespace of its own, once, at
//! its start: everything after that is done by the root user of that namespace. Where none can be
//! made, root without namespaces is left, as in a container by default.

mod ids;
mod mapping;

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, mount_change};
use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, capabilities};

pub use ids::{IdRange, Ids, SubordinateIds};
pub use mapping::Mapping;

use crate::detached::Detached;
use crate::{owners, sys};

/// Which kind of isolation is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// The best that can be had.
    #[default]
    Auto,
    /// Namespaces, or an error.
    Namespaces,
    /// Neither namespaces nor mounts, as if none could be had.
    Chroot,
}

/// What this process may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Root that may mount, on the machine or in a namespace that somebody else made.
    Root,
    /// Root of a user namespace of our own in which there are many ids.
    ManyIds,
    /// Root of a user namespace in which there is no other id: the kernel refuses every other owner.
    SingleId,
    /// Root that may neither mount nor make namespaces, but own files for others and change its root.
    Bare,
}

/// Why there is no standing in which a build could be done.
#[derive(Debug, thiserror::Error)]
#[error(
    "user {uid} cannot build here: neither a user namespace with many ids nor one that makes up for them can be had"
)]
pub struct NoStanding {
    uid: u32,
    source: io::Error,
}

impl Standing {
    /// Whether namespaces and mounts can be made.
    pub fn has_namespaces(self) -> bool {
        self != Self::Bare
    }
}

/// What [`take_standing`] found.
static TAKEN: OnceLock<Standing> = OnceLock::new();

/// Finds out what this process may do and, if it has to, enters a user namespace for good.
///
/// To be called before there are threads. Called again, it returns what it did the first time.
///
/// # Errors
/// [`NoStanding`] where neither a user namespace can be had nor this is root.
pub fn take_standing(isolation: Isolation) -> Result<Standing, NoStanding> {
    if let Some(&standing) = TAKEN.get() {
        return Ok(standing);
    }
    let standing = find(isolation)?;
    if standing == Standing::SingleId {
        owners::start().map_err(|source| NoStanding { uid: geteuid().as_raw(), source })?;
    }
    Ok(*TAKEN.get_or_init(|| standing))
}

/// What this process may do; root that may do everything, where nobody asked.
pub(crate) fn current() -> Standing {
    TAKEN.get().copied().unwrap_or(Standing::Root)
}

pub(crate) fn find(isolation: Isolation) -> Result<Standing, NoStanding> {
    let is_root = geteuid().is_root();
    if isolation == Isolation::Chroot && is_root {
        return Ok(Standing::Bare);
    }
    if is_root && has(CapabilitySet::SYS_ADMIN) && in_child(probe_mounts).is_ok() {
        return Ok(if Ids::of_this_namespace().is_single() { Standing::SingleId } else { Standing::Root });
    }
    let mapping = Mapping::best();
    let entered = match is_root {
        // Container managers may allow namespaces and forbid mounts: try before there is no way back.
        true => in_child(|| mapping.enter().and_then(|_| probe_mounts())).and_then(|()| mapping.enter()),
        false => mapping.enter().and_then(|ids| in_child(probe_mounts).map(|()| ids)),
    };
    match entered {
        Ok(Ids::Single) => Ok(Standing::SingleId),
        Ok(Ids::Many) => Ok(Standing::ManyIds),
        Err(_) if is_root && isolation == Isolation::Auto => Ok(Standing::Bare),
        Err(source) => Err(NoStanding { uid: geteuid().as_raw(), source }),
    }
}

/// Whether this process has a capability in its user namespace.
pub(crate) fn has(capability: CapabilitySet) -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// Makes a mount namespace and attaches a mount in it, as a run does.
pub(crate) fn probe_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let memory = Detached::new("tmpfs", &[], MountAttrFlags::empty())?;
    let target = open("/dev", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    memory.attach(target.as_fd())
}

/// Does `work` in a child process, which ends after it, and returns its error.
pub(crate) fn in_child<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<()> {
    let Some(child) = sys::fork()? else {
        let status =
            work().err().map_or(0, |error| Errno::from_io_error(&error).map_or(1, Errno::raw_os_error));
        std::process::exit(status);
    };
    match waitpid(child, None)? {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, errno) => Err(io::Error::from_raw_os_error(errno)),
        _ => Err(io::Error::other("a probe was killed")),
    }
}
