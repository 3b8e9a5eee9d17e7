//! lbuild itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Builder, Compression, IMAGE, remove};
use crate::command::{Failure, command, run_quietly};

/// lbuild with a store of its own.
pub struct Lbuild {
    binary: PathBuf,
    store: PathBuf,
    compression: Option<Compression>,
    trace: PathBuf,
}

impl Lbuild {
    /// lbuild with its store in `folder`.
    pub fn new(binary: &Path, folder: &Path, compression: Option<Compression>) -> Self {
        let own = folder.join("lbuild").join(compression.map_or("default", Compression::name));
        Self {
            binary: binary.to_owned(),
            store: own.join("store"),
            compression,
            trace: own.join("trace.json"),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env("LBUILD_ROOT", &self.store).env_remove("SOURCE_DATE_EPOCH");
        command
    }
}

impl Builder for Lbuild {
    fn name(&self) -> &'static str {
        "lbuild"
    }

    fn compression(&self) -> Option<Compression> {
        self.compression
    }

    fn trace(&self) -> Option<&Path> {
        Some(&self.trace)
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
        command
            .args(["build", "--progress", "plain", "--tag", IMAGE, "--timings"])
            .arg(&self.trace)
            .arg(context);
        command
    }

    fn export(&self, context: &Path, archive: &Path) -> Command {
        let mut command = self.command();
        match self.compression {
            None => command.args(["save", "--output"]).arg(archive).arg(IMAGE),
            Some(compression) => {
                let (archive, compression) = (archive.display(), compression.name());
                let output = format!("type=docker,dest={archive},compression={compression}");
                command.args(["build", "--quiet", "--output", &output]).arg(context)
            }
        };
        command
    }
}
