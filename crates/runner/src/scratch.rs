//! Files in memory that a run's mounts are cut from.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use lbuild_confined::Root;
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchmod, fchown, mkdirat, openat};
use rustix::mount::MountAttrFlags;

use crate::detached::Detached;

/// Where it is attached, for before Linux 6.15 only parts of an attached mount can be bound. Any
/// directory would do that is neither `/` nor a file system which the kernel wants to see unhidden
/// (proc, sysfs).
const STAGING: &str = "/dev";

/// A file system in memory, out of sight once the root has changed: of its files, a run sees those
/// that are mounted.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// The host's directory, under what is attached to it.
    staging: OwnedFd,
    files: Detached,
}

impl Scratch {
    /// Attaches it in this mount namespace, over [`STAGING`].
    ///
    /// # Errors
    /// As mount(2).
    pub(crate) fn new() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let staging = openat(CWD, STAGING, flags, Mode::empty())?;
        let options = [("mode", "700"), ("size", "65536k")];
        let files = Detached::new("tmpfs", &options, MountAttrFlags::MOUNT_ATTR_NOSUID)?;
        files.attach(staging.as_fd())?;
        Ok(Self { staging, files })
    }

    /// The host's `/dev`; what is attached here comes to lie over the scratch files.
    pub(crate) fn staging(&self) -> BorrowedFd<'_> {
        self.staging.as_fd()
    }

    /// Makes the directory `path`.
    ///
    /// # Errors
    /// As mkdir(2).
    pub(crate) fn make_directory(&self, path: &str) -> io::Result<()> {
        Ok(mkdirat(&self.files, path, Mode::from(0o755))?)
    }

    /// Makes the file `path` and returns a mount of it, which can be executed if `mode` says so: a
    /// script in a heredoc is.
    ///
    /// # Errors
    /// As open(2), write(2) and chown(2).
    pub(crate) fn file(
        &self,
        path: &str,
        content: &[u8],
        mode: u32,
        owner: (u32, u32),
    ) -> io::Result<Detached> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.files, path, flags, Mode::from(0o600))?);
        file.write_all(content)?;
        if owner != (0, 0) {
            fchown(&file, Some(Uid::from_raw(owner.0)), Some(Gid::from_raw(owner.1)))?;
        }
        fchmod(&file, Mode::from(mode))?;
        let mount = self.bind(path)?;
        let is_executable = mode & 0o111 != 0;
        mount.set(if is_executable { inert() - MountAttrFlags::MOUNT_ATTR_NOEXEC } else { inert() })?;
        Ok(mount)
    }

    /// A mount of what `part` leads to inside `tree`, which is attached to the new directory `path`.
    ///
    /// # Errors
    /// As mkdir(2), move_mount(2), openat2(2) and open_tree(2).
    pub(crate) fn part(&self, path: &str, tree: Detached, part: &Path) -> io::Result<Detached> {
        self.make_directory(path)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        tree.attach(openat(&self.files, path, flags, Mode::empty())?.as_fd())?;
        let source = Root::from_fd(tree.into_fd()).open_at(part, OFlags::PATH, Mode::empty())?;
        Detached::bind(source, "")
    }

    /// A mount of what is at `path`.
    ///
    /// # Errors
    /// As open_tree(2).
    pub(crate) fn bind(&self, path: &str) -> io::Result<Detached> {
        Detached::bind(&self.files, path)
    }
}

impl AsFd for Scratch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.files.as_fd()
    }
}

/// Neither devices nor programs, and no set-user-ID either.
pub(crate) fn inert() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC
}
