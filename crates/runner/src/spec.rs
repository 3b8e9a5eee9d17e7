//! What to run, and what it sees.

use std::ffi::OsString;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use lbuild_confined::Root;
use rustix::fs::{FileType, Stat, fstat};
use serde::{Deserialize, Serialize};

use crate::limits::{Limits, Ulimit};
use crate::network::NetworkHelper;

/// The places in a root that every run mounts something on, and whether each is a directory.
pub const DEFAULT_MOUNT_POINTS: [(&str, bool); 5] =
    [("/dev", true), ("/proc", true), ("/sys", true), ("/etc/hosts", false), ("/etc/resolv.conf", false)];

/// One process, its root file system and its surroundings.
pub struct RunSpec {
    /// The root file system: a detached mount (as fsmount(2) returns it), or a directory, which is
    /// then mounted without the mounts below it. A detached mount is used up by the run.
    pub root: OwnedFd,
    /// The program and its arguments. A program without a `/` is looked for in the `PATH` of `env`,
    /// inside the root.
    pub args: Vec<OsString>,
    /// The whole environment, in order.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory inside the root; it must exist.
    pub cwd: PathBuf,
    /// Whom the program runs as.
    pub user: User,
    /// The host name that it sees.
    pub hostname: String,
    /// The network that it sees.
    pub network: Network,
    /// How far it is confined.
    pub security: Security,
    /// Mounts beyond the default ones, made in this order after them.
    pub mounts: Vec<Mount>,
    /// The content of `/etc/hosts`: a private file that leaves no trace in the root.
    pub hosts: Vec<u8>,
    /// The content of `/etc/resolv.conf`: a private file that leaves no trace in the root.
    pub resolv_conf: Vec<u8>,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: u64,
    /// Resource limits beyond the default one (1024 open files, at most 524288).
    pub ulimits: Vec<Ulimit>,
    /// What the run may use up, by a control group of its own.
    pub limits: Limits,
    /// Whether set-user-ID programs and file capabilities lose their effect.
    pub no_new_privileges: bool,
    /// Where standard input comes from.
    pub stdin: Stdin,
}

impl fmt::Debug for RunSpec {
    /// Shows the names of variables and not their values: a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        f.debug_struct("RunSpec")
            .field("args", &self.args)
            .field("env", &variables)
            .field("cwd", &self.cwd)
            .field("user", &self.user)
            .field("network", &self.network)
            .field("security", &self.security)
            .field("mounts", &self.mounts)
            .finish_non_exhaustive()
    }
}

/// Numeric ids of a user: names are looked up by the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary group ids.
    pub groups: Vec<u32>,
}

/// The network that a run sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The network of lbuild itself.
    Host,
    /// A network namespace of its own that holds the loopback interface only.
    None,
    /// One of its own that a program connects.
    Through(NetworkHelper),
}

/// How far a run is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Security {
    /// Docker's default capabilities, seccomp profile and masked paths; no device but the usual.
    Sandbox,
    /// All the capabilities that lbuild has, no seccomp filter, nothing masked nor read-only.
    Insecure,
}

/// Something mounted into the root.
#[derive(Debug)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Where: a path that is resolved inside the root, symbolic links included, and must exist.
    pub target: PathBuf,
    /// Whether writing fails with `EROFS`.
    pub read_only: bool,
}

/// What a [`Mount`] shows.
pub enum MountSource {
    /// An open directory, file or socket (`O_PATH` is enough), without the mounts below it.
    Tree(OwnedFd),
    /// What `path` leads to inside an open directory, such as a detached mount, links followed there.
    /// Before Linux 6.15, nothing else can be mounted of a detached mount than all of it.
    TreeAt {
        /// The directory. A detached mount is used up by the run.
        root: OwnedFd,
        /// From the directory; an absolute path means the same.
        path: PathBuf,
    },
    /// An empty directory in memory.
    Tmpfs {
        /// Its size in bytes; half of the memory if not given.
        size: Option<u64>,
        /// Its permissions, such as 0o1777.
        mode: u32,
    },
    /// A file in memory that only this run sees, such as a secret.
    File {
        /// What it holds.
        content: Vec<u8>,
        /// Its permissions, such as 0o400.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
}

impl fmt::Debug for MountSource {
    /// Never shows a file's content: it may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tree(tree) => f.debug_tuple("Tree").field(tree).finish(),
            Self::TreeAt { root, path } => {
                f.debug_struct("TreeAt").field("root", root).field("path", path).finish()
            }
            Self::Tmpfs { size, mode } => {
                f.debug_struct("Tmpfs").field("size", size).field("mode", mode).finish()
            }
            Self::File { mode, uid, gid, .. } => {
                let mut file = f.debug_struct("File");
                file.field("mode", mode).field("uid", uid).field("gid", gid).finish_non_exhaustive()
            }
        }
    }
}

impl MountSource {
    /// Whether the place that it is mounted on is a directory.
    pub fn is_directory(&self) -> bool {
        match self {
            Self::Tree(fd) => fstat(fd).is_ok_and(|stat| is_directory(&stat)),
            Self::TreeAt { root, path } => {
                let root = root.try_clone().map(Root::from_fd);
                root.and_then(|root| root.stat(path)).is_ok_and(|stat| is_directory(&stat))
            }
            Self::Tmpfs { .. } => true,
            Self::File { .. } => false,
        }
    }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Where a run's standard input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// lbuild's own, and its standard output and error with it: for a shell at the terminal, which
    /// stays in lbuild's session and process group.
    Inherit,
}

/// The paths that must exist in the root before a run of `spec`, and whether each is a directory.
///
/// The caller provides the missing ones, and removes their traces from the layer.
pub fn mount_points(spec: &RunSpec) -> Vec<(PathBuf, bool)> {
    let default = DEFAULT_MOUNT_POINTS.iter().map(|&(path, is_dir)| (Path::new(path).to_owned(), is_dir));
    let own = spec.mounts.iter().map(|mount| (mount.target.clone(), mount.source.is_directory()));
    default.chain(own).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        let content = b"hunter2".to_vec();
        let source = MountSource::File { content, mode: 0o400, uid: 0, gid: 0 };
        let mount = Mount { source, target: "/t".into(), read_only: true };
        let shown = format!("{mount:?} {:?}", crate::wire::Bytes(b"hunter2".to_vec()));
        assert!(!shown.contains("hunter2") && !shown.contains("104, 117"), "{shown}");
        assert!(shown.contains("256") && shown.contains("7 bytes"), "{shown}");
    }
}
