//! A run as its caller sees it.

use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, open};

use crate::bare::Turn;
use crate::cgroup::Cgroup;
use crate::error::RunError;
use crate::launch::{Inheritance, Supervisor, memory_file};
use crate::output::{Outlets, Output};
use crate::spec::{Mount, MountSource, RunSpec, Security, Stdin};
use crate::wire::{Bytes, Order, OrderedMount, OrderedSource, Report};
use crate::{Cancel, seccomp, standing};

/// How a run's program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It returned this exit status.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

/// One of the two output streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Runs `spec` to its end and passes on what it prints as it comes, on the calling thread.
///
/// The run ends with its first process: what that left in the background is killed. With
/// [`Stdin::Inherit`], there is no output to pass on.
///
/// # Errors
/// See [`RunError`]; no process and no mount of the run is left, whatever happens.
pub fn run(spec: RunSpec, output: &mut dyn FnMut(Stream, &[u8]), cancel: &Cancel) -> Result<Exit, RunError> {
    if cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    // A person at a terminal would hold up all builds.
    let is_bare = !standing::current().has_namespaces() && spec.stdin != Stdin::Inherit;
    let turn = is_bare.then(|| Turn::take(cancel)).transpose();
    let turn = turn.map_err(RunError::setting_up("wait for the end of other runs"))?;
    if turn.as_ref().is_some_and(Option::is_none) {
        return Err(RunError::Cancelled);
    }
    let cgroup = Cgroup::create(&spec.limits)?;
    let (outlets, mut pipes) = Output::pipes().map_err(RunError::setting_up("make pipes"))?;
    let supervisor = start(&spec, &cgroup, outlets)?;
    let was_cancelled =
        pipes.pump(output, cancel, &supervisor).map_err(RunError::setting_up("read the output"))?;
    supervisor.wait().map_err(RunError::setting_up("wait for the supervisor"))?;
    let report = pipes.report().map_err(RunError::setting_up("learn how the program ended"));
    if report.is_err() {
        // The program killed its supervisor, and may not have ended: no other run of this process has its turn.
        std::mem::forget(turn);
    }
    if was_cancelled {
        return Err(RunError::Cancelled);
    }
    match report? {
        Report::Exited(status) => Ok(Exit::Code(status)),
        Report::Killed(signal) => Ok(Exit::Signal(signal)),
        Report::Failed(failure) => {
            Err(failure.into_error(spec.args.first().map_or("".as_ref(), AsRef::as_ref), &spec.cwd))
        }
    }
}

/// Starts the supervisor. Its ends of the pipes are its own from then on.
fn start(spec: &RunSpec, cgroup: &Cgroup, outlets: Outlets) -> Result<Supervisor, RunError> {
    let order = serde_json::to_vec(&order(spec, cgroup)).map_err(RunError::setting_up("write the order"))?;
    let order = memory_file("order", &order).map_err(RunError::setting_up("write the order"))?;
    let filter = match spec.security {
        Security::Sandbox => {
            seccomp::encoded().map_err(RunError::setting_up("make the system call filter"))?
        }
        Security::Insecure => &[],
    };
    let filter = memory_file("filter", filter).map_err(RunError::setting_up("write the filter"))?;
    let null = open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(RunError::setting_up("open /dev/null"))?;
    let standard = [null.as_fd(), outlets.stdout.as_fd(), outlets.stderr.as_fd()];
    let inheritance = Inheritance {
        standard: (spec.stdin == Stdin::Null).then_some(standard),
        report: outlets.report.as_fd(),
        order: order.as_fd(),
        filter: filter.as_fd(),
        root: spec.root.as_fd(),
        trees: spec
            .mounts
            .iter()
            .filter_map(|mount| match &mount.source {
                MountSource::Tree(fd) | MountSource::TreeAt { root: fd, .. } => Some(fd.as_fd()),
                _ => None,
            })
            .collect(),
    };
    Supervisor::start(&inheritance).map_err(RunError::setting_up("start the supervisor"))
}

fn order(spec: &RunSpec, cgroup: &Cgroup) -> Order {
    Order {
        parent: std::process::id().cast_signed(),
        args: spec.args.iter().map(Bytes::from).collect(),
        env: spec
            .env
            .iter()
            .map(|(name, value)| {
                let (name, value) = (name.as_encoded_bytes(), value.as_encoded_bytes());
                Bytes([name, b"=", value].concat())
            })
            .collect(),
        cwd: Bytes::from(&spec.cwd),
        user: spec.user.clone(),
        hostname: spec.hostname.clone(),
        network: spec.network.clone(),
        security: spec.security,
        mounts: spec.mounts.iter().map(ordered_mount).collect(),
        hosts: Bytes(spec.hosts.clone()),
        resolv_conf: Bytes(spec.resolv_conf.clone()),
        shm_size: spec.shm_size,
        ulimits: spec.ulimits.clone(),
        cgroups: cgroup.procs().map(Bytes::from).collect(),
        no_new_privileges: spec.no_new_privileges,
        is_bare: !standing::current().has_namespaces(),
        interactive: spec.stdin == Stdin::Inherit,
    }
}

fn ordered_mount(mount: &Mount) -> OrderedMount {
    let source = match &mount.source {
        MountSource::Tree(_) => OrderedSource::Tree { path: None },
        MountSource::TreeAt { path, .. } => OrderedSource::Tree { path: Some(Bytes::from(path)) },
        &MountSource::Tmpfs { size, mode } => OrderedSource::Tmpfs { size, mode },
        MountSource::File { content, mode, uid, gid } => {
            OrderedSource::File { content: Bytes(content.clone()), mode: *mode, uid: *uid, gid: *gid }
        }
    };
    OrderedMount { source, target: Bytes::from(&mount.target), read_only: mount.read_only }
}
