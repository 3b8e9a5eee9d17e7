//! Which ids of this machine a new user namespace has.
//!
//! Source: user_namespaces(7), newuidmap(1)

use std::fs;
use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, unshare};
use nix::sys::wait::{WaitStatus, waitpid};
use rustix::process::{getegid, geteuid};
use rustix::thread::CapabilitySet;

use super::has;
use super::ids::{self, IdRange, Ids, SubordinateIds};
use crate::sys;

/// How a user namespace gets its ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mapping {
    /// All that exist here, as they are: this is root that may be anybody.
    Identity,
    /// 0 is this user, and from 1 on there are the ids that it was granted.
    Subordinate(SubordinateIds),
    /// 0 is this user.
    Single,
}

impl Mapping {
    /// The one with the most ids that this process may make.
    pub fn best() -> Self {
        let may_be_anybody = CapabilitySet::SETUID | CapabilitySet::SETGID | CapabilitySet::SETFCAP;
        if geteuid().is_root() && has(may_be_anybody) {
            return Self::Identity;
        }
        let granted = SubordinateIds::of(geteuid().as_raw());
        if granted.is_complete() { Self::Subordinate(granted) } else { Self::Single }
    }

    /// Enters a new user namespace and a mount namespace. Where the ids cannot be had, it is one with
    /// a single id.
    ///
    /// # Errors
    /// As unshare(2): the kernel, or who confined this process, allows no user namespace.
    pub(crate) fn enter(&self) -> io::Result<Ids> {
        let (user, group) = (geteuid().as_raw(), getegid().as_raw());
        let mapped = match self {
            Self::Single => {
                enter_namespaces()?;
                false
            }
            _ => self.enter_with_helper(user, group)?,
        };
        if mapped {
            return Ok(Ids::Many);
        }
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
        fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
        Ok(Ids::Single)
    }

    /// The ids are given by a process that stays outside. Returns whether they were.
    fn enter_with_helper(&self, user: u32, group: u32) -> io::Result<bool> {
        let (mut entered, mut enter) = io::pipe()?;
        let process = std::process::id();
        let Some(helper) = sys::fork()? else {
            drop(enter);
            let is_entered = entered.read(&mut [0]).is_ok_and(|count| count == 1);
            let is_mapped = is_entered && self.give(process, user, group).is_ok();
            std::process::exit(i32::from(!is_mapped));
        };
        drop(entered);
        let unshared = enter_namespaces();
        if unshared.is_ok() {
            enter.write_all(&[1])?;
        }
        drop(enter);
        let status = waitpid(helper, None)?;
        unshared?;
        Ok(matches!(status, WaitStatus::Exited(_, 0)))
    }

    fn give(&self, process: u32, user: u32, group: u32) -> io::Result<()> {
        match self {
            Self::Identity => {
                for file in ["uid_map", "gid_map"] {
                    let lines = ids::ranges(&format!("/proc/self/{file}"))
                        .iter()
                        .map(|&IdRange { start, count }| format!("{start} {start} {count}\n"))
                        .collect::<String>();
                    fs::write(format!("/proc/{process}/{file}"), lines)?;
                }
                Ok(())
            }
            Self::Subordinate(granted) => {
                call("newuidmap", process, user, &granted.users)?;
                call("newgidmap", process, group, &granted.groups)
            }
            Self::Single => Ok(()),
        }
    }
}

fn enter_namespaces() -> io::Result<()> {
    Ok(unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?)
}

/// Runs `program`, which may do what an ordinary user may not.
fn call(program: &str, process: u32, own: u32, granted: &[IdRange]) -> io::Result<()> {
    let mut command = Command::new(program);
    command.arg(process.to_string()).args(["0".to_owned(), own.to_string(), "1".to_owned()]);
    let mut next = 1_u32;
    for range in granted {
        command.args([next, range.start, range.count].map(|number| number.to_string()));
        next = next.saturating_add(range.count);
    }
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("{program} ended with {status}"))) }
}
