//! A place that everybody can read.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{BaseImage, Image, Person, Run, install_program, lbuild_binary};

/// A place that everybody can read, where each person has a store.
#[derive(Debug)]
pub struct SharedBed {
    folder: TempDir,
}

impl Default for SharedBed {
    fn default() -> Self {
        Self::new()
    }
}

impl SharedBed {
    /// An empty context.
    pub fn new() -> Self {
        // Not below the workspace, which others may not be allowed to enter.
        let folder = tempfile::Builder::new().prefix("lbuild-test-").tempdir().unwrap();
        let bed = Self { folder };
        open_to_all(bed.folder());
        fs::create_dir(bed.context()).unwrap();
        open_to_all(&bed.context());
        install_program(lbuild_binary(), &bed.folder().join("lbuild"));
        bed
    }

    /// The bed's folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The context's folder.
    pub fn context(&self) -> PathBuf {
        self.folder().join("context")
    }

    /// Writes a file of the context, which all may read.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.context().join(path);
        let parent = path.parent().unwrap();
        fs::create_dir_all(parent).unwrap();
        open_to_all(parent);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    /// Runs `lbuild` as `person` on the person's own store.
    pub fn lbuild<A: AsRef<OsStr>>(&self, person: Person, arguments: impl IntoIterator<Item = A>) -> Run {
        let mut command = self.command(person);
        command.args(arguments);
        Run::of(&mut command)
    }

    /// Runs `lbuild` as `person`, by a program that begins as root and runs its last arguments.
    pub fn lbuild_by<A: AsRef<OsStr>>(
        &self,
        person: Person,
        launcher: &[&str],
        arguments: impl IntoIterator<Item = A>,
    ) -> Run {
        let plain = self.command(person);
        let (program, launched_by) = launcher.split_first().unwrap();
        let mut command = Command::new(program);
        command.args(launched_by).arg(plain.get_program()).args(plain.get_args()).args(arguments);
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.current_dir(plain.get_current_dir().unwrap());
        Run::of(&mut command)
    }

    /// Brings `image` into a person's store as `name`.
    pub fn load_base(&self, person: Person, name: &str, image: &BaseImage) {
        let archive = self.folder().join("base.tar");
        image.write(name, &archive);
        fs::set_permissions(&archive, fs::Permissions::from_mode(0o644)).unwrap();
        self.lbuild(person, ["load".as_ref(), "-i".as_ref(), archive.as_os_str()]).success();
    }

    /// Builds the context as `person` and returns the image, which is named `built`, and its id.
    #[track_caller]
    pub fn build(&self, person: Person) -> (String, Image) {
        let context = self.context();
        let built = self.lbuild(person, ["build", "--quiet", "--tag", "built", context.to_str().unwrap()]);
        let id = built.success().text().trim().to_owned();
        let archive = self.home(person).join("built.tar");
        self.lbuild(person, ["save", "-o", archive.to_str().unwrap(), "built"]).success();
        (id, Image::read(&archive))
    }

    /// Runs `lbuild` on the store of a user without subordinate ids, started by `script`, a program of the
    /// shell that runs as root in a mount namespace of its own and ends with `"$@"`. `$0` is the bed's folder.
    pub fn lbuild_after<A: AsRef<OsStr>>(&self, script: &str, arguments: impl IntoIterator<Item = A>) -> Run {
        let plain = self.command(Person::WithoutSubordinateIds);
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", script]).arg(self.folder());
        command.arg(self.folder().join("lbuild")).args(arguments);
        command.current_dir(self.folder());
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Run::of(&mut command)
    }

    /// A person's folder, with the store in it.
    pub fn home(&self, person: Person) -> PathBuf {
        let home = self.folder().join(format!("{person:?}"));
        if !home.exists() {
            fs::create_dir(&home).unwrap();
            person.own(&home);
        }
        home
    }

    fn command(&self, person: Person) -> Command {
        let home = self.home(person);
        let mut command = person.command(&self.folder().join("lbuild"), &home);
        command.current_dir(&home).env("HOME", &home).env("TMPDIR", &home);
        command.env("LBUILD_ROOT", home.join("store")).env("SOURCE_DATE_EPOCH", "1700000000");
        command
    }
}

impl Drop for SharedBed {
    fn drop(&mut self) {
        // Modes that the tests' images have keep nobody from removing them: this is root.
        let _ = fs::remove_dir_all(self.folder());
    }
}

fn open_to_all(folder: &Path) {
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}
