//! Builds over large contexts: `cargo xtask bench context` and `cargo xtask bench memory`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::bench::measure::{Cost, measure};
use crate::bench::random::Random;
use crate::bench::remove;
use crate::bench::samples::Samples;
use crate::command::{Failure, command, run_quietly};
use crate::{packages, workspace};

/// Files of the tree that a cached build is timed on: with [`FILE_BYTES`] each, 1 GB.
const FILES: usize = 100_000;
const FILE_BYTES: usize = 10 << 10;
const FILES_A_DIRECTORY: usize = 100;

/// Each command is run so often, in turns.
const TURNS: usize = 9;

/// What a build may take at most, in bytes: whatever the sizes are.
const MAX_PEAK: u64 = 100_000_000;

/// How large a context is that a build's memory is measured on.
const MANY_FILES: usize = 1_000_000;
const LARGE_FILE: u64 = 4 << 30;

/// Times a cached build, `git status` and `find` on the same tree in turns; returns whether the build took
/// less time than `git status`.
pub fn time(arguments: &[String]) -> Result<bool, Failure> {
    let files = match arguments {
        [] => FILES,
        [number] => number.parse().map_err(Failure::of(format!("{number:?} is no number of files")))?,
        _ => return Err(Failure("bench context takes one number of files".to_owned())),
    };
    let bed = Bed::new("context")?;
    println!("making {files} files");
    bed.fill(files, FILE_BYTES)?;
    for words in [&["init", "--quiet"][..], &["add", "--all"], &["commit", "--quiet", "--message", "all"]] {
        run_quietly(&mut bed.git(words))?;
    }
    measure(&bed.build(), None)?;
    let mut find = command("find", [&bed.context]);
    find.args(["-type", "f"]);
    let commands = [
        ("cached build", bed.build()),
        ("git status", bed.git(&["status", "--short"])),
        ("find -type f", find),
    ];
    let mut seconds = commands.each_ref().map(|_| Samples::default());
    for _ in 0..TURNS {
        for ((_, command), seconds) in commands.iter().zip(&mut seconds) {
            seconds.push(measure(command, None)?.seconds);
        }
    }
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("{TURNS} turns; load {}", load.trim());
    let [build, git, find] = &seconds;
    for ((name, _), seconds) in commands.iter().zip(&seconds) {
        println!("{name:<13} {} s", seconds.shown(3));
    }
    let ratio = |other: &Samples| build.zip(other, |build, other| build / other);
    println!("build / git status  {}", ratio(git).shown(2));
    println!("build / find        {}", ratio(find).shown(2));
    let is_faster = ratio(git).median() < 1.0;
    bed.remove()?;
    Ok(is_faster)
}

/// Measures the memory of builds over a large file and over many files; returns whether none took more than
/// [`MAX_PEAK`].
pub fn memory() -> Result<bool, Failure> {
    let mut is_small = true;
    let bed = Bed::new("large-file")?;
    fs::File::create(bed.context.join("large"))
        .and_then(|file| file.set_len(LARGE_FILE))
        .map_err(Failure::of("cannot make a large file"))?;
    is_small &= bed.peaks(&format!("a file of {} GB", LARGE_FILE >> 30))?;
    bed.remove()?;
    let bed = Bed::new("many-files")?;
    println!("making {MANY_FILES} files");
    bed.fill(MANY_FILES, 1)?;
    is_small &= bed.peaks(&format!("{MANY_FILES} files"))?;
    bed.remove()?;
    Ok(is_small)
}

/// A context and a store.
struct Bed {
    lbuild: PathBuf,
    folder: PathBuf,
    context: PathBuf,
}

impl Bed {
    fn new(name: &str) -> Result<Self, Failure> {
        packages::ensure(&packages::CONTEXT_BENCH_TOOLS)?;
        let lbuild = workspace::lbuild()?;
        let folder = workspace::target("bench")?.join(name);
        remove(&folder)?;
        let context = folder.join("context");
        fs::create_dir_all(&context)
            .and_then(|()| fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY . /\n"))
            .and_then(|()| fs::write(context.join(".dockerignore"), ".git\n"))
            .map_err(Failure::of(format!("cannot make {}", context.display())))?;
        Ok(Self { lbuild, folder, context })
    }

    /// Makes files that differ, a hundred in each directory.
    fn fill(&self, files: usize, bytes: usize) -> Result<(), Failure> {
        let mut content = Random::new(1).bytes(bytes);
        for file in 0..files {
            let directory = file / FILES_A_DIRECTORY;
            let directory = self.context.join(format!("src-{:02}/module-{directory:05}", directory % 10));
            let number = file.to_le_bytes();
            let length = number.len().min(bytes);
            content[..length].copy_from_slice(&number[..length]);
            let write = || {
                if file % FILES_A_DIRECTORY == 0 {
                    fs::create_dir_all(&directory)?;
                }
                fs::write(directory.join(format!("source-file-{file:07}.c")), &content)
            };
            write().map_err(Failure::of(format!("cannot write below {}", directory.display())))?;
        }
        Ok(())
    }

    fn build(&self) -> Command {
        let mut build = command(&self.lbuild, ["build", "--quiet", "--tag", "image"]);
        build.arg(&self.context).env("LBUILD_ROOT", self.folder.join("store"));
        build
    }

    fn git(&self, words: &[&str]) -> Command {
        let mut git = command("git", ["-c", "user.name=bench", "-c", "user.email=bench@localhost"]);
        // What it does in the background would change the tree under the others.
        git.args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
        git.args(words).current_dir(&self.context);
        git
    }

    /// Builds twice and tells the peaks; returns whether they are small enough.
    fn peaks(&self, what: &str) -> Result<bool, Failure> {
        let mut is_small = true;
        for kind in ["first", "cached"] {
            let Cost { seconds, peak, .. } = measure(&self.build(), None)?;
            println!("{what}, {kind} build: {} MB at most, in {seconds:.1} s", peak / 1_000_000);
            is_small &= peak <= MAX_PEAK;
        }
        Ok(is_small)
    }

    fn remove(&self) -> Result<(), Failure> {
        remove(&self.folder)
    }
}
