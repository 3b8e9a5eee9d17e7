//! Who runs lbuild in a test: root, or somebody with fewer rights.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{BaseImage, Image, Run, lbuild_binary};

/// Somebody who runs lbuild.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Person {
    /// Root, with all rights.
    Root,
    /// An ordinary user with subordinate ids.
    WithSubordinateIds,
    /// An ordinary user without.
    WithoutSubordinateIds,
    /// Root that is to do without namespaces and mounts.
    RootWithChroot,
}

/// The number of the users, which no machine's own user has.
const USER: u32 = 54_321;

/// Grants the user subordinate ids in a mount namespace: the machine's files stay as they are.
const GRANT: &str = r#"set -e
for file in passwd subuid subgid; do
    { cat /etc/$file 2>/dev/null || true; cat "$0/$file"; } > "$0/all-$file"
    test -e /etc/$file || touch /etc/$file
    mount --bind "$0/all-$file" /etc/$file
done
exec setpriv --reuid 54321 --regid 54321 --clear-groups "$@""#;

impl Person {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Root, Self::WithSubordinateIds, Self::WithoutSubordinateIds, Self::RootWithChroot];
}

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
        for name in ["context", "grants"] {
            fs::create_dir(bed.folder().join(name)).unwrap();
            open_to_all(&bed.folder().join(name));
        }
        fs::copy(lbuild_binary(), bed.folder().join("lbuild")).unwrap();
        let grant = |name: &str, line: &str| fs::write(bed.folder().join("grants").join(name), line).unwrap();
        grant("passwd", &format!("lbuild-test:x:{USER}:{USER}::/nonexistent:/bin/sh\n"));
        grant("subuid", "lbuild-test:2000000:65536\n");
        grant("subgid", "lbuild-test:2000000:65536\n");
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
            if matches!(person, Person::WithSubordinateIds | Person::WithoutSubordinateIds) {
                chown(&home, Some(USER), Some(USER)).unwrap();
            }
        }
        home
    }

    fn command(&self, person: Person) -> Command {
        let (home, lbuild) = (self.home(person), self.folder().join("lbuild"));
        let mut command = match person {
            Person::Root | Person::RootWithChroot => Command::new(lbuild),
            Person::WithSubordinateIds => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", GRANT]).arg(self.folder().join("grants")).arg(lbuild);
                command
            }
            Person::WithoutSubordinateIds => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=54321", "--regid=54321", "--clear-groups"]).arg(lbuild);
                command
            }
        };
        command.current_dir(&home).env("HOME", &home).env("TMPDIR", &home);
        command.env("LBUILD_ROOT", home.join("store")).env("SOURCE_DATE_EPOCH", "1700000000");
        if person == Person::RootWithChroot {
            command.env("LBUILD_ISOLATION", "chroot");
        }
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
