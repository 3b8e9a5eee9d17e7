//! The programs that pull the image.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::registry::IMAGE;
use crate::bench::measure::Daemon;
use crate::bench::remove;
use crate::command::{Failure, command, run_quietly};
use crate::dockerd::Dockerd;

/// A program and a place for what it pulls.
pub struct Puller {
    /// Which program.
    pub kind: Kind,
    /// The program's file.
    program: PathBuf,
    store: PathBuf,
    /// Docker's address and process.
    daemon: Option<(String, u32)>,
}

/// A program, by what it makes of the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// lbuild's store.
    Lbuild,
    /// skopeo into the storage of Podman and Buildah, by overlay.
    SkopeoStorage,
    /// Docker's.
    Docker,
    /// skopeo into an OCI layout, which unpacks nothing.
    SkopeoLayout,
}

impl Puller {
    /// All that are compared, with stores in `folder`.
    pub fn all(lbuild: &Path, folder: &Path, docker: &Dockerd) -> Vec<Self> {
        let skopeo = Path::new("skopeo");
        let programs = [
            (Kind::Lbuild, lbuild, "pulled-lbuild"),
            (Kind::SkopeoStorage, skopeo, "pulled-skopeo"),
            (Kind::Docker, docker.client(), "pulled-docker"),
            (Kind::SkopeoLayout, skopeo, "pulled-layout"),
        ];
        let puller = |(kind, program, name): (Kind, &Path, &str)| Self {
            kind,
            program: program.to_owned(),
            store: folder.join(name),
            daemon: (kind == Kind::Docker).then(|| (docker.host(), docker.pid())),
        };
        programs.map(puller).into_iter().collect()
    }

    /// The name that the table shows.
    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Lbuild => "`lbuild pull`",
            Kind::SkopeoStorage => "`skopeo copy` to containers-storage",
            Kind::Docker => "`docker pull`",
            Kind::SkopeoLayout => "`skopeo copy` to a layout",
        }
    }

    /// Its version, as it tells it.
    pub fn version(&self) -> Result<String, Failure> {
        let mut asked = self.command();
        let text = run_quietly(asked.arg("--version"))?;
        Ok(text.trim().trim_end_matches(',').to_owned())
    }

    /// The daemon that works for it.
    pub fn daemon(&self) -> Option<Daemon> {
        self.daemon.as_ref().map(|(_, pid)| Daemon::new(*pid))
    }

    /// The pull.
    pub fn pull(&self) -> Command {
        let mut command = self.command();
        let skopeo = ["--insecure-policy", "copy", "--quiet", "--src-tls-verify=false"];
        let source = format!("docker://{IMAGE}");
        match self.kind {
            Kind::Lbuild => command.args(["pull", IMAGE]),
            Kind::Docker => command.args(["pull", "--quiet", IMAGE]),
            Kind::SkopeoStorage => {
                let (root, run) = (self.store.join("root"), self.store.join("run"));
                let place = format!("[overlay@{}+{}]bench:1", root.display(), run.display());
                command.args(skopeo).arg(source).arg(format!("containers-storage:{place}"))
            }
            Kind::SkopeoLayout => {
                command.args(skopeo).arg(source).arg(format!("oci:{}:1", self.store.display()))
            }
        };
        command
    }

    /// Empties its store.
    pub fn clear(&self) -> Result<(), Failure> {
        match self.kind {
            Kind::Docker => {
                let mut images = self.command();
                run_quietly(images.args(["image", "prune", "--all", "--force"])).map(drop)
            }
            _ => {
                // containers-storage has a mount of its own folder.
                let _ = run_quietly(command("umount", ["--lazy"]).arg(self.store.join("root/overlay")));
                remove(&self.store)
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        match &self.daemon {
            Some((host, _)) => command.args(["--host", host]).env_remove("DOCKER_HOST"),
            None => command.env("LBUILD_ROOT", &self.store),
        };
        command
    }
}
