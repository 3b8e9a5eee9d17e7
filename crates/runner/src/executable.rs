//! lbuild's own program file, as a supervisor is started from it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fstat, memfd_create, open, stat};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags, open_tree};

use crate::{standing, sys};

const OWN: &str = "/proc/self/exe";

/// The program file through a read-only mount of its own, or a sealed copy in memory where that
/// cannot be had.
///
/// A program in a run can have the kernel execute `/proc/self/exe`, and may then hold lbuild's file
/// open until nothing executes it any more. So it is one that cannot be opened for writing.
///
/// # Errors
/// As open(2) and memfd_create(2).
pub(crate) fn read_only() -> io::Result<BorrowedFd<'static>> {
    static PROGRAM: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(program) = PROGRAM.get() {
        return Ok(program.as_fd());
    }
    let mounted = if standing::current().has_namespaces() { mount() } else { Err(Errno::PERM.into()) };
    let program = mounted.or_else(|_| copy())?;
    Ok(PROGRAM.get_or_init(|| program).as_fd())
}

fn mount() -> io::Result<OwnedFd> {
    // The link leads to the mount namespace that this process began in, of which nothing can be cloned
    // in another one; its path leads to the same file here, or is not used.
    let found = open(fs::read_link(OWN)?, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let (own, here) = (stat(OWN)?, fstat(&found)?);
    if (own.st_dev, own.st_ino) != (here.st_dev, here.st_ino) {
        return Err(Errno::NOENT.into());
    }
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let mount = open_tree(found, "", flags)?;
    sys::set_mount_attributes(mount.as_fd(), MountAttrFlags::MOUNT_ATTR_RDONLY, false)?;
    Ok(mount)
}

fn copy() -> io::Result<OwnedFd> {
    let memory = memfd_create("lbuild", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut memory = File::from(memory);
    io::copy(&mut File::open(OWN)?, &mut memory)?;
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(memory.into())
}
