//! Runs one process in an isolated root and returns how it ended.
//!
//! [`run`] starts this very executable again as a small, single-threaded *supervisor* and hands it
//! a [`RunSpec`] over inherited file descriptors. The supervisor makes the namespaces, forks the
//! command as their pid 1, waits, and reports. Whoever uses this crate therefore calls
//! [`supervise_if_asked`] first thing in `main`.
//!
//! Isolation is what Docker gives a `RUN` by default: mount, PID, IPC, UTS and cgroup namespaces
//! (network, where asked for), a fresh `/proc`, a minimal `/dev`, a read-only `/sys`, Docker's
//! masked paths, its fourteen capabilities and its seccomp profile.
//!
//! Nothing of the image is reached by joining strings: every mount is attached to an open file
//! that the kernel resolved inside the root, or that belongs to a file system made here.

mod bare;
mod cancel;
mod cgroup;
mod detached;
mod devices;
mod error;
mod examination;
mod executable;
mod file_system;
mod format;
mod helper;
mod identity;
mod init;
mod kernel_views;
mod launch;
mod limits;
mod network;
mod output;
mod owners;
mod program;
mod run;
mod scratch;
mod seccomp;
mod spec;
mod standing;
mod supervisor;
mod sys;
mod wire;

pub use cancel::Cancel;
pub use error::RunError;
pub use examination::{Cause, Feature, Finding, examine, foretell};
pub use limits::{Limits, Resource, Ulimit, UnknownResource};
pub use network::{NetworkHelper, NetworkHelperKind, NoNetworkHelper};
pub use run::{Exit, Stream, run};
pub use spec::{
    DEFAULT_MOUNT_POINTS, Mount, MountSource, Network, RunSpec, Security, Stdin, User, mount_points,
};
pub use standing::{IdRange, Ids, Isolation, Mapping, NoStanding, Standing, SubordinateIds, take_standing};
pub use supervisor::supervise_if_asked;
