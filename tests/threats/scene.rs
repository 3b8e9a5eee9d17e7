//! Where an attack happens: a test bed, and a folder outside that nothing may touch or see.

use std::fmt::Write as _;
use std::fs::{self, Permissions};
use std::ops::Deref;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use lbuild_tests::{BaseImage, Image, Run, TestBed, programs_layer};

use crate::row::Mode;

/// A test bed beside the folder `outside`, whose files no build may read, change or add to. That is
/// checked at the end, as is that the store is still good.
pub struct Scene {
    bed: TestBed,
    outside: PathBuf,
    token: String,
    before: String,
}

impl Scene {
    /// With an empty store and an empty context.
    pub fn new(mode: Mode) -> Self {
        let bed = match mode {
            Mode::Root => TestBed::new(),
            Mode::Rootless => TestBed::of_ordinary_user(),
        };
        let outside = bed.folder().join("outside");
        // What must not be seen; no path holds it.
        let token = format!("sentinel<{}>", bed.token());
        make_outside(&outside, &token);
        // Whoever got out of a build would be that user.
        for path in ["", "victim", "folder", "folder/victim", "Dockerfile", "passwd"] {
            bed.user().inspect(|user| user.own(&outside.join(path)));
        }
        let before = snapshot(&outside);
        Self { bed, outside, token, before }
    }

    /// With the image `base`: [`BaseImage::busybox`], and the programs of [`programs_layer`] in `/bin`.
    pub fn with_base(mode: Mode, dockerfile: &str) -> Self {
        let scene = Self::new(mode);
        scene.load_base("base", &base());
        scene.dockerfile(dockerfile);
        scene
    }

    /// The folder that nothing may come to, nor from. It holds the files `victim` and `folder/victim`.
    pub fn outside(&self) -> &Path {
        &self.outside
    }

    /// [`Self::outside`] as text.
    pub fn outside_text(&self) -> &str {
        self.outside.to_str().unwrap()
    }

    /// A word that no other scene has, for the environment of what it runs.
    pub fn bed_token(&self) -> String {
        self.bed.token()
    }

    /// Builds the context; the build must fail with an error that says what it is about.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str], parts: &[&str]) -> Run {
        let run = self.build(arguments);
        assert!(!run.status.success(), "expected a failure, but {run}");
        assert!(run.status.code().is_some_and(|code| code < 100), "a crash or a signal: {run}");
        assert!(!run.stderr.contains("panicked at"), "a crash: {run}");
        assert!(run.stderr.contains("error"), "no error is told: {run}");
        self.unseen(run.says(parts))
    }

    /// Builds the context, which may succeed or not; it neither crashes nor shows what is outside.
    #[track_caller]
    pub fn tried(&self, arguments: &[&str]) -> Run {
        let run = self.build(arguments);
        assert!(run.status.code().is_some_and(|code| code < 100), "a crash or a signal: {run}");
        assert!(!run.stderr.contains("panicked at"), "a crash: {run}");
        self.unseen(run)
    }

    /// Builds the context, which must succeed, and reads the image.
    #[track_caller]
    pub fn image_of_build(&self) -> Image {
        self.unseen(self.build([""; 0])).success();
        self.image(&self.name())
    }

    /// Builds the context with its progress in another form than lines of text.
    pub fn build_showing(&self, progress: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(["build", "--progress", progress, "-t", &self.name()]);
        command.args(arguments).arg(self.context());
        command
    }

    /// Panics if `run` showed what is outside.
    #[track_caller]
    pub fn unseen(&self, run: Run) -> Run {
        let shown = run.stderr.contains(&self.token) || run.text().contains(&self.token);
        assert!(!shown, "the sentinel was read: {run}");
        run
    }

    /// Panics if anything outside changed, or if its content came anywhere else.
    #[track_caller]
    pub fn assert_untouched(&self) {
        assert_eq!(snapshot(&self.outside), self.before, "the sentinel was touched");
        assert_ne!(search(&self.outside, &self.token, Path::new("")), "", "a search finds nothing");
        let found = search(self.bed.folder(), &self.token, &self.outside);
        assert!(found.is_empty(), "the sentinel came to\n{found}");
    }

    /// Panics unless the store gives the same image twice.
    #[track_caller]
    fn assert_store_valid(&self) {
        let context = self.bed.folder().join("valid");
        fs::create_dir_all(&context).unwrap();
        fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /\n").unwrap();
        let ids = [&["--no-cache"][..], &["--no-cache"], &[]].map(|arguments| {
            let mut command = self.command(["build", "-q"]);
            command.args(arguments).arg(&context).env("SOURCE_DATE_EPOCH", "0");
            Run::of(&mut command).success().text()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    }
}

impl Deref for Scene {
    type Target = TestBed;

    fn deref(&self) -> &TestBed {
        &self.bed
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_untouched();
            self.assert_store_valid();
        }
    }
}

/// busybox, and above it the attackers' programs.
pub fn base() -> BaseImage {
    BaseImage::busybox().layer(programs_layer())
}

fn make_outside(outside: &Path, token: &str) {
    fs::create_dir_all(outside.join("folder")).unwrap();
    for file in ["victim", "folder/victim", "Dockerfile", "passwd"] {
        fs::write(outside.join(file), format!("{token}\n")).unwrap();
    }
    for (path, mode) in [("victim", 0o640), ("folder/victim", 0o600), ("folder", 0o750), ("", 0o755)] {
        fs::set_permissions(outside.join(path), Permissions::from_mode(mode)).unwrap();
    }
}

/// All that can be known of a folder's files without their having been read.
fn snapshot(folder: &Path) -> String {
    let mut text = String::new();
    describe(folder, &mut text);
    text
}

fn describe(path: &Path, text: &mut String) {
    let stat = fs::symlink_metadata(path).unwrap();
    let (mode, uid, gid, links) = (stat.mode(), stat.uid(), stat.gid(), stat.nlink());
    let (changed, nanoseconds) = (stat.ctime(), stat.ctime_nsec());
    writeln!(text, "{path:?} {mode:o} {uid}:{gid} {links} {changed}.{nanoseconds}").unwrap();
    if stat.is_file() {
        writeln!(text, "{:?}", String::from_utf8_lossy(&fs::read(path).unwrap())).unwrap();
    }
    if stat.is_dir() {
        let mut entries: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| describe(entry, text));
    }
}

/// The files in `folder` that hold `text` and the links that lead to it, a line each, but not those in `except`.
///
/// By other programs: this one has no optimised code, and it is a lot to read.
fn search(folder: &Path, text: &str, except: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut find = Command::new("find");
    find.args(entries.filter(|path| path != except));
    find.args(["(", "-type", "l", "-lname", &format!("*{text}*"), "-print", ")", "-o"]);
    find.args(["(", "-type", "f", "-size", "-65536k"]);
    find.args(["-exec", "grep", "-slF", "-e", text, "{}", "+", ")"]);
    String::from_utf8_lossy(&find.output().unwrap().stdout).into_owned()
}
