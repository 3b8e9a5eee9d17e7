//! A shell in an image's files, whose changes are thrown away.

use lbuild_layer_store::Store;
use lbuild_oci::ImageConfig;
use lbuild_parser::Span;
use lbuild_runner::{Cancel, Exit, Network, RunError, RunSpec, Security, Stdin, User};

use crate::BuildError;
use crate::problem::Problem;
use crate::request::BuildRequest;
use crate::state::StageState;
use crate::step::run::{make_workdir, not_started, points};
use crate::step::stubs::{DefaultStubs, StubError};
use crate::step::surroundings;
use crate::user::process_user;

/// Runs `command`, or else the image's shell, on this process's standard input and output, in the files
/// of `image` as a RUN sees them. What it changes is thrown away.
///
/// # Errors
/// A user or program that the image does not have, and the store's.
pub fn shell(
    store: &Store,
    image: ImageConfig,
    command: Vec<String>,
    cancel: &Cancel,
) -> Result<Exit, BuildError> {
    let at = |problem: Problem| problem.at(Span::default());
    let state = StageState::new(image);
    let stubs = DefaultStubs::new();
    let active = stubs.prepare(store, &state.layers, &points(&[])).map_err(|error| match error {
        StubError::Build(error) => error,
        StubError::Step(problem) => at(problem),
    })?;
    let user = process_user(active.root(), &state.image.config.user).map_err(|error| at(error.into()))?;
    make_workdir(&active, &state.workdir(), &user).map_err(at)?;
    let request = BuildRequest::new("");
    let shell = || state.shell().into_iter().take(1).collect();
    let command = if command.is_empty() { shell() } else { command };
    let spec = RunSpec {
        root: active.root().try_clone().map_err(BuildError::io("cannot open the image's files"))?.into_fd(),
        args: command.into_iter().map(Into::into).collect(),
        env: surroundings::variables(&request, &state, Vec::new(), &user),
        cwd: state.workdir().into(),
        user: User { uid: user.uid, gid: user.gid, groups: user.groups },
        hostname: surroundings::host_name(&request).to_owned(),
        network: Network::Host,
        security: Security::Sandbox,
        mounts: Vec::new(),
        hosts: surroundings::hosts(&request),
        resolv_conf: surroundings::resolv_conf(),
        shm_size: surroundings::DEFAULT_SHM,
        ulimits: Vec::new(),
        limits: surroundings::limits(&request),
        no_new_privileges: false,
        stdin: Stdin::Inherit,
    };
    match lbuild_runner::run(spec, &mut |_, _| {}, cancel) {
        Err(RunError::Cancelled) => Err(BuildError::Interrupted),
        result => result.map_err(|error| at(not_started(error, &state))),
    }
}
