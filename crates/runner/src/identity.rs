//! Who a run's program is, and what the kernel lets it do.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use crate::spec::{Security, User};
use crate::sys;
use crate::wire::{Failure, Order};

/// What Docker leaves to the root user of a container.
///
/// Source: <https://github.com/moby/moby/blob/v28.3.0/oci/caps/defaults.go>
const DEFAULT_CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// With these a program gets out of a chroot, by another one or by a device.
const LEADING_OUT: CapabilitySet = CapabilitySet::SYS_CHROOT
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::SYS_MODULE)
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Gives up what the program is not to have, for good. `filter` holds the instructions of the system
/// call filter; none if there is to be none.
///
/// # Errors
/// Says what the kernel refused.
pub(crate) fn assume(order: &Order, filter: &[libc::sock_filter]) -> Result<(), Failure> {
    let permitted =
        capabilities(None).map_err(|error| Failure::setup("read the capabilities", error))?.permitted;
    let kept = match order.security {
        Security::Sandbox => DEFAULT_CAPABILITIES & permitted,
        Security::Insecure => permitted,
    };
    // What chroot alone keeps in could go out of it, or take over lbuild, which has more.
    let kept = if order.is_bare { kept - LEADING_OUT } else { kept };
    limit_bounding_set(kept).map_err(|error| Failure::setup("limit the capabilities", error))?;
    if order.no_new_privileges {
        set_no_new_privs(true).map_err(|error| Failure::setup("set no_new_privs", error))?;
    }
    // While there is the capability for it: programs keep the right to become another user.
    if !filter.is_empty() {
        sys::install_filter(filter)
            .map_err(|error| Failure::setup("install the system call filter", error))?;
    }
    become_user(&order.user).map_err(|error| Failure::setup("switch to the user", error))?;
    let kept = if order.user.uid == 0 { kept } else { CapabilitySet::empty() };
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(|error| Failure::setup("set the capabilities", error))?;
    clear_ambient_capability_set()
        .map_err(|error| Failure::setup("clear the ambient capabilities", error))?;
    // Changing the user took it away.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::setup("tie the program to lbuild", error))
}

/// Kernels know different numbers of capabilities; those that a kernel does not know are an error.
fn limit_bounding_set(kept: CapabilitySet) -> io::Result<()> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Err(rustix::io::Errno::INVAL) => break,
            result => result?,
        }
    }
    Ok(())
}

fn become_user(user: &User) -> io::Result<()> {
    // To the kernel this number means "as it is": whoever asked for it would stay root.
    if user.groups.iter().chain([&user.uid, &user.gid]).any(|&id| id == u32::MAX) {
        return Err(Errno::EINVAL.into());
    }
    let groups: Vec<_> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    match setgroups(&groups) {
        // A user namespace that an unprivileged user made alone: nobody in it has other groups.
        Err(Errno::EPERM) if fs::read("/proc/self/setgroups").is_ok_and(|rule| rule == b"deny\n") => {}
        result => result?,
    }
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)?;
    Ok(())
}
