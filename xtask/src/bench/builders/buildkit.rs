//! A current BuildKit: that of a current Docker with containerd's store of images, by buildx.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Builder, Compression, IMAGE, empty, load, server_version};
use crate::bench::measure::Daemon;
use crate::command::{Failure, command};
use crate::dockerd::Dockerd;

/// Builds keep their cache and no image, as `buildctl build` without an output; archives come straight from
/// BuildKit, which compresses by gzip unless told otherwise.
pub struct BuildKit {
    client: PathBuf,
    config: Option<PathBuf>,
    host: String,
    daemon: Daemon,
    compression: Option<Compression>,
}

impl BuildKit {
    /// The BuildKit of a daemon that [`Dockerd::start_current_with_containerd`] started.
    pub fn new(docker: &Dockerd, compression: Option<Compression>) -> Self {
        Self {
            client: docker.client().to_owned(),
            config: docker.config().map(Path::to_owned),
            host: docker.host(),
            daemon: Daemon::new(docker.pid()),
            compression,
        }
    }

    fn command(&self) -> Command {
        let mut command = command(&self.client, ["--host", &self.host]);
        command.env_remove("DOCKER_HOST").envs(self.config.iter().map(|config| ("DOCKER_CONFIG", config)));
        command
    }

    fn output(&self, context: &Path, output: &str) -> Command {
        let mut command = self.command();
        command.args(["buildx", "build", "--network", "none", "--provenance", "false", "--output", output]);
        command.arg(context);
        command
    }
}

impl Builder for BuildKit {
    fn name(&self) -> &'static str {
        "BuildKit, current"
    }

    fn compression(&self) -> Option<Compression> {
        self.compression
    }

    fn version(&self) -> Result<String, Failure> {
        Ok(format!("the BuildKit of Docker {}", server_version(self.command())?))
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.daemon)
    }

    fn clear(&self) -> Result<(), Failure> {
        empty(|| self.command(), &["buildx", "prune", "--all", "--force"])
    }

    fn load(&self, archive: &Path) -> Command {
        load(self.command(), archive)
    }

    fn build(&self, context: &Path) -> Command {
        self.output(context, "type=cacheonly")
    }

    fn export(&self, context: &Path, archive: &Path) -> Command {
        let archive = archive.display();
        let compression = self.compression.map(|compression| format!(",compression={}", compression.name()));
        let compression = compression.unwrap_or_default();
        self.output(context, &format!("type=docker,name={IMAGE},dest={archive}{compression}"))
    }
}
