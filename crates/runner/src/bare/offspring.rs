//! Ends what a run left running: without a PID namespace, nothing ends by itself.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Kills all children of this process, to which orphans come as well, until there are none.
///
/// # Errors
/// As waitpid(2), and where `/proc` cannot be read.
pub(super) fn end(this: Pid) -> io::Result<()> {
    loop {
        for child in children(this)? {
            // It has not been waited for: the number is still its own.
            let _ = kill(child, Signal::SIGKILL);
        }
        match waitpid(None, Some(WaitPidFlag::empty())) {
            Err(Errno::ECHILD) => return Ok(()),
            Err(Errno::EINTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        while let Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) =
            waitpid(None, Some(WaitPidFlag::WNOHANG))
        {}
    }
}

fn children(of: Pid) -> io::Result<Vec<Pid>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // After the name, which may hold anything: the state, then the parent.
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse::<i32>().ok());
        if parent == Some(of.as_raw()) {
            children.push(Pid::from_raw(id));
        }
    }
    Ok(children)
}
