//! The upper and work directories of a step.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Gid, Mode, Stat, Uid};

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
    /// In memory, where the store's disk cannot hold an upper directory. The mount lives as long as
    /// the directories in it are open.
    Memory { _staging: Arc<Staging> },
}

impl Workspace {
    /// Makes empty directories whose root has the owner, mode and time of `like`.
    pub fn new(staging: &Arc<Staging>, is_nested: bool, like: &Stat) -> Result<Self, StoreError> {
        let (upper, work, home) = if is_nested {
            let (upper, work) = in_memory(staging.path())?;
            (upper, work, Home::Memory { _staging: Arc::clone(staging) })
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
            Home::Memory { .. } => Finished::InMemory(self.upper),
        }
    }
}

/// The upper directory of a step that ended.
pub(crate) enum Finished {
    /// It becomes the snapshot.
    OnDisk(Scratch),
    /// It must be copied.
    InMemory(OwnedFd),
}

fn in_memory(place: &Path) -> Result<(OwnedFd, OwnedFd), StoreError> {
    let mount = overlay::mount_memory(place)?;
    let make = |name: &std::ffi::CStr| {
        rustix::fs::mkdirat(&mount, name, Mode::from_raw_mode(0o755))
            .on("create", "a directory in memory")?;
        let opened = directory::open_at(&mount, name).on("open", "a directory in memory")?;
        opened.ok_or(rustix::io::Errno::NOENT).on("open", "a directory in memory")
    };
    Ok((make(c"upper")?, make(c"work")?))
}
