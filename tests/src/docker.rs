//! Real Dockers, which `cargo xtask test` starts for the tests.

use std::ffi::OsStr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::{Registry, Run};

/// A client of the tests' own daemon. The daemon has no bridge: containers run without network.
#[derive(Debug)]
pub struct Docker {
    client: String,
    host: String,
    /// Where the client's plugins are told, if they are not where it looks.
    config: Option<PathBuf>,
}

impl Docker {
    /// The system's own Docker, by the daemon that `LBUILD_TEST_DOCKER_HOST` names.
    ///
    /// # Panics
    /// Where none is named: a test that needs Docker fails without it.
    pub fn connect() -> Self {
        Self::by_variables("LBUILD_TEST_DOCKER")
    }

    /// A current Docker, by the daemon that `LBUILD_TEST_CURRENT_DOCKER_HOST` names.
    ///
    /// # Panics
    /// Where none is named.
    pub fn connect_to_current() -> Self {
        Self::by_variables("LBUILD_TEST_CURRENT_DOCKER")
    }

    fn by_variables(prefix: &str) -> Self {
        let Ok(host) = std::env::var(format!("{prefix}_HOST")) else {
            panic!("this test needs Docker: run `cargo xtask test`, which starts one");
        };
        let client = std::env::var(format!("{prefix}_CLIENT")).unwrap_or_else(|_| "docker".to_owned());
        let config = std::env::var_os(format!("{prefix}_CONFIG")).map(PathBuf::from);
        Self { client, host, config }
    }

    /// The client's program.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The daemon's address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The registry whose content is in `folder`, as the daemon sees it, in whose network there is no
    /// other machine: a process of its own that serves the same folder.
    #[track_caller]
    pub fn registry(&self, folder: &Path) -> Registry {
        Registry::within(self.process(), folder)
    }

    /// The daemon's process id.
    fn process(&self) -> u32 {
        let socket = self.host.strip_prefix("unix://").expect("the tests' daemon has a socket");
        let stream = UnixStream::connect(socket).unwrap();
        let peer = rustix::net::sockopt::socket_peercred(&stream).unwrap();
        peer.pid.as_raw_nonzero().get().cast_unsigned()
    }

    /// Runs a `docker` command to its end.
    pub fn docker<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// A `docker` command.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(&self.client);
        command.args(["--host", &self.host]).args(arguments);
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT");
        command.envs(self.config.as_ref().map(|config| ("DOCKER_CONFIG", config)));
        command
    }

    /// `docker load`.
    #[track_caller]
    pub fn load(&self, archive: &Path) -> Run {
        self.docker([OsStr::new("load"), OsStr::new("-i"), archive.as_os_str()]).success()
    }

    /// Runs `script` by the image's `/bin/sh` in a new container, which is removed.
    pub fn shell(&self, image: &str, script: &str) -> Run {
        self.docker(["run", "--rm", "--network=none", "--entrypoint=/bin/sh", image, "-c", script])
    }

    /// `docker image inspect`.
    #[track_caller]
    pub fn inspect(&self, image: &str) -> Value {
        let mut images = self.docker(["image", "inspect", image]).success().json();
        images[0].take()
    }

    /// The DiffIDs of an image's layers, bottom first.
    #[track_caller]
    pub fn diff_ids(&self, image: &str) -> Vec<String> {
        let layers = self.inspect(image)["RootFS"]["Layers"].take();
        serde_json::from_value(layers).unwrap_or_default()
    }

    /// `docker history`, oldest step first.
    #[track_caller]
    pub fn history(&self, image: &str) -> Vec<Value> {
        let run = self.docker(["history", "--no-trunc", "--format", "{{json .}}", image]).success();
        let mut steps: Vec<Value> =
            run.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        steps.reverse();
        steps
    }
}
