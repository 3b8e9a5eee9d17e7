//! A folder to build in.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::bench::growth::curve::{Curve, Point};
use crate::bench::measure::measure;
use crate::bench::remove;
use crate::command::{Failure, command};
use crate::{rootfs, unstable};

/// What takes less than this is measured again, so that what else runs on the machine tells less.
const ENOUGH: Duration = Duration::from_secs(4);

/// But not more often.
const RUNS: usize = 3;

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

    /// A shell script with the words `own`, lbuild and a context, and the store `store`.
    pub fn script(&self, store: &str, script: &str, own: &[&str], context: &str) -> Command {
        let lbuild = self.lbuild(store);
        let mut shell = command("sh", ["-c", script]);
        shell.args(own).arg(lbuild.get_program()).arg(self.folder.join(context));
        shell.envs(lbuild.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
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

    /// Adds to `curve` the least that the command costs that `prepare` makes for each run, whose number it gets.
    pub fn measure(
        &self,
        curve: &mut Curve,
        amount: u64,
        prepare: impl Fn(usize) -> Result<Command, Failure>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let mut least = Point::none(amount);
        for run in 0..RUNS {
            if run > 0 && began.elapsed() > ENOUGH {
                break;
            }
            least.lower(&measure(&prepare(run)?, None)?);
        }
        println!("  {amount} {}: {:.3} s", curve.name, least.seconds);
        curve.points.push(least);
        Ok(())
    }

    /// Removes something of the folder, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        remove(&self.folder.join(name))
    }
}

/// A folder in memory for a store, where the machine has one; removed in the end.
pub struct Memory(Option<PathBuf>);

impl Memory {
    /// An empty one.
    pub fn new() -> Result<Self, Failure> {
        let all = Path::new("/dev/shm");
        if !all.is_dir() {
            return Ok(Self(None));
        }
        let folder = all.join(format!("lbuild-growth-{}", std::process::id()));
        fs::create_dir(&folder).map_err(Failure::of(format!("cannot make {}", folder.display())))?;
        Ok(Self(Some(folder)))
    }

    /// A store there, or in the folder of `bed`.
    pub fn store(&self, bed: &Bed) -> String {
        self.0.as_ref().unwrap_or(&bed.folder).join("store").display().to_string()
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(Err(failure)) = self.0.as_deref().map(remove) {
            println!("{failure}");
        }
    }
}

/// Curves with these names and no points.
pub fn curves<const N: usize>(names: [&'static str; N]) -> [Curve; N] {
    names.map(|name| Curve { name, points: Vec::new() })
}
