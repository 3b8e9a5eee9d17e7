//! Buildah.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Builder, IMAGE, remove};
use crate::command::{Failure, command, find_program, run_quietly};

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
    fn name(&self) -> &'static str {
        "Buildah"
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
