//! The process between lbuild and a run's first process.
//!
//! It makes the namespaces, waits for the program and reports how it ended. It has one thread, so
//! that it may fork, and heeds no terminal's signals. If lbuild dies, it kills the program; the
//! program's death ends every process of the PID namespace.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getppid};
use rustix::fs::{FileType, Uid, fchown, fstat};
use rustix::process::set_parent_process_death_signal;

use crate::bare::BareRun;
use crate::detached::Detached;
use crate::init::{self, Prepared};
use crate::network::{NetworkHelper, RunningHelper, WaitingHelper};
use crate::spec::Network;
use crate::wire::{FILTER_FD, Failure, ORDER_FD, Order, OrderedSource, REPORT_FD, ROLE, ROOT_FD, Report};
use crate::{seccomp, sys};

/// How long the program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_millis(500);

/// Asks the program to end, and kills it after [`GRACE`].
pub(crate) const END: Signal = Signal::SIGTERM;
/// Kills the program at once. None that a terminal sends, which the supervisor of a shell gets too.
pub(crate) const KILL: Signal = Signal::SIGUSR1;

/// Acts as the supervisor and never returns, if [`run`](crate::run()) started this process as one.
///
/// To be called first thing in `main`, before threads, arguments and output.
pub fn supervise_if_asked() {
    if std::env::args_os().next().as_deref() != Some(OsStr::new(ROLE)) {
        return;
    }
    std::process::exit(match sys::take_inherited(REPORT_FD) {
        Ok(reports) => supervise(&File::from(reports)),
        // Somebody else gave this process its name.
        Err(_) => 2,
    });
}

/// Returns the exit status of this process: 0 if there is a report.
fn supervise(reports: &File) -> i32 {
    let report = prepare().and_then(run).unwrap_or_else(Report::Failed);
    let sent = serde_json::to_vec(&report).map_err(io::Error::from).and_then(|mut line| {
        line.push(b'\n');
        let mut reports = reports;
        reports.write_all(&line)
    });
    i32::from(sent.is_err())
}

/// A run that is ready to start.
enum Ready {
    Isolated(Prepared, Option<RunningHelper>),
    Bare(BareRun),
}

fn run(ready: Ready) -> Result<Report, Failure> {
    let child = match sys::fork().map_err(|error| Failure::setup("fork", error))? {
        Some(child) => child,
        None => {
            return Err(match ready {
                Ready::Isolated(prepared, helper) => {
                    // It is the supervisor's to end.
                    std::mem::forget(helper);
                    init::become_program(prepared)
                }
                Ready::Bare(bare) => bare.become_program(),
            });
        }
    };
    let (bare, _helper) = match ready {
        // Its descriptors are the program's.
        Ready::Isolated(_, helper) => (None, helper),
        Ready::Bare(bare) => (Some(bare), None),
    };
    let report = wait(child).map_err(|error| Failure::setup("wait for the program", error));
    let cleared = bare.map_or(Ok(()), BareRun::clear);
    report.and_then(|report| cleared.map(|()| report))
}

/// Everything up to the fork.
fn prepare() -> Result<Ready, Failure> {
    let inherited = |number| {
        sys::take_inherited(number).map_err(|error| Failure::setup("take over the open files", error))
    };
    let order = read_order(inherited(ORDER_FD)?).map_err(|error| Failure::setup("read the order", error))?;
    let filter = read_all(inherited(FILTER_FD)?).map_err(|error| Failure::setup("read the filter", error))?;
    let root = inherited(ROOT_FD)?;
    let trees = order.mounts.iter().filter(|mount| matches!(mount.source, OrderedSource::Tree { .. }));
    let last = ROOT_FD + RawFd::try_from(trees.count()).unwrap_or(RawFd::MAX - ROOT_FD);
    let trees: Vec<_> = (ROOT_FD + 1..=last).map(inherited).collect::<Result<_, _>>()?;
    // lbuild may have been started with files open that it does not know of.
    sys::close_from(last + 1).map_err(|error| Failure::setup("close files", error))?;

    sys::reset_signals();
    tie_to_parent(&order).map_err(|error| Failure::setup("tie the run to lbuild", error))?;
    leave_oom_protection();
    join_cgroups(&order)?;
    give_output_to(&order);
    if order.is_bare {
        return BareRun::prepare(order, root, trees).map(Ready::Bare);
    }
    // Before the mount namespace changes: a directory of another one cannot be mounted.
    let root = Detached::adopt(root).map_err(|error| Failure::setup("open the root file system", error))?;
    let trees = trees
        .into_iter()
        .map(|tree| Detached::adopt(tree).map_err(|error| Failure::setup("open a tree to mount", error)))
        .collect::<Result<_, _>>()?;
    let helper = match &order.network {
        Network::Through(helper) => Some(enter_connected_network(helper)?),
        _ => None,
    };
    unshare(namespaces(&order.network)).map_err(|error| Failure::setup("make namespaces", error))?;
    Ok(Ready::Isolated(Prepared { order, filter: seccomp::decode(&filter), root, trees }, helper))
}

fn read_all(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let file = File::from(fd);
    let length = usize::try_from(file.metadata()?.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut content = vec![0; length];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

fn read_order(fd: OwnedFd) -> io::Result<Order> {
    Ok(serde_json::from_slice(&read_all(fd)?)?)
}

/// From here on the death of lbuild is a signal, which is blocked until it is waited for.
fn tie_to_parent(order: &Order) -> io::Result<()> {
    set_parent_process_death_signal(Some(rustix::process::Signal::USR1))?;
    if getppid().as_raw() == order.parent { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
}

/// What lbuild runs is not to survive other processes when memory runs out, even if lbuild is.
fn leave_oom_protection() {
    const FILE: &str = "/proc/self/oom_score_adj";
    // An unprivileged process may always make itself more likely to be killed.
    if fs::read_to_string(FILE).is_ok_and(|score| score.starts_with('-')) {
        let _ = fs::write(FILE, "0");
    }
}

fn join_cgroups(order: &Order) -> Result<(), Failure> {
    for procs in &order.cgroups {
        let path = procs.as_path();
        fs::write(path, "0")
            .map_err(|error| Failure::setup(format!("join the control group {}", path.display()), error))?;
    }
    Ok(())
}

/// Lets the program open `/dev/stdout` and `/dev/stderr`, which are our pipes.
fn give_output_to(order: &Order) {
    for output in [io::stdout().as_fd(), io::stderr().as_fd()] {
        let is_pipe = fstat(output).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
        if is_pipe && !order.interactive && !matches!(order.user.uid, 0 | u32::MAX) {
            // Only reopening depends on it.
            let _ = fchown(output, Some(Uid::from_raw(order.user.uid)), None);
        }
    }
}

/// Before the other namespaces: whatever is forked after them is the first process of a PID namespace.
fn enter_connected_network(helper: &NetworkHelper) -> Result<RunningHelper, Failure> {
    let helper = WaitingHelper::fork(helper.clone()).map_err(|error| Failure::setup("fork", error))?;
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| Failure::setup("make a network namespace", error))?;
    helper.connect()
}

fn namespaces(network: &Network) -> CloneFlags {
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    match network {
        Network::Host | Network::Through(_) => flags,
        Network::None => flags | CloneFlags::CLONE_NEWNET,
    }
}

/// Waits for the end of `child`, which is the end of all processes of its namespace.
fn wait(child: Pid) -> io::Result<Report> {
    let signals: SigSet = [Signal::SIGCHLD, END, KILL].into_iter().collect();
    signals.thread_block()?;
    let events = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC)?;
    let mut deadline = None;
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG))? {
            WaitStatus::Exited(_, status) => return Ok(Report::Exited(status)),
            WaitStatus::Signaled(_, signal, _) => return Ok(Report::Killed(signal as i32)),
            _ => {}
        }
        let timeout = deadline.map_or(PollTimeout::NONE, remaining);
        if poll(&mut [PollFd::new(events.as_fd(), PollFlags::POLLIN)], timeout)? == 0 {
            deadline = None;
            kill(child, Signal::SIGKILL)?;
            continue;
        }
        match events.read_signal()?.map(|event| event.ssi_signo.cast_signed()) {
            Some(signal) if signal == END as i32 => {
                deadline = Some(Instant::now() + GRACE);
                kill(child, Signal::SIGTERM)?;
            }
            Some(signal) if signal == KILL as i32 => kill(child, Signal::SIGKILL)?,
            _ => {}
        }
    }
}

fn remaining(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}
