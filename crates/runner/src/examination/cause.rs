//! What forbids something, and the command that mends it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;

use crate::helper;
use crate::wire::reason;

/// What forbids something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The setting, or the fact.
    pub what: String,
    /// What to do; empty where nothing has to be done.
    pub mend: String,
}

impl Cause {
    fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what: what.into(), mend: mend.into() }
    }
}

/// Source: linux/magic.h
const OVERLAY_MAGIC: u64 = 0x794c_7630;

pub(super) fn of_old_kernel(error: &io::Error) -> Cause {
    match seccomp() {
        Some(cause) if Errno::from_io_error(error) == Some(Errno::PERM) => cause,
        _ => Cause::new("the kernel is older than Linux 5.6", "use a newer kernel"),
    }
}

pub(super) fn of_no_namespace(error: &io::Error) -> Cause {
    for (setting, value, enough) in
        [("user.max_user_namespaces", "0", "15000"), ("kernel.unprivileged_userns_clone", "0", "1")]
    {
        if sysctl(setting).as_deref() == Some(value) {
            return Cause::new(format!("{setting} = {value}"), format!("sudo sysctl -w {setting}={enough}"));
        }
    }
    if Errno::from_io_error(error) == Some(Errno::NOSPC) {
        let what = "as many user namespaces as user.max_user_namespaces allows, or 33 within each other";
        return Cause::new(what, "sudo sysctl -w user.max_user_namespaces=15000");
    }
    seccomp().unwrap_or_else(of_security_module)
}

pub(super) fn of_no_mounts(error: &io::Error) -> Cause {
    let setting = "kernel.apparmor_restrict_unprivileged_userns";
    if sysctl(setting).as_deref() == Some("1") {
        return Cause::new(format!("{setting} = 1 (AppArmor)"), format!("sudo sysctl -w {setting}=0"));
    }
    if Errno::from_io_error(error) == Some(Errno::NOSYS) {
        return Cause::new("the kernel is older than Linux 5.2, or lies about it", "use a newer kernel");
    }
    if let Some(profile) = profile() {
        let mend =
            "docker run --security-opt apparmor=unconfined … (Kubernetes: appArmorProfile type Unconfined)";
        return Cause::new(format!("the AppArmor profile {profile}"), mend);
    }
    seccomp().unwrap_or_else(of_security_module)
}

pub(super) fn of_no_listener(error: &io::Error) -> Cause {
    match Errno::from_io_error(error) {
        Some(Errno::BUSY) => {
            Cause::new("another program already answers for this process's system calls", "")
        }
        Some(Errno::INVAL | Errno::NOSYS) => {
            Cause::new("the kernel is older than Linux 5.5 or has no seccomp", "use a newer kernel")
        }
        _ => seccomp().unwrap_or_else(of_security_module),
    }
}

pub(super) fn of_masked_proc() -> Cause {
    let mend = "docker run --security-opt systempaths=unconfined … (Kubernetes: procMount: Unmasked)";
    Cause::new("an outer container hides parts of /proc", mend)
}

pub(super) fn of_no_overlay(error: &io::Error, store: &Path) -> Cause {
    let place = store.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    if rustix::fs::statfs(place).is_ok_and(|stat| stat.f_type as u64 == OVERLAY_MAGIC) {
        let mend = "put the store on a volume: docker run --volume lbuild:/var/lib/lbuild …";
        return Cause::new(format!("{} lies on an overlay itself", place.display()), mend);
    }
    match Errno::from_io_error(error) {
        Some(Errno::NODEV) => Cause::new("the kernel has no overlayfs", "sudo modprobe overlay"),
        Some(Errno::PERM) => Cause::new(
            "the kernel is older than Linux 5.11, and gives overlays to no user namespace",
            "use a newer kernel",
        ),
        _ => Cause::new(
            format!("the file system of {} can hold no upper directory: {}", place.display(), reason(error)),
            "put the store on ext4, xfs, btrfs or tmpfs with --root",
        ),
    }
}

pub(super) fn of_no_ids(user: u32) -> Cause {
    let missing = format!("/etc/subuid and /etc/subgid grant user {user} nothing");
    let mend = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER";
    Cause::new(missing, mend)
}

/// `None` if both are there and may do what they are for.
pub(super) fn of_id_programs() -> Option<Cause> {
    ["newuidmap", "newgidmap"].into_iter().find_map(|name| {
        let Some(program) = helper::find(name) else {
            return Some(Cause::new(format!("{name} is not in PATH"), "sudo apt-get install uidmap"));
        };
        let mode = fs::metadata(&program).map(|found| found.permissions().mode()).unwrap_or_default();
        let has_capability = rustix::fs::getxattr(&program, "security.capability", &mut [0_u8; 64][..]).is_ok();
        if mode & 0o4000 == 0 && !has_capability {
            let path = program.display();
            return Some(Cause::new(format!("{path} is not setuid"), format!("sudo chmod u+s {path}")));
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let is_limited = status.lines().any(|line| line.split_whitespace().eq(["NoNewPrivs:", "1"]));
        is_limited.then(|| {
            let mend = "docker run without --security-opt no-new-privileges (Kubernetes: allowPrivilegeEscalation: true)";
            Cause::new(format!("no_new_privs is set, so that {name} has no rights"), mend)
        })
    })
}

pub(super) fn of_no_group() -> Cause {
    // Version 2, and the hierarchies of version 1.
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/pids", "/sys/fs/cgroup/memory"];
    if let Some(mount) = mounts.into_iter().find(|mount| is_read_only(mount)) {
        let mend = "limit the container: docker run --memory … (Kubernetes: resources.limits)";
        return Cause::new(format!("{mount} is read-only, as in a container"), mend);
    }
    let mend = "systemd-run --user --scope --property=Delegate=yes lbuild …";
    Cause::new("no control group is delegated to this user", mend)
}

pub(super) fn of_no_fuse() -> Cause {
    Cause::new("there is no /dev/fuse", "")
}

fn is_read_only(mount: &str) -> bool {
    statvfs(mount).is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY))
}

fn seccomp() -> Option<Cause> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let is_filtered = status.lines().any(|line| line.split_whitespace().eq(["Seccomp:", "2"]));
    let mend = "docker run --security-opt seccomp=unconfined … (Kubernetes: seccompProfile type Unconfined, or \
                Localhost with a profile that allows user namespaces)";
    is_filtered.then(|| Cause::new("a seccomp filter, as Docker's and Kubernetes' default profiles", mend))
}

fn of_security_module() -> Cause {
    let modules = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let named = if modules.trim().is_empty() { String::new() } else { format!(" ({})", modules.trim()) };
    Cause::new(
        format!("a security module{named}, a chroot, or missing capabilities"),
        "see the kernel's log: sudo dmesg | tail",
    )
}

/// The AppArmor profile that this process is confined by.
fn profile() -> Option<String> {
    enforced(&fs::read_to_string("/proc/self/attr/current").ok()?)
}

/// The profile that `/proc/self/attr/current` tells, if it forbids anything.
fn enforced(profile: &str) -> Option<String> {
    let profile = profile.trim_matches(['\0', '\n']).trim();
    (profile.ends_with("(enforce)")).then(|| profile.to_owned())
}

fn sysctl(name: &str) -> Option<String> {
    let value = fs::read_to_string(Path::new("/proc/sys").join(name.replace('.', "/"))).ok()?;
    Some(value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_that_only_complains_forbids_nothing() {
        for (text, expected) in [
            ("docker-default (enforce)\n", Some("docker-default (enforce)")),
            ("docker-default (enforce)\0", Some("docker-default (enforce)")),
            ("docker-default (complain)\n", None),
            ("unconfined\n", None),
            ("", None),
        ] {
            assert_eq!(enforced(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn what_forbids_an_overlay_is_told_by_its_error() {
        let store = tempfile::tempdir().unwrap();
        for (errno, what, mend) in [
            (Errno::NODEV, "no overlayfs", "modprobe overlay"),
            (Errno::PERM, "older than Linux 5.11", "newer kernel"),
            (Errno::INVAL, "can hold no upper directory", "--root"),
        ] {
            let cause = of_no_overlay(&errno.into(), &store.path().join("not/yet/made"));
            assert!(cause.what.contains(what), "{cause:?}");
            assert!(cause.mend.contains(mend), "{cause:?}");
        }
    }

    #[test]
    fn too_many_namespaces_are_told_apart_from_none() {
        let cause = of_no_namespace(&Errno::NOSPC.into());
        assert!(cause.what.contains("user.max_user_namespaces"), "{cause:?}");
    }
}
