//! lbuild's own program file, as a supervisor is started from it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::OnceLock;

use rustix::fs::CWD;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use crate::sys;

/// The program file through a read-only mount of its own.
///
/// A program in a run can have the kernel execute `/proc/self/exe`, and may then hold lbuild's file
/// open until nothing executes it any more. Through this mount it cannot be opened for writing.
///
/// # Errors
/// As open_tree(2): making mounts takes CAP_SYS_ADMIN.
pub(crate) fn read_only() -> io::Result<BorrowedFd<'static>> {
    static MOUNT: OnceLock<std::os::fd::OwnedFd> = OnceLock::new();
    if let Some(mount) = MOUNT.get() {
        return Ok(mount.as_fd());
    }
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, "/proc/self/exe", flags)?;
    sys::set_mount_attributes(mount.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY, false)?;
    Ok(MOUNT.get_or_init(|| mount).as_fd())
}
