//! RUN: a command in an isolated root on top of the stage's layers.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use lbuild_layer_store::{ActiveSnapshot, StoreError};
use lbuild_oci::Platform;
use lbuild_parser::{Network, Run, Security};
use lbuild_runner::{Cancel, Exit, Mount, MountSource, RunError, RunSpec, Stdin, User};
use rustix::fs::{AtFlags, Gid, Mode, Uid, chownat};

use crate::BuildError;
use crate::event::{BuildEvent, Stream};
use crate::key::Key;
use crate::plan::Origin;
use crate::problem::Problem;
use crate::request::Entitlement;
use crate::solve::{Executed, Solver, Step, StepPlace};
use crate::state::StageState;
use crate::step::attached::{Attached, Part};
use crate::step::command::{Command, SCRIPT_FOLDER};
use crate::step::mount::{self, Files, ResolvedMount, SecretMount};
use crate::step::secret_search::SecretSearch;
use crate::step::stubs::StubError;
use crate::step::surroundings;
use crate::user::{ProcessUser, process_user};

/// How much of a failing RUN's output its error repeats, in bytes.
const LAST_OUTPUT: usize = 16 << 10;

/// Everything that decides what a RUN does.
struct Resolved {
    command: Command,
    mounts: Vec<ResolvedMount>,
    network: Network,
    security: Security,
}

impl Resolved {
    fn secrets(&self) -> impl Iterator<Item = &SecretMount> {
        self.mounts.iter().filter_map(|mount| match mount {
            ResolvedMount::Secret(secret) => Some(secret),
            _ => None,
        })
    }

    fn has_secrets(&self) -> bool {
        self.secrets().next().is_some()
    }
}

/// Applies a RUN.
///
/// # Errors
/// A mount or option that is not possible, and whatever ends the command but exit status 0.
pub(crate) fn run(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &mut StageState,
    run: &Run,
    origins: &[Origin],
) -> Result<(), BuildError> {
    let files = mount::files(solver, origins)?;
    let resolved = resolve(solver, state, run, files).map_err(|problem| problem.at(place.span))?;
    let key = key(solver, place, state, &resolved)?;
    let history = history(state, &resolved.command);
    let key = key.noting("shell", state.shell());
    let step = Step { place, key, shown: None, history, files: None, found_by: Vec::new() };
    solver.step(state, step, |state| execute(solver, place, state, &resolved))
}

fn resolve(
    solver: &Solver<'_>,
    state: &StageState,
    run: &Run,
    files: Vec<Files>,
) -> Result<Resolved, Problem> {
    let security = run.security.unwrap_or(Security::Sandbox);
    let network = match run.network.unwrap_or(Network::Default) {
        Network::Default => solver.build.request.run.network.unwrap_or(Network::Default),
        own => own,
    };
    let allowed = &solver.build.request.allow;
    if security == Security::Insecure && !allowed.contains(&Entitlement::SecurityInsecure) {
        return Err(Problem::new("RUN --security=insecure is not allowed")
            .help("if you trust this Dockerfile, build with --allow security.insecure"));
    }
    let host_allowed = allowed.contains(&Entitlement::NetworkHost)
        || solver.build.request.run.network == Some(Network::Host);
    if run.network == Some(Network::Host) && !host_allowed {
        return Err(Problem::new("RUN --network=host is not allowed").help("build with --allow network.host"));
    }
    if let Some(device) = run.devices.iter().find(|device| device.required) {
        return Err(Problem::new(format!("RUN --device={}: there are no CDI devices here", device.name))
            .help("leave `required` out if the command can do without the device"));
    }
    Ok(Resolved {
        command: Command::new(state, run),
        mounts: mount::resolve(solver, state, &run.mounts, files)?,
        network,
        security,
    })
}

fn key(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &StageState,
    resolved: &Resolved,
) -> Result<Key, BuildError> {
    let request = &solver.build.request.run;
    // Proxies given to the build without an ARG are no part of the stage's environment.
    let variables: Vec<_> = state.environment.iter().collect();
    let mut mounts = Vec::new();
    for mount in &resolved.mounts {
        let mut key = mount.key();
        if let ResolvedMount::Bind { files, source, .. } = mount {
            let layers = files.layers.as_deref();
            key["files"] =
                solver.build.contexts.mount_digest(solver, &files.origin, layers, source, place.span)?;
        }
        mounts.push(key);
    }
    Ok(Key::new("run", &state.layers)
        .with("command", &resolved.command.words)
        .with("script", &resolved.command.script)
        .with("environment", variables)
        .with("working directory", state.workdir())
        .with("user", &state.image.config.user)
        .with("mounts", mounts)
        .with("network", format!("{:?}", resolved.network))
        .with("security", format!("{:?}", resolved.security))
        .with("host name", surroundings::host_name(solver.build.request))
        .with("hosts", &request.hosts)
        .with("shm size", request.shm_size)
        .with("ulimits", &request.ulimits)
        .with("no new privileges", request.no_new_privileges)
        .with("platform", state.platform().to_string())
        .with("source date epoch", solver.build.request.source_date_epoch)
        .with("secret in layer", resolved.has_secrets() && request.allow_secret_in_layer))
}

/// The entry that `docker history` shows.
fn history(state: &StageState, command: &Command) -> String {
    let words = command.words.join(" ");
    match state.arguments_text() {
        Some(arguments) => format!("RUN {arguments} {words}"),
        None => format!("RUN {words}"),
    }
}

fn execute(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &StageState,
    resolved: &Resolved,
) -> Result<Executed, BuildError> {
    let at = |problem: Problem| problem.at(place.span);
    let attached = Attached::new(solver, place, &resolved.mounts)?;
    let mut mounts = attached.mounts().map_err(at)?;
    mounts.extend(script_mount(&resolved.command));
    let active = solver.stubs.prepare(solver.build.store, &state.layers, &points(&mounts)).map_err(
        |error| match error {
            StubError::Build(BuildError::Store(error @ StoreError::TooManyLayers { .. })) => at(error.into()),
            StubError::Build(error) => error,
            StubError::Step(problem) => at(problem),
        },
    )?;
    let user = process_user(active.root(), &state.image.config.user).map_err(|error| {
        at(Problem::from(error).help("USER must name a user of the image, or give numbers as USER 1000:1000"))
    })?;
    make_workdir(&active, &state.workdir(), &user).map_err(at)?;
    let spec = spec(solver, state, resolved, &active, &user, mounts).map_err(at)?;
    let mut last = LastOutput::default();
    let mut output = |stream: lbuild_runner::Stream, bytes: &[u8]| {
        last.push(bytes);
        let stream = match stream {
            lbuild_runner::Stream::Stdout => Stream::Stdout,
            lbuild_runner::Stream::Stderr => Stream::Stderr,
        };
        solver.emit(BuildEvent::Output(place.id, stream, bytes.to_vec()));
    };
    let exit = lbuild_runner::run(spec, &mut output, solver.build.cancel);
    let command = resolved.command.words.join(" ");
    match exit {
        Ok(Exit::Code(0)) => {
            search_for_secrets(solver, resolved, &active).map_err(at)?;
            let is_recordable = solver.note_changed(attached.changed());
            Ok(Executed { active, is_recordable })
        }
        Ok(exit) => {
            if let Some(kept) = solver.build.failed {
                drop(attached);
                match keep_failed(solver, place, state, resolved, active, &user) {
                    Ok(step) => *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(step),
                    Err(error) => {
                        let note = format!("the failed step cannot be looked into: {error}");
                        solver.emit(BuildEvent::Note(note));
                    }
                }
            }
            Err(failed(place, command, exit, last))
        }
        Err(RunError::Cancelled) => Err(BuildError::Interrupted),
        Err(error) => Err(at(not_started(error, state))),
    }
}

/// Makes a RUN that failed ready for another command.
fn keep_failed(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &StageState,
    resolved: &Resolved,
    active: ActiveSnapshot,
    user: &ProcessUser,
) -> Result<FailedStep, BuildError> {
    let at = |problem: Problem| problem.at(place.span);
    let attached = Attached::new(solver, place, &resolved.mounts)?;
    let mut mounts = attached.mounts().map_err(at)?;
    mounts.extend(script_mount(&resolved.command));
    let active = solver.build.store.prepare_again(active)?;
    let mut spec = spec(solver, state, resolved, &active, user, mounts).map_err(at)?;
    spec.args = state.shell().into_iter().take(1).map(Into::into).collect();
    Ok(FailedStep { spec, _active: active, _parts: attached.into_parts() })
}

/// A RUN that failed, as it left its files.
pub struct FailedStep {
    spec: RunSpec,
    /// What the specification's descriptors lead to.
    _active: ActiveSnapshot,
    _parts: Vec<Part>,
}

impl FailedStep {
    /// Runs the stage's shell on this process's standard input and output, with the files, variables,
    /// mounts and secrets that the command had. Whatever it changes ends with it, but for cache mounts.
    ///
    /// # Errors
    /// See [`RunError`].
    pub fn shell(self, cancel: &Cancel) -> Result<Exit, RunError> {
        let spec = RunSpec { stdin: Stdin::Inherit, ..self.spec };
        lbuild_runner::run(spec, &mut |_, _| {}, cancel)
    }
}

impl std::fmt::Debug for FailedStep {
    /// Never shows a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FailedStep").finish_non_exhaustive()
    }
}

/// Refuses a step that wrote a secret of its own into a file of the layer.
fn search_for_secrets(
    solver: &Solver<'_>,
    resolved: &Resolved,
    active: &ActiveSnapshot,
) -> Result<(), Problem> {
    if solver.build.request.run.allow_secret_in_layer {
        return Ok(());
    }
    let secrets = resolved.secrets().map(|secret| (secret.id.as_str(), secret.content.as_slice()));
    SecretSearch::new(secrets)?.search(active)
}

/// The mount points that the mounts need, and whether each is a directory.
pub(crate) fn points(mounts: &[Mount]) -> Vec<(PathBuf, bool)> {
    let default =
        lbuild_runner::DEFAULT_MOUNT_POINTS.iter().map(|(path, is_dir)| (PathBuf::from(path), *is_dir));
    let own = mounts.iter().map(|mount| (mount.target.clone(), mount.source.is_directory()));
    // What lies below a mount point of ours is made there, not in the image.
    default.chain(own.filter(|(path, _)| !path.starts_with("/dev"))).collect()
}

/// Gives a tmpfs the mode of the directory that it covers, as runc does.
fn give_mode_of_target(active: &ActiveSnapshot, mount: &mut Mount) {
    if let MountSource::Tmpfs { mode, .. } = &mut mount.source
        && let Ok(covered) = active.root().stat(&mount.target)
    {
        *mode = covered.st_mode & 0o7777;
    }
}

/// The file that a heredoc with an interpreter line becomes.
fn script_mount(command: &Command) -> Option<Mount> {
    let (name, content) = command.script.as_ref()?;
    Some(Mount {
        source: MountSource::File { content: content.clone().into_bytes(), mode: 0o755, uid: 0, gid: 0 },
        target: Path::new(SCRIPT_FOLDER).join(name),
        read_only: true,
    })
}

/// A working directory that an image names and lacks is made for the user, as in BuildKit.
pub(crate) fn make_workdir(
    active: &ActiveSnapshot,
    workdir: &str,
    user: &ProcessUser,
) -> Result<(), Problem> {
    let made = active
        .root()
        .create_dir_all(workdir, Mode::from(0o755))
        .map_err(|error| Problem::because(format!("cannot enter the working directory {workdir}"), error))?;
    for path in made {
        let entry = active.root().locate(&path)?;
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        chownat(&entry.parent, &entry.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(std::io::Error::from)?;
    }
    Ok(())
}

fn spec(
    solver: &Solver<'_>,
    state: &StageState,
    resolved: &Resolved,
    active: &ActiveSnapshot,
    user: &ProcessUser,
    mut mounts: Vec<Mount>,
) -> Result<RunSpec, Problem> {
    for mount in &mut mounts {
        give_mode_of_target(active, mount);
    }
    let request = solver.build.request;
    let secrets =
        resolved.secrets().filter_map(|secret| Some((secret.variable.clone()?, secret.content.clone())));
    let mut env = surroundings::variables(request, state, secrets.collect(), user);
    let agent = resolved.mounts.iter().find_map(|mount| match mount {
        ResolvedMount::Ssh { target, .. } => Some(target),
        _ => None,
    });
    if let Some(target) = agent {
        env.push(("SSH_AUTH_SOCK".into(), target.clone().into()));
    }
    let network = network(request, resolved.network);
    let resolv_conf = match &network {
        lbuild_runner::Network::Through(helper) => surroundings::resolv_conf_of(helper),
        _ => surroundings::resolv_conf(),
    };
    Ok(RunSpec {
        root: active.root().try_clone()?.into_fd(),
        args: resolved.command.words.iter().map(Into::into).collect(),
        env,
        cwd: state.workdir().into(),
        user: User { uid: user.uid, gid: user.gid, groups: user.all_groups() },
        hostname: surroundings::host_name(request).to_owned(),
        network,
        security: match resolved.security {
            Security::Sandbox => lbuild_runner::Security::Sandbox,
            Security::Insecure => lbuild_runner::Security::Insecure,
        },
        mounts,
        hosts: surroundings::hosts(request),
        resolv_conf,
        shm_size: request.run.shm_size.unwrap_or(surroundings::DEFAULT_SHM),
        ulimits: surroundings::ulimits(request)?,
        limits: surroundings::limits(request),
        no_new_privileges: request.run.no_new_privileges,
        stdin: Stdin::Null,
    })
}

fn network(request: &crate::BuildRequest, asked: Network) -> lbuild_runner::Network {
    match (asked, &request.run.network_helper) {
        (Network::None, _) => lbuild_runner::Network::None,
        (Network::Default, Some(helper)) => lbuild_runner::Network::Through(helper.clone()),
        (Network::Default | Network::Host, _) => lbuild_runner::Network::Host,
    }
}

/// The end of what a command wrote.
#[derive(Default)]
struct LastOutput(VecDeque<u8>);

impl LastOutput {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let surplus = self.0.len().saturating_sub(LAST_OUTPUT);
        self.0.drain(..surplus);
    }
}

fn failed(place: StepPlace, command: String, exit: Exit, last: LastOutput) -> BuildError {
    let (status, signal) = match exit {
        Exit::Code(status) => (status, None),
        Exit::Signal(signal) => (128 + signal, Some(signal)),
    };
    let help = match status {
        126 => Some("126: the command was found but cannot be executed: check its mode and interpreter line"),
        127 => Some("127: the shell did not find the command: is its package installed, and is it in PATH?"),
        137 => Some("137: killed by SIGKILL, mostly because memory ran out"),
        139 => Some("139: the command crashed (SIGSEGV)"),
        143 => Some("143: ended by SIGTERM"),
        _ => None,
    };
    BuildError::Run {
        span: place.span,
        command,
        status,
        signal,
        last_output: last.0.into(),
        help: help.map(str::to_owned),
    }
}

/// Why a command could not be started, and what to do.
pub(crate) fn not_started(error: RunError, state: &StageState) -> Problem {
    let help = match &error {
        RunError::NotFound { .. } if state.layers.is_empty() => {
            "the stage begins with nothing (FROM scratch): there is no shell; COPY or ADD one first, or use another base"
        }
        RunError::NotFound { .. } => {
            "the image has no such program; for the shell form, SHELL names another shell"
        }
        RunError::NotExecutable { .. } if state.platform().architecture != Platform::host().architecture => {
            return Problem::from(error).help(foreign(&state.platform()));
        }
        RunError::NotExecutable { .. } => {
            "check the file's mode, its interpreter line and that it is made for this processor"
        }
        RunError::TooLong { .. } => {
            "one argument may have 128 KiB: put the command into a file, or into a heredoc that begins with `#!/bin/sh`"
        }
        RunError::Limit { .. } => {
            "--memory, --cpus and --pids-limit need a control group; `lbuild doctor` tells how to have one"
        }
        RunError::WorkingDirectory { .. } => "WORKDIR names what is no directory",
        RunError::Setup { .. } | RunError::Cancelled => return Problem::from(error),
    };
    Problem::from(error).help(help)
}

/// What a RUN for another kind of machine lacks.
fn foreign(platform: &Platform) -> String {
    format!(
        "the stage is for {platform} and this machine is {}: to run it, register an emulator for {} with \
         binfmt_misc and its flag F (the package qemu-user-static does), or run the step in a stage FROM \
         --platform=$BUILDPLATFORM",
        Platform::host(),
        platform.architecture
    )
}
