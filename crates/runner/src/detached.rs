//! Mounts that are not attached anywhere yet.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};
use rustix::path::Arg;

use crate::sys;

/// A mount that no path leads to until it is attached. Its descriptor keeps naming it afterwards.
#[derive(Debug)]
pub(crate) struct Detached(OwnedFd);

impl Detached {
    /// Makes a file system of the type `name`.
    ///
    /// # Errors
    /// As fsopen(2), fsconfig(2) and fsmount(2).
    pub(crate) fn new(name: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<Self> {
        let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
        // What `mount` and `df` show for a device.
        fsconfig_set_string(&context, "source", name)?;
        for (key, value) in options {
            fsconfig_set_string(&context, *key, *value)?;
        }
        fsconfig_create(&context)?;
        Ok(Self(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?))
    }

    /// Mounts `path` in `directory` (or `directory` itself, for the empty path) once more, without
    /// the mounts below it.
    ///
    /// # Errors
    /// As open_tree(2).
    pub(crate) fn bind(directory: impl AsFd, path: impl Arg) -> io::Result<Self> {
        Self::open_tree(directory, path, OpenTreeFlags::empty())
    }

    /// As [`Detached::bind`], with the mounts below it.
    ///
    /// # Errors
    /// As open_tree(2).
    pub(crate) fn bind_all(directory: impl AsFd, path: impl Arg) -> io::Result<Self> {
        Self::open_tree(directory, path, OpenTreeFlags::AT_RECURSIVE)
    }

    fn open_tree(directory: impl AsFd, path: impl Arg, flags: OpenTreeFlags) -> io::Result<Self> {
        let flags = flags
            | OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW
            | OpenTreeFlags::AT_NO_AUTOMOUNT;
        Ok(Self(open_tree(directory.as_fd(), path, flags)?))
    }

    /// The tree at `fd`, which is a detached mount or belongs to this mount namespace. What is
    /// mounted in it later appears nowhere else, though most of a host's mounts are shared.
    ///
    /// # Errors
    /// As open_tree(2) and mount_setattr(2).
    pub(crate) fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let tree = match Self::bind(&fd, "") {
            // Before Linux 6.15, the kernel does not clone a detached mount: it is taken as it is.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Self(fd),
            result => result?,
        };
        sys::make_mount_private(tree.as_fd())?;
        Ok(tree)
    }

    /// Sets attributes on this mount only.
    ///
    /// # Errors
    /// As mount_setattr(2).
    pub(crate) fn set(&self, attributes: MountAttrFlags) -> io::Result<()> {
        sys::set_mount_attributes(self.0.as_fd(), attributes, false)
    }

    /// Sets attributes on this mount and those below it.
    ///
    /// # Errors
    /// As mount_setattr(2).
    pub(crate) fn set_all(&self, attributes: MountAttrFlags) -> io::Result<()> {
        sys::set_mount_attributes(self.0.as_fd(), attributes, true)
    }

    /// Attaches it over the file or directory `target`.
    ///
    /// # Errors
    /// As move_mount(2); `ENOTDIR` if one is a directory and the other is not.
    pub(crate) fn attach(&self, target: BorrowedFd<'_>) -> io::Result<()> {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        Ok(move_mount(&self.0, "", target, "", flags)?)
    }

    /// The descriptor that names it.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
