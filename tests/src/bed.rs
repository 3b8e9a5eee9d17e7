//! A store and a context of one test's own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use crate::{BaseImage, Image, Leftovers, Person, Run, Running, lbuild_binary, workspace};

/// A fresh store, a context and a folder for temporary files. When it is dropped, nothing may be
/// left of its builds.
#[derive(Debug)]
pub struct TestBed {
    folder: TempDir,
    store: PathBuf,
    context: PathBuf,
    temporary: PathBuf,
    checks_leftovers: bool,
    /// Whom lbuild runs as.
    person: Person,
}

impl Default for TestBed {
    fn default() -> Self {
        Self::new()
    }
}

impl TestBed {
    /// An empty store and an empty context.
    pub fn new() -> Self {
        let beds = workspace().join("target/test/beds");
        fs::create_dir_all(&beds).unwrap();
        let folder = tempfile::Builder::new().prefix("bed-").tempdir_in(beds).unwrap();
        let path = |name: &str| folder.path().join(name);
        let (store, context, temporary) = (path("store"), path("context"), path("tmp"));
        for made in [&context, &temporary] {
            fs::create_dir(made).unwrap();
        }
        Self { folder, store, context, temporary, checks_leftovers: true, person: Person::Root }
    }

    /// The same for an ordinary user with subordinate ids, who owns the bed.
    pub fn of_ordinary_user() -> Self {
        let mut bed = Self::new();
        bed.person = Person::WithSubordinateIds;
        for owned in [bed.folder(), &bed.context, &bed.temporary] {
            bed.person.own(owned);
        }
        bed
    }

    /// Whom lbuild runs as, if it is an ordinary user.
    pub fn user(&self) -> Option<Person> {
        Some(self.person).filter(|person| person.is_ordinary())
    }

    /// A store that has the image `base` ([`BaseImage::busybox`]), and a Dockerfile.
    pub fn with_base(dockerfile: &str) -> Self {
        let bed = Self::new();
        bed.load_base("base", &BaseImage::busybox());
        bed.dockerfile(dockerfile);
        bed
    }

    /// The bed's folder, outside the context and the store.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The store's folder.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Puts the store at another place inside the bed.
    pub fn move_store(&mut self, name: &str) {
        self.store = self.folder.path().join(name);
    }

    /// The context's folder.
    pub fn context(&self) -> &Path {
        &self.context
    }

    /// A name for the image that no other test uses.
    pub fn name(&self) -> String {
        format!("test/{}", self.token().to_lowercase())
    }

    /// A word that no other bed has, part of the names of all its folders.
    pub fn token(&self) -> String {
        self.folder.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    /// Writes the context's Dockerfile.
    pub fn dockerfile(&self, text: &str) -> &Self {
        self.file("Dockerfile", text)
    }

    /// Writes a file of the context, with mode 0644, and its parent folders.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.context.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        self
    }

    /// Writes a file that is the same in every bed, its time included: its layer is then, too.
    pub fn dated_file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        self.file(path, content);
        let file = fs::File::options().write(true).open(self.context.join(path)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
        self
    }

    /// Brings `image` into the store as `name`.
    pub fn load_base(&self, name: &str, image: &BaseImage) {
        let archive = self.folder.path().join("base.tar");
        image.write(name, &archive);
        self.lbuild(["load", "-i"].map(OsStr::new).into_iter().chain([archive.as_os_str()])).success();
        fs::remove_file(archive).unwrap();
    }

    /// An `lbuild` command on this bed's store, without the caller's settings.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.person.command(lbuild_binary(), self.folder.path());
        command.args(arguments).current_dir(self.folder.path());
        command.env("LBUILD_ROOT", &self.store).env("TMPDIR", &self.temporary);
        // No test asks a registry that it did not start.
        command.env("LBUILD_IMAGE_SOURCES", "store");
        for variable in [
            "SOURCE_DATE_EPOCH",
            "DOCKER_HOST",
            "DOCKER_DEFAULT_PLATFORM",
            "BUILDKIT_PROGRESS",
            "RUST_LOG",
            "NO_COLOR",
            "CLICOLOR_FORCE",
        ] {
            command.env_remove(variable);
        }
        command
    }

    /// Runs `lbuild` to its end.
    pub fn lbuild<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Builds the context as [`Self::name`] with further `arguments`.
    pub fn build<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        Run::of(&mut self.build_command(arguments))
    }

    /// Starts such a build.
    pub fn start_build<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Running {
        Running::start(&mut self.build_command(arguments))
    }

    /// The command of [`Self::build`].
    pub fn build_command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(["build", "--progress", "plain", "-t", &self.name()]);
        command.args(arguments).arg(&self.context);
        command
    }

    /// Builds the context, which must succeed, and reads the image.
    #[track_caller]
    pub fn built(&self) -> Image {
        self.build([""; 0]).success();
        self.image(&self.name())
    }

    /// Saves the image `name` and reads it.
    #[track_caller]
    pub fn image(&self, name: &str) -> Image {
        let archive = self.save(name);
        let image = Image::read(&archive);
        fs::remove_file(archive).unwrap();
        image
    }

    /// Saves the image `name` and returns the archive's path.
    #[track_caller]
    pub fn save(&self, name: &str) -> PathBuf {
        let archive = self.folder.path().join(format!("{}.tar", name.replace(['/', ':'], "-")));
        self.lbuild([OsStr::new("save"), OsStr::new("-o"), archive.as_os_str(), OsStr::new(name)]).success();
        archive
    }

    /// What `lbuild inspect` says of the image `name`.
    #[track_caller]
    pub fn inspect(&self, name: &str) -> Value {
        let document = self.lbuild(["inspect", name]).success().json();
        match document {
            Value::Array(mut images) => images.remove(0),
            other => other,
        }
    }

    /// Panics if a mount, a process or a temporary file is left of the builds.
    #[track_caller]
    pub fn assert_nothing_left(&self) {
        self.leftovers().assert_none();
    }

    /// Finds what is left of the builds. A process of a RUN is found if its environment or command
    /// line has the [`Self::token`].
    pub fn leftovers(&self) -> Leftovers {
        Leftovers::of(self.folder.path(), &self.store, &self.temporary)
    }

    /// Does not look for leftovers when it is dropped.
    pub fn without_check(mut self) -> Self {
        self.checks_leftovers = false;
        self
    }
}

impl Drop for TestBed {
    fn drop(&mut self) {
        if self.checks_leftovers && !std::thread::panicking() {
            self.leftovers().assert_none();
        }
    }
}
