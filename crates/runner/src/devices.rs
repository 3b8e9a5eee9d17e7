//! The `/dev` of a run.
//!
//! It is a file system in memory that the run cannot open device files on: whoever may make device
//! nodes there, as Docker's default capabilities allow, cannot use them. The usual devices are
//! mounts of their own, each of one node.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FileType, Mode, OFlags, makedev, mknodat, openat, symlinkat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::detached::Detached;
use crate::scratch::{Scratch, inert};
use crate::spec::Security;
use crate::wire::Failure;

pub(crate) type Node = (&'static str, FileType, u32, u32);

const CHARACTER: FileType = FileType::CharacterDevice;

/// What every run gets, with its numbers.
pub(crate) const NODES: [Node; 6] = [
    ("null", CHARACTER, 1, 3),
    ("zero", CHARACTER, 1, 5),
    ("full", CHARACTER, 1, 7),
    ("random", CHARACTER, 1, 8),
    ("urandom", CHARACTER, 1, 9),
    ("tty", CHARACTER, 5, 0),
];

/// What an insecure run gets as well, as from BuildKit.
const INSECURE_NODES: [Node; 13] = [
    ("kmsg", CHARACTER, 1, 11),
    ("cuse", CHARACTER, 10, 203),
    ("fuse", CHARACTER, 10, 229),
    ("kvm", CHARACTER, 10, 232),
    ("loop-control", CHARACTER, 10, 237),
    ("loop0", FileType::BlockDevice, 7, 0),
    ("loop1", FileType::BlockDevice, 7, 1),
    ("loop2", FileType::BlockDevice, 7, 2),
    ("loop3", FileType::BlockDevice, 7, 3),
    ("loop4", FileType::BlockDevice, 7, 4),
    ("loop5", FileType::BlockDevice, 7, 5),
    ("loop6", FileType::BlockDevice, 7, 6),
    ("loop7", FileType::BlockDevice, 7, 7),
];

pub(crate) const LINKS: [(&str, &str); 6] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
];

/// The group `tty` of nearly every distribution, which owns terminals.
const TTY_GROUP: &str = "5";

/// `/dev` with the mounts in it, none attached yet.
#[derive(Debug)]
pub(crate) struct Devices {
    directory: Detached,
    /// What belongs on the files and directories in it, by name; `/dev/null` first.
    inner: Vec<(&'static str, Detached)>,
}

impl Devices {
    /// # Errors
    /// Says which part could not be made.
    pub(crate) fn new(scratch: &Scratch, security: Security, shm_size: u64) -> Result<Self, Failure> {
        let setup = |error| Failure::setup("make /dev", error);
        scratch.make_directory("dev").map_err(setup)?;
        let directory = scratch.bind("dev").map_err(setup)?;
        let mut inner = Vec::with_capacity(NODES.len() + 3);
        for node in NODES {
            let device = make_node(scratch, node)
                .map_err(|error| Failure::setup(format!("make /dev/{}", node.0), error))?;
            inner.push((node.0, device));
        }
        for (name, target) in LINKS {
            symlinkat(target, &directory, name).map_err(|error| setup(error.into()))?;
        }
        for (name, mount) in [("pts", terminals()), ("shm", shared_memory(shm_size)), ("mqueue", queues())] {
            let mount = mount.map_err(|error| Failure::setup(format!("make /dev/{name}"), error))?;
            scratch.make_directory(&format!("dev/{name}")).map_err(setup)?;
            inner.push((name, mount));
        }
        match security {
            Security::Sandbox => directory.set(MountAttrFlags::MOUNT_ATTR_NODEV).map_err(setup)?,
            Security::Insecure => add_insecure_nodes(&directory).map_err(setup)?,
        }
        Ok(Self { directory, inner })
    }

    /// Attaches it all to the directory `target`, and returns the mount of `/dev/null`.
    ///
    /// # Errors
    /// Says which part could not be attached.
    pub(crate) fn attach(self, target: BorrowedFd<'_>) -> Result<Detached, Failure> {
        self.directory.attach(target).map_err(|error| Failure::setup("mount /dev", error))?;
        for (name, mount) in &self.inner {
            attach_inner(&self.directory, name, mount)
                .map_err(|error| Failure::setup(format!("mount /dev/{name}"), error))?;
        }
        let (_, null) =
            self.inner.into_iter().next().ok_or_else(|| Failure::setup("find /dev/null", Errno::NOENT))?;
        Ok(null)
    }
}

/// `directory` was made here, so that nothing in it is a surprise.
fn attach_inner(directory: &Detached, name: &str, mount: &Detached) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    mount.attach(openat(directory, name, flags, Mode::empty())?.as_fd())
}

/// Makes a node for `/dev` and returns a mount of it. Where making nodes is not permitted, in a user
/// namespace, it is the host's node.
fn make_node(scratch: &Scratch, (name, kind, major, minor): Node) -> io::Result<Detached> {
    let (path, mode) = (format!("dev/{name}"), Mode::from(0o666));
    match mknodat(scratch, &path, kind, mode, makedev(major, minor)) {
        Ok(()) => scratch.bind(&path),
        Err(Errno::PERM) => {
            mknodat(scratch, &path, FileType::RegularFile, mode, 0)?;
            Detached::bind(scratch.staging(), name)
        }
        Err(error) => Err(error.into()),
    }
}

/// In a user namespace, these devices would be of no use: they are left out.
fn add_insecure_nodes(directory: &Detached) -> io::Result<()> {
    for (name, kind, major, minor) in INSECURE_NODES {
        match mknodat(directory, name, kind, Mode::from(0o660), makedev(major, minor)) {
            Ok(()) => {}
            Err(Errno::PERM) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn terminals() -> io::Result<Detached> {
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [("ptmxmode", "0666"), ("mode", "0620"), ("gid", TTY_GROUP)];
    match Detached::new("devpts", &options, attributes) {
        // A user namespace that does not map that group.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => {
            Detached::new("devpts", &options[..2], attributes)
        }
        result => result,
    }
}

fn shared_memory(size: u64) -> io::Result<Detached> {
    Detached::new("tmpfs", &[("mode", "1777"), ("size", &size.to_string())], inert())
}

fn queues() -> io::Result<Detached> {
    Detached::new("mqueue", &[], inert())
}
