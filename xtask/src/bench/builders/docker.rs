//! The builders of the system's own Docker.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Builder, IMAGE, empty, load, server_version};
use crate::bench::measure::Daemon;
use crate::command::{Failure, command};
use crate::dockerd::Dockerd;

/// Docker's classic builder, or the BuildKit that the daemon has built in.
pub struct Docker {
    client: PathBuf,
    host: String,
    daemon: Daemon,
    buildkit: bool,
}

impl Docker {
    /// One of the builders of a running daemon.
    pub fn new(docker: &Dockerd, buildkit: bool) -> Self {
        let daemon = Daemon::new(docker.pid());
        Self { client: docker.client().to_owned(), host: docker.host(), daemon, buildkit }
    }

    fn command(&self) -> Command {
        let mut command = command(&self.client, ["--host", &self.host]);
        command.env("DOCKER_BUILDKIT", if self.buildkit { "1" } else { "0" }).env_remove("DOCKER_HOST");
        command
    }
}

impl Builder for Docker {
    fn name(&self) -> &'static str {
        if self.buildkit { "Docker's BuildKit" } else { "Docker classic" }
    }

    fn version(&self) -> Result<String, Failure> {
        Ok(format!("Docker {}", server_version(self.command())?))
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.daemon)
    }

    fn clear(&self) -> Result<(), Failure> {
        empty(|| self.command(), &["builder", "prune", "--all", "--force"])
    }

    fn load(&self, archive: &Path) -> Command {
        load(self.command(), archive)
    }

    fn build(&self, context: &Path) -> Command {
        let mut command = self.command();
        command.args(["build", "--network", "none", "--tag", IMAGE]).arg(context);
        command
    }

    fn export(&self, _: &Path, archive: &Path) -> Command {
        let mut command = self.command();
        command.args(["save", "--output"]).arg(archive).arg(IMAGE);
        command
    }
}
