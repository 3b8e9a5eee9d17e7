//! Ends runs from another thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io;

/// Ends all runs that were given a clone of it, those that start later included.
#[derive(Debug, Clone)]
pub struct Cancel {
    /// Readable from [`Cancel::cancel`] on: nobody ever reads it.
    event: Arc<OwnedFd>,
}

impl Cancel {
    /// One that is not cancelled.
    ///
    /// # Errors
    /// As eventfd(2): no file descriptors left.
    pub fn new() -> std::io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { event: Arc::new(event) })
    }

    /// Ends the runs: SIGTERM, and SIGKILL half a second later. Returns at once.
    pub fn cancel(&self) {
        // The counter can only be full, and it is readable then.
        let _ = io::write(&*self.event, &1_u64.to_ne_bytes());
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        let mut fds = [PollFd::new(&*self.event, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for Cancel {
    /// Readable once it is cancelled; not to be read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
