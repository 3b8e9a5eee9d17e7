//! The first process of a run's PID namespace, up to the moment when it becomes the program.

use std::fs;
use std::io;
use std::os::fd::AsFd;

use lbuild_confined::Root;
use nix::sys::signal::SigSet;
use nix::unistd::setsid;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::{Signal, fchdir, set_parent_process_death_signal, umask};
use rustix::stdio;
use rustix::system::sethostname;

use crate::detached::Detached;
use crate::limits::Ulimit;
use crate::spec::Network;
use crate::wire::{Failure, Order, REPORT_FD, errno};
use crate::{file_system, identity, program, sys};

/// What the supervisor has prepared.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) order: Order,
    pub(crate) filter: Vec<libc::sock_filter>,
    pub(crate) root: Detached,
    /// In the order's order.
    pub(crate) trees: Vec<Detached>,
}

/// Becomes the program. Returns only if that fails.
pub(crate) fn become_program(prepared: Prepared) -> Failure {
    let Prepared { order, filter, root, trees } = prepared;
    let prepare = || {
        set_parent_process_death_signal(Some(Signal::KILL))
            .map_err(|error| Failure::setup("tie the program to lbuild", error))?;
        umask(Mode::empty());
        set_hostname(&order.hostname).map_err(|error| Failure::setup("set the host name", error))?;
        file_system::enter(&order, root, trees)?;
        enter_network(&order.network)
            .map_err(|error| Failure::setup("bring up the loopback interface", error))?;
        settle(&order, &filter)
    };
    match prepare() {
        Ok(()) => program::execute(&order.args, &order.env),
        Err(failure) => failure,
    }
}

/// Takes on, inside of the root, all else that the program is to begin with; its identity and `filter` last.
pub(crate) fn settle(order: &Order, filter: &[libc::sock_filter]) -> Result<(), Failure> {
    enter_session(order.interactive)?;
    enter_directory(order).map_err(|error| Failure::WorkingDirectory { errno: errno(&error) })?;
    // Nothing else is open any more: whatever path the program is given, no descriptor of ours
    // leads out of its root.
    sys::close_from(REPORT_FD + 1).map_err(|error| Failure::setup("close files", error))?;
    sys::leave_session_keyring();
    Ulimit::apply_all(&order.ulimits)
        .map_err(|(ulimit, error)| Failure::setup(format!("set the ulimit {}", ulimit.resource), error))?;
    umask(Mode::from(0o022));
    SigSet::empty().thread_set_mask().map_err(|error| Failure::setup("unblock the signals", error))?;
    identity::assume(order, filter)
}

/// A container's filter may forbid this alone, as Podman's does: the file may be open then, or the run keeps the
/// container's name.
fn set_hostname(name: &str) -> io::Result<()> {
    match sethostname(name.as_bytes()) {
        Err(Errno::PERM) => {
            let _ = fs::write("/proc/sys/kernel/hostname", name);
            Ok(())
        }
        result => Ok(result?),
    }
}

fn enter_network(network: &Network) -> io::Result<()> {
    if *network != Network::Host {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None)?;
        sys::bring_up_loopback(socket.as_fd())?;
    }
    Ok(())
}

/// A session without a terminal, and standard input from the run's own `/dev/null`; through the
/// host's, root could change the mode of the host's device. A shell at the terminal keeps all that.
fn enter_session(interactive: bool) -> Result<(), Failure> {
    if interactive {
        return Ok(());
    }
    setsid().map_err(|error| Failure::setup("make a session", error))?;
    let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    null.and_then(stdio::dup2_stdin).map_err(|error| Failure::setup("open /dev/null", error))
}

/// No magic link is followed, such as `/proc/self/fd/7`, which could lead out of the root.
fn enter_directory(order: &Order) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let directory = Root::open("/")?.open_at(order.cwd.as_path(), flags, Mode::empty())?;
    Ok(fchdir(directory)?)
}
