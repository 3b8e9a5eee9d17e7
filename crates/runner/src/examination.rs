//! Tries what builds need of the kernel, and finds out what forbids it.
//!
//! Every attempt is made by a child process, so that nothing of it stays. What forbids something is
//! told by the settings that would: the kernel itself only says "not permitted".

mod cause;

use std::io;
use std::path::Path;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::process::geteuid;

pub use cause::Cause;

use crate::cgroup::Cgroup;
use crate::detached::Detached;
use crate::limits::Limits;
use crate::owners;
use crate::scratch::inert;
use crate::standing::{self, Isolation, Mapping, Standing, SubordinateIds, in_child, probe_mounts};

/// What a build may need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// `openat2`, by which every path inside a root is resolved.
    ConfinedPaths,
    /// A user namespace.
    UserNamespace,
    /// Mounts in it.
    Mounts,
    /// More than one id in it: subordinate ids.
    SubordinateIds,
    /// The programs that give them.
    IdPrograms,
    /// Owners that are remembered where there is one id only.
    NotedOwners,
    /// A `/proc` of a RUN's own.
    Proc,
    /// An overlay on the disk of the store.
    Overlay,
    /// A control group of a RUN's own.
    ControlGroup,
    /// `/dev/fuse`.
    Fuse,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What was tried.
    pub feature: Feature,
    /// What forbids it; `None` if it works.
    pub cause: Option<Cause>,
}

/// How this process would run builds; `None` if not at all.
pub fn foretell() -> Option<Standing> {
    const ALL: [Standing; 4] = [Standing::Root, Standing::ManyIds, Standing::SingleId, Standing::Bare];
    let found = in_child(|| {
        let standing = standing::find(Isolation::Auto).map_err(|_| io::Error::from(Errno::PERM))?;
        let place = ALL.iter().position(|other| *other == standing).unwrap_or_default();
        Err::<(), _>(io::Error::from_raw_os_error(FIRST_STANDING + place as i32))
    });
    let code = found.err()?.raw_os_error()?;
    ALL.get(usize::try_from(code - FIRST_STANDING).ok()?).copied()
}

/// Beyond the numbers of the kernel's errors.
const FIRST_STANDING: i32 = 200;

/// Tries every feature; `mount_overlay` tries an overlay with marks in `user.*` on the store's disk.
///
/// To be called before there are threads.
pub fn examine(store: &Path, mount_overlay: &dyn Fn() -> io::Result<()>) -> Vec<Finding> {
    let is_root = geteuid().is_root();
    let has_namespace = in_child(|| Mapping::Single.enter());
    let mut findings = vec![
        finding(Feature::ConfinedPaths, in_child(try_openat2), cause::of_old_kernel),
        finding(Feature::UserNamespace, clone(&has_namespace), cause::of_no_namespace),
    ];
    if has_namespace.is_ok() {
        let inside =
            |work: &dyn Fn() -> io::Result<()>| in_child(|| Mapping::Single.enter().and_then(|_| work()));
        let mounts = inside(&probe_mounts);
        let has_mounts = mounts.is_ok();
        findings.push(finding(Feature::Mounts, mounts, cause::of_no_mounts));
        findings.push(finding(Feature::NotedOwners, inside(&owners::start), cause::of_no_listener));
        if has_mounts {
            findings.push(finding(Feature::Proc, inside(&try_proc), |_| cause::of_masked_proc()));
            let overlay = inside(mount_overlay);
            findings.push(finding(Feature::Overlay, overlay, |error| cause::of_no_overlay(error, store)));
        }
    }
    if !is_root {
        let user = geteuid().as_raw();
        let granted = SubordinateIds::of(user).is_complete();
        let granted = if granted { Ok(()) } else { Err(Errno::NOENT.into()) };
        findings.push(finding(Feature::SubordinateIds, granted, |_| cause::of_no_ids(user)));
        findings.push(Finding { feature: Feature::IdPrograms, cause: cause::of_id_programs() });
    }
    let limits = Limits { pids: Some(1000), ..Limits::default() };
    let group = in_child(|| Cgroup::create(&limits).map_err(|_| io::Error::from(Errno::ACCESS)));
    findings.push(finding(Feature::ControlGroup, group, |_| cause::of_no_group()));
    findings.push(finding(Feature::Fuse, try_fuse(), |_| cause::of_no_fuse()));
    findings
}

fn finding(feature: Feature, tried: io::Result<()>, cause: impl FnOnce(&io::Error) -> Cause) -> Finding {
    Finding { feature, cause: tried.err().map(|error| cause(&error)) }
}

fn clone(result: &io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

fn try_openat2() -> io::Result<()> {
    let root = lbuild_confined::Root::open("/")?;
    root.open_at("/", OFlags::PATH, rustix::fs::Mode::empty()).map(drop)
}

fn try_proc() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWPID)?;
    in_child(|| Detached::new("proc", &[], inert()))
}

fn try_fuse() -> io::Result<()> {
    let stat = rustix::fs::stat("/dev/fuse")?;
    let is_fuse = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (10, 229);
    if is_fuse { Ok(()) } else { Err(Errno::NODEV.into()) }
}
