//! A folder to build in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::growth::curve::{Curve, Point};
use crate::bench::measure::measure;
use crate::bench::remove;
use crate::command::Failure;
use crate::{rootfs, unstable};

/// lbuild, and a folder for contexts and stores.
pub struct Bed {
    lbuild: PathBuf,
    /// The folder.
    pub folder: PathBuf,
}

impl Bed {
    /// An empty one.
    pub fn new(lbuild: &Path, folder: &Path) -> Result<Self, Failure> {
        remove(folder)?;
        fs::create_dir_all(folder).map_err(Failure::of(format!("cannot make {}", folder.display())))?;
        Ok(Self { lbuild: lbuild.to_owned(), folder: folder.to_owned() })
    }

    /// lbuild with the store `store`.
    pub fn lbuild(&self, store: &str) -> Command {
        let mut command = Command::new(&self.lbuild);
        command.env("LBUILD_ROOT", self.folder.join(store)).env_remove("SOURCE_DATE_EPOCH");
        command
    }

    /// A build of the folder `context`.
    pub fn build(&self, store: &str, context: &str) -> Command {
        let mut command = self.lbuild(store);
        command.args(["build", "--progress", "plain", "--tag", context]).arg(self.folder.join(context));
        command
    }

    /// Writes a file of the folder.
    pub fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        unstable::write(&self.folder.join(name), text)
    }

    /// A context with a root file system that has a shell, `rootfs.tar.gz`.
    pub fn with_shell(&self, context: &str) -> Result<(), Failure> {
        let place = self.folder.join(context);
        fs::create_dir_all(&place).map_err(Failure::of(format!("cannot make {}", place.display())))?;
        rootfs::from_host(rootfs::UTILITIES, &self.folder.join("host"), &place.join("rootfs.tar.gz"))
    }

    /// Adds to `curve` what `command` costs.
    pub fn measure(&self, curve: &mut Curve, amount: u64, command: &Command) -> Result<(), Failure> {
        let cost = measure(command, None)?;
        println!("  {amount} {}: {:.3} s", curve.name, cost.seconds);
        let megabytes = cost.peak as f64 / 1e6;
        curve.points.push(Point { amount: amount as f64, seconds: cost.seconds, megabytes });
        Ok(())
    }
}

/// Curves with these names and no points.
pub fn curves<const N: usize>(names: [&'static str; N]) -> [Curve; N] {
    names.map(|name| Curve { name, points: Vec::new() })
}
