//! How many instructions lbuild's hot paths take: `cargo xtask instructions`.
//!
//! Unlike seconds, instructions hardly depend on the machine, so a path that became slower fails here.
//! They are counted by valgrind's cachegrind, in the process of lbuild alone: what a RUN starts is not counted.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, command, run_quietly};
use crate::{unstable, workspace};

/// Steps of the Dockerfile that is parsed, planned and looked up.
const STEPS: usize = 200;

/// Files that are copied, packed and unpacked, of [`FILE_BYTES`] each.
const FILES: usize = 1000;
const FILE_BYTES: usize = 2000;

/// Files of a folder.
const FILES_A_FOLDER: usize = 50;

/// A path and the most that it may take.
struct HotPath {
    name: &'static str,
    what: &'static str,
    /// Millions of instructions: some percent above what they were when this was written.
    limit: f64,
    /// Whether the same is done before, uncounted.
    is_known: bool,
    /// Arguments of lbuild; `{}` is the folder with everything.
    arguments: &'static [&'static str],
}

/// In an order in which each finds what it needs.
const PATHS: [HotPath; 7] = [
    HotPath {
        name: "parse",
        what: "check a Dockerfile of 200 steps",
        limit: 22.0,
        is_known: false,
        arguments: &["build", "--check", "{}/steps"],
    },
    HotPath {
        name: "plan",
        what: "plan its steps, none of them known",
        limit: 29.0,
        is_known: false,
        arguments: &["build", "--plan", "{}/steps"],
    },
    HotPath {
        name: "pack",
        what: "copy and pack 1,000 files",
        limit: 365.0,
        is_known: false,
        arguments: &["build", "--tag", "files", "{}/files"],
    },
    HotPath {
        name: "key",
        what: "build it again: list the files and find their digests",
        limit: 32.0,
        is_known: true,
        arguments: &["build", "--tag", "files", "{}/files"],
    },
    HotPath {
        name: "export",
        what: "write the image of 1,000 files",
        limit: 190.0,
        is_known: false,
        arguments: &["save", "--output", "{}/image.tar", "files"],
    },
    HotPath {
        name: "unpack",
        what: "ADD an archive of 1,000 files",
        limit: 370.0,
        is_known: false,
        arguments: &["build", "--tag", "added", "{}/add"],
    },
    HotPath {
        name: "cached build",
        what: "build 200 steps that are all known",
        limit: 146.0,
        is_known: true,
        arguments: &["build", "--tag", "steps", "{}/steps"],
    },
];

/// Counts and prints all paths; returns whether they are within their limits. That there is no valgrind is
/// no failure, and told.
///
/// # Errors
/// Where lbuild fails.
pub fn count() -> Result<bool, Failure> {
    let lbuild = workspace::lbuild()?;
    let valgrind = match Valgrind::get() {
        Ok(valgrind) => valgrind,
        Err(Failure(reason)) => {
            println!("NOT RUN: instructions of hot paths, since valgrind cannot be had: {}", reason.trim());
            return Ok(true);
        }
    };
    let folder = workspace::target("instructions")?.join("run");
    prepare(&folder)?;
    let mut is_success = true;
    println!("millions of instructions, and the most allowed:");
    for path in &PATHS {
        let millions = valgrind.count(&lbuild, &folder, path)? as f64 / 1e6;
        let is_within = millions <= path.limit;
        let mark = if is_within { "" } else { "  TOO MANY" };
        println!("{:<13} {millions:>8.1} {:>8.1}  {}{mark}", path.name, path.limit, path.what);
        is_success &= is_within;
    }
    fs::remove_dir_all(&folder).map_err(Failure::of(format!("cannot remove {}", folder.display())))?;
    Ok(is_success)
}

/// Gets the valgrind that counts, unless it is there.
pub fn get_valgrind() -> Result<(), Failure> {
    Valgrind::get().map(drop)
}

/// A current valgrind: those of releases do not know the system calls that lbuild is made of.
struct Valgrind {
    root: PathBuf,
}

impl Valgrind {
    fn get() -> Result<Self, Failure> {
        let root = unstable::unpacked(&workspace::target("instructions")?, &["valgrind"])?;
        Ok(Self { root })
    }

    /// Instructions that lbuild takes for `path`.
    fn count(&self, lbuild: &Path, folder: &Path, path: &HotPath) -> Result<u64, Failure> {
        if path.is_known {
            run_quietly(&mut with_store(Command::new(lbuild), folder, path))?;
        }
        let mut valgrind = command(
            self.root.join("usr/bin/valgrind"),
            ["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", "--log-fd=1"],
        );
        valgrind.env("VALGRIND_LIB", self.root.join("usr/libexec/valgrind")).arg(lbuild);
        let output = run_quietly(&mut with_store(valgrind, folder, path))?;
        let found: u64 = output.lines().filter_map(refs).sum();
        if found == 0 {
            Err(Failure(format!("valgrind counted nothing for {}:\n{output}", path.name)))
        } else {
            Ok(found)
        }
    }
}

/// The command with the arguments of `path`, and a store of its own.
fn with_store(mut command: Command, folder: &Path, path: &HotPath) -> Command {
    let place = folder.display().to_string();
    command.args(path.arguments.iter().map(|argument| argument.replace("{}", &place)));
    command.env("LBUILD_ROOT", folder.join("store")).env("SOURCE_DATE_EPOCH", "0");
    command
}

/// The number in a line `==PID== I refs:   1,234`; forks have a line each.
fn refs(line: &str) -> Option<u64> {
    let (_, number) = line.strip_prefix("==")?.split_once("refs:")?;
    number.trim().replace(',', "").parse().ok()
}

/// Writes the contexts into `folder`, anew.
fn prepare(folder: &Path) -> Result<(), Failure> {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(Failure::of(format!("cannot remove {}", folder.display())))?;
    }
    let mut steps = String::from("FROM scratch\nARG version=1\n");
    for number in 0..STEPS / 4 {
        let _ = write!(
            steps,
            "# Part {number}\nENV PART_{number}=\"${{version:-0}} {number}\"\nWORKDIR /work/{number}\n\
             LABEL part.{number}=$PART_{number}\nCOPY --chmod=0644 file ./file-{number}\n"
        );
    }
    let write = |name: &str, text: &str| unstable::write(&folder.join(name), text);
    write("steps/Dockerfile", &steps)?;
    write("steps/file", "a file\n")?;
    write("files/Dockerfile", "FROM scratch\nCOPY tree /tree\n")?;
    for number in 0..FILES {
        let content = format!("{number:9}\n").repeat(FILE_BYTES / 10);
        write(&format!("files/tree/{}/{number}", number / FILES_A_FOLDER), &content)?;
    }
    write("add/Dockerfile", "FROM scratch\nADD tree.tar /\n")?;
    let tar = command("tar", ["--create", "--sort=name", "--file"]);
    run_quietly(
        { tar }.arg(folder.join("add/tree.tar")).arg("--directory").arg(folder.join("files")).arg("tree"),
    )
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_what_valgrind_prints() {
        for (line, expected) in [
            ("==19665== I refs:        15,693,035", Some(15_693_035)),
            ("==19665== ", None),
            ("image  sha256:a665", None),
            ("I refs: 3", None),
        ] {
            assert_eq!(refs(line), expected, "{line}");
        }
    }
}
