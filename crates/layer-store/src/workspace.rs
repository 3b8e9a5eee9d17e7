//! The upper and work directories of a step.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Gid, Mode, Stat, Uid};
use rustix::io::Errno;

use crate::StoreError;
use crate::error::OnPath;
use crate::staging::{Scratch, Staging};
use crate::{directory, overlay};

/// Where a step's changes go.
#[derive(Debug)]
pub(crate) struct Workspace {
    upper: OwnedFd,
    work: OwnedFd,
    home: Home,
    /// What the upper directory's root began as.
    stat: Stat,
}

/// What goes away with a workspace.
#[derive(Debug)]
enum Home {
    /// On the store's disk: the upper directory becomes the snapshot.
    Disk { upper: Scratch, _work: Scratch },
    /// In memory, where the store's disk cannot hold an upper directory.
    Memory { _mount: OwnedFd, _staging: Arc<Staging> },
}

impl Workspace {
    /// Makes empty directories whose root has the owner, mode and time of `like`.
    pub fn new(staging: &Arc<Staging>, is_nested: bool, like: &Stat) -> Result<Self, StoreError> {
        let (upper, work, home) = if is_nested {
            let mount = overlay::mount_memory(staging.path())?;
            let (upper, work) = (make_in(&mount, c"upper")?, make_in(&mount, c"work")?);
            (upper, work, Home::Memory { _mount: mount, _staging: Arc::clone(staging) })
        } else {
            let (upper, work) = (staging.directory()?, staging.directory()?);
            let open = |scratch: &Scratch| directory::open(scratch.path()).on("open", scratch.path());
            (open(&upper)?, open(&work)?, Home::Disk { upper, _work: work })
        };
        let workspace = Self { upper, work, home, stat: *like };
        workspace.restore_root()?;
        Ok(workspace)
    }

    pub fn upper(&self) -> BorrowedFd<'_> {
        self.upper.as_fd()
    }

    pub fn work(&self) -> BorrowedFd<'_> {
        self.work.as_fd()
    }

    /// Gives the upper directory's root its first owner, mode and time again: a layer cannot change
    /// those of an image's root, so its snapshot must not either.
    pub fn restore_root(&self) -> Result<(), StoreError> {
        let stat = &self.stat;
        let now = rustix::fs::fstat(&self.upper).on("read", "the upper directory")?;
        if (now.st_uid, now.st_gid) != (stat.st_uid, stat.st_gid) {
            let (owner, group) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            rustix::fs::fchown(&self.upper, Some(owner), Some(group)).on("change", "the upper directory")?;
        }
        if now.st_mode != stat.st_mode {
            let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
            rustix::fs::fchmod(&self.upper, mode).on("change", "the upper directory")?;
        }
        directory::restore_times(&self.upper, stat).on("change", "the upper directory")
    }

    /// Ends the step: the work directory goes away.
    pub fn finish(self) -> Finished {
        match self.home {
            Home::Disk { upper, .. } => Finished::OnDisk(upper),
            Home::Memory { _mount: mount, .. } => Finished::InMemory { upper: self.upper, _mount: mount },
        }
    }
}

/// The upper directory of a step that ended.
pub(crate) enum Finished {
    /// It becomes the snapshot.
    OnDisk(Scratch),
    /// It must be copied.
    InMemory { upper: OwnedFd, _mount: OwnedFd },
}

fn make_in(mount: &OwnedFd, name: &CStr) -> Result<OwnedFd, StoreError> {
    let made = rustix::fs::mkdirat(mount, name, Mode::from_raw_mode(0o755));
    let opened = made.and_then(|()| directory::open_at(mount, name));
    opened.and_then(|opened| opened.ok_or(Errno::NOENT)).on("create", "a directory in memory")
}
