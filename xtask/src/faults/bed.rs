//! A build with a step of every kind, and what its image has to be.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::command::{Failure, command, run_quietly};
use crate::{rootfs, workspace};

/// A step of every kind; times are clamped, so that every build gives the same bytes.
const DOCKERFILE: &str = r#"FROM base AS one
WORKDIR /work
RUN seq 2000 > numbers && mkdir d && cp numbers d/copy && ln d/copy d/link
RUN --mount=type=cache,target=/cache seq 10 > /cache/x; cp /cache/x x
COPY file /copied
FROM base
ADD archive.tar /added/
COPY --from=one /work /work
COPY --link file /linked
RUN rm -r /etc/motd /work/d && mkdir /work/d && echo new > /work/d/new
COPY <<here /inline
text
here
RUN --mount=type=bind,from=one,target=/one cat /one/work/numbers | tail -n 3 > /last; mkfifo /pipe; chmod 4711 /last
ARG NUMBER=0
RUN echo $NUMBER | tee /number
ENV A=b
"#;

/// The images that there are to build, by the argument `NUMBER`.
pub const VARIANTS: usize = 4;

/// The context, the base image and the image that every build must give.
pub struct Bed {
    lbuild: PathBuf,
    folder: PathBuf,
    base: PathBuf,
    expected: Vec<Vec<u8>>,
    time: Duration,
}

impl Bed {
    /// Builds each image once in a fresh store.
    pub fn new(lbuild: PathBuf) -> Result<Self, Failure> {
        let folder = workspace::target("faults")?;
        fs::remove_dir_all(&folder).map_err(Failure::of("cannot clear the folder"))?;
        let context = folder.join("context");
        let made = fs::create_dir_all(&context)
            .and_then(|()| fs::write(context.join("Dockerfile"), DOCKERFILE))
            .and_then(|()| fs::write(context.join("file"), "content\n".repeat(5000)));
        made.map_err(Failure::of("cannot make a context"))?;
        let tar = ["--sort=name", "--owner=0", "--group=0", "--mtime=@0", "-cf"];
        run_quietly(
            command("tar", tar).arg(context.join("archive.tar")).arg("-C").arg(&context).arg("file"),
        )?;
        let rootfs = folder.join("rootfs.tar.gz");
        rootfs::from_host(rootfs::UTILITIES, &folder.join("rootfs"), &rootfs)?;
        let base = folder.join("base.tar");
        let mut bed = Self { lbuild, folder, base, expected: Vec::new(), time: Duration::ZERO };
        bed.make_base(&rootfs)?;
        for number in 0..VARIANTS {
            let store = bed.fresh("fresh");
            bed.load(&store).map_err(Failure)?;
            let begun = Instant::now();
            let image = bed.build_variant(&store, number, "fresh").map_err(Failure)?;
            bed.time = begun.elapsed();
            bed.expected.push(image);
        }
        Ok(bed)
    }

    fn make_base(&self, rootfs: &Path) -> Result<(), Failure> {
        let context = self.folder.join("base");
        fs::create_dir_all(&context)
            .and_then(|()| fs::copy(rootfs, context.join("rootfs.tar.gz")))
            .and_then(|_| fs::write(context.join("Dockerfile"), "FROM scratch\nADD rootfs.tar.gz /\n"))
            .map_err(Failure::of("cannot make a base"))?;
        let mut build = self.command(&self.fresh("base-store"), ["build", "-q", "-t", "base", "-o"]);
        run_quietly(build.arg(&self.base).arg(&context)).map(|_| ())
    }

    /// The path of a store that is not there yet.
    pub fn fresh(&self, name: &str) -> PathBuf {
        let store = self.folder.join(name);
        // What cannot be removed fails the build.
        let _ = fs::remove_dir_all(&store);
        store
    }

    /// The bed's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An `lbuild` command on a store.
    pub fn command<A: AsRef<OsStr>>(&self, store: &Path, words: impl IntoIterator<Item = A>) -> Command {
        let mut command = command(&self.lbuild, words);
        command.env("LBUILD_ROOT", store).env("SOURCE_DATE_EPOCH", "1600000000").stdin(Stdio::null());
        command.env("XDG_CONFIG_HOME", &self.folder);
        command
    }

    /// Brings the base image into a store.
    pub fn load(&self, store: &Path) -> Result<(), String> {
        let mut load = self.command(store, ["load", "-q", "-i"]);
        succeeded(load.arg(&self.base)).map(|_| ())
    }

    /// The build whose image is compared, written to `archive`.
    pub fn build_command(&self, store: &Path, archive: &Path) -> Command {
        let mut build = self.command(store, ["build", "-q", "-t", "image", "-o"]);
        build.arg(archive).arg(self.folder.join("context"));
        build
    }

    /// How long a build takes that finds nothing in the cache.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// The archive that a build gives.
    pub fn build(&self, store: &Path) -> Result<Vec<u8>, String> {
        self.build_variant(store, 0, "0")
    }

    /// Builds one of the images, which must come out right. The builder's name tells it from others that
    /// work at the same time.
    pub fn build_is_right(&self, store: &Path, variant: usize, builder: &str) -> Result<(), String> {
        match self.expected.get(variant) {
            Some(expected) if self.build_variant(store, variant, builder)? == *expected => Ok(()),
            _ => Err("the image is another".to_owned()),
        }
    }

    fn build_variant(&self, store: &Path, variant: usize, builder: &str) -> Result<Vec<u8>, String> {
        let archive = store.with_extension(format!("{builder}.tar"));
        let mut build = self.build_command(store, &archive);
        succeeded(build.args(["--build-arg", &format!("NUMBER={variant}")]))?;
        let image = fs::read(&archive).map_err(|error| error.to_string())?;
        fs::remove_file(&archive).map_err(|error| error.to_string())?;
        Ok(image)
    }

    /// Whether all of the store verifies.
    pub fn is_undamaged(&self, store: &Path) -> Result<(), String> {
        let check = succeeded(&mut self.command(store, ["store", "check"]))?;
        if check.contains(", 0 damaged") { Ok(()) } else { Err(format!("damaged: {check}")) }
    }

    /// Whether the store is as good as a fresh one: the base may have to be loaded again where it was
    /// damaged, and nothing else.
    pub fn holds(&self, store: &Path) -> Result<(), String> {
        let build = || self.build(store);
        let image = build().or_else(|_| self.load(store).and_then(|()| build()))?;
        if self.expected.first() != Some(&image) {
            return Err("the image is another".to_owned());
        }
        succeeded(&mut self.command(store, ["store", "check", "--repair"]))?;
        self.is_undamaged(store).map_err(|reason| format!("after a repair: {reason}"))?;
        left_behind(store)
    }
}

/// What stands in mountinfo, or in `tmp/` without anybody alive, after the last process ended.
fn left_behind(store: &Path) -> Result<(), String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let name = store.to_string_lossy();
    if let Some(line) = mounts.lines().find(|line| line.contains(&*name) && line.contains("overlay")) {
        return Err(format!("still mounted: {line}"));
    }
    let left = fs::read_dir(store.join("tmp")).map_err(|error| error.to_string())?.count();
    if left > 0 { Err(format!("{left} leftovers in tmp")) } else { Ok(()) }
}

/// Runs a command that must succeed; its output.
pub fn succeeded(command: &mut Command) -> Result<String, String> {
    let Output { status, stdout, stderr } = command.output().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    let text = String::from_utf8_lossy(&stderr);
    Err(format!("{status}: {}", text.trim()))
}
