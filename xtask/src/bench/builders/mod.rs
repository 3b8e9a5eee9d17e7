//! The builders that are compared.

mod buildah;
mod buildkit;
mod docker;
mod lbuild;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::measure::Daemon;
use crate::bench::workload::BASE;
use crate::command::{Failure, run_quietly};

pub use buildah::Buildah;
pub use buildkit::BuildKit;
pub use docker::Docker;
pub use lbuild::Lbuild;

/// What the image is called.
const IMAGE: &str = "bench";

/// A builder with its own cache.
pub trait Builder {
    /// The name that tables show.
    fn name(&self) -> &'static str;

    /// How the layers in its archives are compressed, where that is not its default.
    fn compression(&self) -> Option<Compression> {
        None
    }

    /// Its version, as it tells it.
    fn version(&self) -> Result<String, Failure>;

    /// The daemon that works for it.
    fn daemon(&self) -> Option<&Daemon> {
        None
    }

    /// Where each of its builds writes a trace of where its time went.
    fn trace(&self) -> Option<&Path> {
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

/// How layers in archives are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    Uncompressed,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// Its name in options of outputs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uncompressed => "uncompressed",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
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

/// The version of a Docker's daemon.
fn server_version(mut docker: Command) -> Result<String, Failure> {
    let version = run_quietly(docker.args(["version", "--format", "{{.Server.Version}}"]))?;
    Ok(version.trim().to_owned())
}

/// Has a Docker bring in the image in a docker archive.
fn load(mut docker: Command, archive: &Path) -> Command {
    docker.args(["load", "--input"]).arg(archive);
    docker
}

/// Removes all images of a Docker and what its client's `prune` takes away.
fn empty(docker: impl Fn() -> Command, prune: &[&str]) -> Result<(), Failure> {
    let images = run_quietly(docker().args(["images", "--quiet", "--all"]))?;
    let images: Vec<&str> = images.split_whitespace().collect();
    if !images.is_empty() {
        // An image that another one stands on goes with that one, and is then not found.
        let _ = run_quietly(docker().args(["rmi", "--force"]).args(images));
    }
    run_quietly(docker().args(prune)).map(drop)
}

fn remove(folder: &Path) -> Result<(), Failure> {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).map_err(Failure::of(format!("cannot remove {}", folder.display())))
}
