//! The builders that are compared.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::measure::Daemon;
use crate::bench::workload::BASE;
use crate::command::{Failure, command, find_program, run_quietly};
use crate::dockerd::Dockerd;

/// What the image is called.
const IMAGE: &str = "bench";

/// A builder with its own cache.
pub trait Builder {
    /// The name that tables show.
    fn name(&self) -> String;

    /// Its version, as it tells it.
    fn version(&self) -> Result<String, Failure>;

    /// The daemon that works for it.
    fn daemon(&self) -> Option<&Daemon> {
        None
    }

    /// Empties its cache and its images.
    fn clear(&self) -> Result<(), Failure>;

    /// Brings in the image in a docker archive.
    fn load(&self, archive: &Path) -> Command;

    /// Builds the folder `context`.
    fn build(&self, context: &Path) -> Command;

    /// Writes the image that was built from `context` as an archive that Docker loads.
    fn export(&self, context: &Path, archive: &Path) -> Command;
}

/// Makes `builder` ready: nothing in its cache, and the base image in `archive` there and unpacked, where
/// it unpacks bases at all. `scratch` is a folder for a Dockerfile.
pub fn reset(builder: &dyn Builder, archive: Option<&Path>, scratch: &Path) -> Result<(), Failure> {
    builder.clear()?;
    let Some(archive) = archive else { return Ok(()) };
    run_quietly(&mut builder.load(archive))?;
    fs::create_dir_all(scratch)
        .and_then(|()| fs::write(scratch.join("Dockerfile"), format!("FROM {BASE}\nRUN true\n")))
        .map_err(Failure::of(format!("cannot write {}", scratch.display())))?;
    run_quietly(&mut builder.build(scratch)).map(drop)
}

/// lbuild with a store of its own.
pub struct Lbuild {
    binary: PathBuf,
    store: PathBuf,
    /// Of the layers in archives; none by default.
    compression: Option<&'static str>,
}

impl Lbuild {
    /// lbuild with its store in `folder`.
    pub fn new(binary: &Path, folder: &Path, compression: Option<&'static str>) -> Self {
        let store = folder.join("lbuild").join(compression.unwrap_or("plain"));
        Self { binary: binary.to_owned(), store, compression }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env("LBUILD_ROOT", &self.store).env_remove("SOURCE_DATE_EPOCH");
        command
    }
}

impl Builder for Lbuild {
    fn name(&self) -> String {
        match self.compression {
            None => "lbuild".to_owned(),
            Some(compression) => format!("lbuild, {compression}"),
        }
    }

    fn version(&self) -> Result<String, Failure> {
        Ok(run_quietly(&mut command(&self.binary, ["--version"]))?.trim().to_owned())
    }

    fn clear(&self) -> Result<(), Failure> {
        remove(&self.store)
    }

    fn load(&self, archive: &Path) -> Command {
        let mut command = self.command();
        command.args(["load", "-i"]).arg(archive);
        command
    }

    fn build(&self, context: &Path) -> Command {
        let mut command = self.command();
        command.args(["build", "--progress", "plain", "--tag", IMAGE]).arg(context);
        command
    }

    fn export(&self, context: &Path, archive: &Path) -> Command {
        let mut command = self.command();
        match self.compression {
            None => command.args(["save", "--output"]).arg(archive).arg(IMAGE),
            Some(compression) => {
                let output = format!("type=docker,dest={},compression={compression}", archive.display());
                command.args(["build", "--quiet", "--output", &output]).arg(context)
            }
        };
        command
    }
}

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
    fn name(&self) -> String {
        if self.buildkit { "Docker BuildKit" } else { "Docker classic" }.to_owned()
    }

    fn version(&self) -> Result<String, Failure> {
        let version = run_quietly(self.command().args(["version", "--format", "{{.Server.Version}}"]))?;
        Ok(format!("Docker {}", version.trim()))
    }

    fn daemon(&self) -> Option<&Daemon> {
        Some(&self.daemon)
    }

    fn clear(&self) -> Result<(), Failure> {
        let images = run_quietly(self.command().args(["images", "--quiet", "--all"]))?;
        let images: Vec<&str> = images.split_whitespace().collect();
        if !images.is_empty() {
            // An image that another one stands on goes with that one, and is then not found.
            let _ = run_quietly(self.command().args(["rmi", "--force"]).args(images));
        }
        run_quietly(self.command().args(["builder", "prune", "--all", "--force"])).map(drop)
    }

    fn load(&self, archive: &Path) -> Command {
        let mut command = self.command();
        command.args(["load", "--input"]).arg(archive);
        command
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

/// Buildah with a cache (`--layers`). Without namespaces (`--isolation chroot`), which is its fastest.
pub struct Buildah {
    program: PathBuf,
    storage: PathBuf,
}

impl Buildah {
    /// Buildah with its storage in `folder`.
    pub fn new(folder: &Path) -> Result<Self, Failure> {
        let program = find_program("buildah").ok_or_else(|| Failure("there is no buildah".to_owned()))?;
        Ok(Self { program, storage: folder.join("buildah") })
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(self.storage.join("root")).arg("--runroot").arg(self.storage.join("run"));
        command.args(["--storage-driver", "overlay"]);
        command
    }
}

impl Builder for Buildah {
    fn name(&self) -> String {
        "Buildah".to_owned()
    }

    fn version(&self) -> Result<String, Failure> {
        let text = run_quietly(&mut command(&self.program, ["--version"]))?;
        Ok(text
            .split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" ")
            .replace("buildah version", "Buildah"))
    }

    fn clear(&self) -> Result<(), Failure> {
        // The storage has a mount of its own folder.
        let _ = run_quietly(command("umount", ["--lazy"]).arg(self.storage.join("root/overlay")));
        remove(&self.storage)
    }

    fn load(&self, archive: &Path) -> Command {
        let mut source = OsString::from("docker-archive:");
        source.push(archive);
        let mut command = self.command();
        command.arg("pull").arg(source);
        command
    }

    fn build(&self, context: &Path) -> Command {
        let mut command = self.command();
        command.args(["build", "--layers", "--isolation", "chroot", "--tag", IMAGE]).arg(context);
        command
    }

    fn export(&self, _: &Path, archive: &Path) -> Command {
        let mut command = self.command();
        command.args(["push", "--quiet", IMAGE, &format!("docker-archive:{}:{IMAGE}", archive.display())]);
        command
    }
}

fn remove(folder: &Path) -> Result<(), Failure> {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).map_err(Failure::of(format!("cannot remove {}", folder.display())))
}
