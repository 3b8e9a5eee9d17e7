//! Starts a supervisor, and ends it.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::fcntl_dupfd_cloexec;

use crate::executable;
use crate::supervisor;
use crate::wire::{FILTER_FD, ORDER_FD, REPORT_FD, ROLE, ROOT_FD};

/// What a supervisor is started with.
#[derive(Debug)]
pub(crate) struct Inheritance<'a> {
    /// Standard input, output and error; lbuild's own if not given.
    pub(crate) standard: Option<[BorrowedFd<'a>; 3]>,
    pub(crate) report: BorrowedFd<'a>,
    pub(crate) order: BorrowedFd<'a>,
    pub(crate) filter: BorrowedFd<'a>,
    pub(crate) root: BorrowedFd<'a>,
    pub(crate) trees: Vec<BorrowedFd<'a>>,
}

/// A supervisor that has not been waited for.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pid: Pid,
}

impl Supervisor {
    /// # Errors
    /// As posix_spawn(3).
    pub(crate) fn start(inheritance: &Inheritance<'_>) -> io::Result<Self> {
        let files = inheritance.numbered();
        // The files move to their numbers one after the other: none may lie where another goes.
        let first_free = files.iter().map(|&(number, _)| number + 1).max().unwrap_or(0);
        let mut moved = Vec::with_capacity(files.len() + 1);
        let mut actions = PosixSpawnFileActions::init()?;
        for (number, file) in files {
            let source = fcntl_dupfd_cloexec(file, first_free)?;
            actions.add_dup2(source.as_raw_fd(), number)?;
            moved.push(source);
        }
        let executable = fcntl_dupfd_cloexec(executable::read_only()?, first_free)?;
        let path = CString::new(format!("/proc/self/fd/{}", executable.as_raw_fd()))?;

        let mut attributes = PosixSpawnAttr::init()?;
        let mut flags = PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK;
        // Blocked until the supervisor waits for them.
        attributes.set_sigmask(&SigSet::all())?;
        if inheritance.standard.is_some() {
            // Out of reach of the terminal's signals: it is for lbuild to decide what they mean.
            flags |= PosixSpawnFlags::POSIX_SPAWN_SETPGROUP;
            attributes.set_pgroup(Pid::from_raw(0))?;
        }
        attributes.set_flags(flags)?;
        let args = [CString::new(ROLE)?];
        let pid = posix_spawn(path.as_c_str(), &actions, &attributes, &args, &[] as &[CString; 0])?;
        Ok(Self { pid })
    }

    /// Ends the run in order: SIGTERM, then SIGKILL.
    pub(crate) fn end(&self) {
        self.signal(supervisor::END);
    }

    /// Waits until it is gone.
    ///
    /// # Errors
    /// As waitpid(2).
    pub(crate) fn wait(self) -> io::Result<()> {
        let result = self.reap();
        std::mem::forget(self);
        result
    }

    fn signal(&self, signal: Signal) {
        // It has not been waited for: the number is still its own.
        let _ = kill(self.pid, signal);
    }

    fn reap(&self) -> io::Result<()> {
        loop {
            match waitpid(self.pid, None) {
                Err(Errno::EINTR) => {}
                // lbuild was started with SIGCHLD ignored: the kernel has reaped it.
                Err(Errno::ECHILD) => return Ok(()),
                result => return Ok(result.map(drop)?),
            }
        }
    }
}

impl Drop for Supervisor {
    /// Reached only if the run is abandoned: kills it.
    fn drop(&mut self) {
        self.signal(supervisor::KILL);
        let _ = self.reap();
    }
}

impl Inheritance<'_> {
    /// Each file with the number that the supervisor finds it under.
    fn numbered(&self) -> Vec<(RawFd, BorrowedFd<'_>)> {
        let standard = self.standard.iter().flatten().copied();
        let mut files: Vec<_> = (0..).zip(standard).collect();
        files.extend([
            (REPORT_FD, self.report),
            (ORDER_FD, self.order),
            (FILTER_FD, self.filter),
            (ROOT_FD, self.root),
        ]);
        files.extend((ROOT_FD + 1..).zip(self.trees.iter().copied()));
        files
    }
}

/// A file in memory that holds `content`.
///
/// # Errors
/// As memfd_create(2) and write(2).
pub(crate) fn memory_file(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(name, MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    Ok(file.into())
}
