//! `/proc` and `/sys` of a run, with what Docker hides and protects in them.
//!
//! The masks are attached to files that are opened from the mounts of `/proc` and `/sys` that were
//! made here, never from a path in the image: no link there can move them.
//!
//! Source: <https://github.com/moby/moby/blob/v28.3.0/oci/defaults.go>

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statfs};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::detached::Detached;
use crate::scratch::{Scratch, inert};
use crate::spec::Security;
use crate::wire::Failure;

const MASKED_IN_PROC: [&str; 10] = [
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
];
const READ_ONLY_IN_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// The scratch directory that masks directories.
const EMPTY: &str = "empty";

const MASKED_IN_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];

/// Source: linux/magic.h
const CGROUP2_MAGIC: u64 = 0x6367_7270;
const PROC_MAGIC: u64 = 0x9fa0;
const SYS_MAGIC: u64 = 0x6265_6572;

/// `/proc` and `/sys`, not attached yet.
#[derive(Debug)]
pub(crate) struct KernelViews {
    /// Shows the processes of the PID namespace that it is made in.
    pub(crate) proc: Detached,
    /// Shows the network interfaces of the network namespace that it is made in.
    pub(crate) sys: Detached,
    /// `/sys/fs/cgroup`, on hosts that have the unified hierarchy only.
    cgroup: Option<Detached>,
}

impl KernelViews {
    /// To be made while the host's `/proc` and `/sys` are still mounted: in a user namespace, the
    /// kernel asks for them.
    ///
    /// # Errors
    /// Says which could not be made.
    pub(crate) fn new(security: Security) -> Result<Self, Failure> {
        let proc = proc().map_err(|error| Failure::setup("mount /proc", error))?;
        let sys = sys(security).map_err(|error| Failure::setup("mount /sys", error))?;
        let cgroup = cgroup(security).map_err(|error| Failure::setup("mount /sys/fs/cgroup", error))?;
        Ok(Self { proc, sys, cgroup })
    }

    /// Attaches what belongs into `/proc` and `/sys`, once these are attached: `null` over the
    /// masked files, an empty directory over the masked directories.
    ///
    /// # Errors
    /// Says which path could not be protected.
    pub(crate) fn protect(
        &self,
        security: Security,
        null: &Detached,
        scratch: &Scratch,
    ) -> Result<(), Failure> {
        if let Some(cgroup) = &self.cgroup {
            inside(&self.sys, "fs/cgroup")
                .and_then(|target| target.map_or(Ok(()), |target| cgroup.attach(target.as_fd())))
                .map_err(|error| Failure::setup("mount /sys/fs/cgroup", error))?;
        }
        if security == Security::Insecure {
            return Ok(());
        }
        scratch.make_directory(EMPTY).map_err(|error| Failure::setup("make an empty directory", error))?;
        let mask = Mask { null, scratch };
        for path in MASKED_IN_PROC {
            mask.apply(&self.proc, path).map_err(|error| cannot_protect("proc", path, error))?;
        }
        for path in READ_ONLY_IN_PROC {
            make_read_only(&self.proc, path).map_err(|error| cannot_protect("proc", path, error))?;
        }
        for path in MASKED_IN_SYS {
            mask.apply(&self.sys, path).map_err(|error| cannot_protect("sys", path, error))?;
        }
        for cpu in 0_u32.. {
            let path = format!("devices/system/cpu/cpu{cpu}/thermal_throttle");
            if !mask.apply(&self.sys, &path).map_err(|error| cannot_protect("sys", &path, error))? {
                break;
            }
        }
        Ok(())
    }
}

fn cannot_protect(file_system: &str, path: &str, error: io::Error) -> Failure {
    Failure::setup(format!("protect /{file_system}/{path}"), error)
}

/// A new procfs; or the container's, where a user namespace may not see what that hides. Its `self` is
/// whoever looks, its numbers are the container's. Of what belongs to lbuild in it, a run's fewer
/// capabilities show nothing.
fn proc() -> io::Result<Detached> {
    match Detached::new("proc", &[], inert()) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
            let proc = Detached::bind_all(CWD, "/proc")?;
            proc.set_all(inert())?;
            Ok(proc)
        }
        result => result,
    }
}

/// A new sysfs, or the host's where a user namespace does not own the network namespace.
fn sys(security: Security) -> io::Result<Detached> {
    let attributes = inert() | read_only(security);
    match Detached::new("sysfs", &[], attributes) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => {
            let sys = Detached::bind_all(CWD, "/sys")?;
            sys.set_all(attributes)?;
            Ok(sys)
        }
        result => result,
    }
}

/// Where control groups of version 1 are mounted, the run sees none.
fn cgroup(security: Security) -> io::Result<Option<Detached>> {
    if !statfs("/sys/fs/cgroup").is_ok_and(|stat| magic(&stat) == CGROUP2_MAGIC) {
        return Ok(None);
    }
    match Detached::new("cgroup2", &[], inert() | read_only(security)) {
        // A user namespace that shares the control group namespace; or it is there with `sys`.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::PERM) => Ok(None),
        result => result.map(Some),
    }
}

fn read_only(security: Security) -> MountAttrFlags {
    match security {
        Security::Sandbox => MountAttrFlags::MOUNT_ATTR_RDONLY,
        Security::Insecure => MountAttrFlags::empty(),
    }
}

struct Mask<'a> {
    null: &'a Detached,
    scratch: &'a Scratch,
}

impl Mask<'_> {
    /// Returns whether there was anything to mask.
    fn apply(&self, mount: &Detached, path: &str) -> io::Result<bool> {
        let Some(target) = inside(mount, path)? else { return Ok(false) };
        let cover = match FileType::from_raw_mode(fstat(&target)?.st_mode) {
            FileType::Directory => {
                let empty = self.scratch.bind(EMPTY)?;
                empty.set(inert() | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
                empty
            }
            _ => Detached::bind(self.null, "")?,
        };
        cover.attach(target.as_fd())?;
        Ok(true)
    }
}

fn make_read_only(mount: &Detached, path: &str) -> io::Result<()> {
    let Some(target) = inside(mount, path)? else { return Ok(()) };
    let view = Detached::bind_all(&target, "")?;
    view.set_all(MountAttrFlags::MOUNT_ATTR_RDONLY)?;
    view.attach(target.as_fd())
}

/// Opens `path` below the root of `mount`, on that very mount; `None` if this kernel has no such
/// file, or if an outer container has mounted something over it, which a run cannot take away.
fn inside(mount: &Detached, path: &str) -> io::Result<Option<OwnedFd>> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    match openat2(mount, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::XDEV) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether `fd` is a file of the kernel's own, which nothing is to be mounted over.
///
/// # Errors
/// As fstatfs(2).
pub(crate) fn is_kernel_view(fd: &OwnedFd) -> io::Result<bool> {
    let magic = magic(&rustix::fs::fstatfs(fd)?);
    Ok(magic == PROC_MAGIC || magic == SYS_MAGIC || magic == CGROUP2_MAGIC)
}

/// The type of the field differs between architectures.
#[allow(clippy::unnecessary_cast, reason = "the field is an i64 on some architectures")]
fn magic(stat: &rustix::fs::StatFs) -> u64 {
    stat.f_type as u64
}
