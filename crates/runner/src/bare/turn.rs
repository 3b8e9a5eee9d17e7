//! One run at a time: two of them at once would lead each other out of their roots.
//!
//! chroot(2) keeps a process in only as long as it has no directory from elsewhere open. A run that hands
//! one of its own to another run, by a socket or since that one may trace it, is all that takes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, Mode, OFlags, flock, open};
use rustix::io::Errno;

/// What all runs of a container have in common, whichever store they belong to, and none of them reaches.
const SHARED: &str = "/";

/// How often it is looked whether the others are over, in nanoseconds.
const SLICE: i64 = 10_000_000;

/// The right to run, which ends with it.
#[derive(Debug)]
pub(crate) struct Turn {
    _lock: OwnedFd,
}

impl Turn {
    /// Waits until no other run has it; `None` as soon as `cancelled` is readable.
    ///
    /// # Errors
    /// As open(2) and flock(2).
    pub(crate) fn take(cancelled: &impl AsFd) -> io::Result<Option<Self>> {
        Self::take_of(SHARED, cancelled)
    }

    fn take_of(shared: &str, cancelled: &impl AsFd) -> io::Result<Option<Self>> {
        let lock = open(shared, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(Self { _lock: lock })),
                Err(Errno::WOULDBLOCK | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let mut waiting = [PollFd::new(cancelled, PollFlags::IN)];
            match poll(&mut waiting, Some(&Timespec { tv_sec: 0, tv_nsec: SLICE })) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cancel;

    #[test]
    fn a_run_has_its_turn_alone() {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().to_str().unwrap();
        let (never, at_once) = (Cancel::new().unwrap(), Cancel::new().unwrap());
        at_once.cancel();
        let first = Turn::take_of(shared, &never).unwrap();
        assert!(first.is_some());
        assert!(Turn::take_of(shared, &at_once).unwrap().is_none());
        drop(first);
        assert!(Turn::take_of(shared, &never).unwrap().is_some());
    }
}
