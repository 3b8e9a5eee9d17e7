//! How many instructions lbuild's hot paths take, and the most that they may: `cargo xtask instructions`.
//!
//! Unlike seconds, instructions hardly depend on the machine, so a path that became slower fails here.
//! They are counted in the process of lbuild alone: what a RUN starts is not counted.

#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs, reason = "a program of tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use gungraun::{
    Bench, BinaryBenchmark, BinaryBenchmarkConfig, Cachegrind, CachegrindMetric, Command, Tool,
    binary_benchmark_group, main,
};
use lbuild_tests::{Run, lbuild_binary};

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
    /// Instructions: a fifth above what they were when this was written.
    limit: u64,
    /// What is done before, uncounted.
    before: fn(),
    arguments: &'static [&'static str],
}

/// In an order in which each finds what it needs.
const PATHS: [HotPath; 7] = [
    HotPath {
        name: "parse",
        what: "steps_checked",
        limit: 18_500_000,
        before: nothing,
        arguments: &["build", "--check", "steps"],
    },
    HotPath {
        name: "plan",
        what: "steps_planned_none_known",
        limit: 24_500_000,
        before: nothing,
        arguments: &["build", "--plan", "steps"],
    },
    HotPath {
        name: "pack",
        what: "files_copied_and_packed",
        limit: 350_000_000,
        before: nothing,
        arguments: &BUILD_FILES,
    },
    HotPath {
        name: "key",
        what: "files_listed_and_known",
        limit: 15_000_000,
        before: build_files,
        arguments: &BUILD_FILES,
    },
    HotPath {
        name: "export",
        what: "image_of_files_written",
        limit: 175_000_000,
        before: nothing,
        arguments: &["save", "--output", "image.tar", "files"],
    },
    HotPath {
        name: "unpack",
        what: "archive_of_files_added",
        limit: 350_000_000,
        before: nothing,
        arguments: &["build", "--tag", "added", "add"],
    },
    HotPath {
        name: "cached_build",
        what: "steps_all_known",
        limit: 118_000_000,
        before: build_steps,
        arguments: &BUILD_STEPS,
    },
];

const BUILD_FILES: [&str; 4] = ["build", "--tag", "files", "files"];
const BUILD_STEPS: [&str; 4] = ["build", "--tag", "steps", "steps"];

binary_benchmark_group!(
    name = hot_paths,
    benchmarks = |group: &mut BinaryBenchmarkGroup| {
        for path in &PATHS {
            group.binary_benchmark(path.benchmark());
        }
    }
);

/// Counts where `cargo xtask instructions` asks for it: that has what counts, which `cargo bench` lacks.
fn main() {
    if std::env::var_os("LBUILD_BIN").is_none() {
        println!("NOT RUN: instructions of hot paths, which `cargo xtask instructions` counts");
        return;
    }
    main!(
        config = BinaryBenchmarkConfig::default()
            .default_tool(Tool::Cachegrind)
            .current_dir(folder())
            .pass_through_env("VALGRIND_LIB")
            .env("LBUILD_ROOT", folder().join("store"))
            .env("SOURCE_DATE_EPOCH", "0"),
        setup = prepare(),
        teardown = remove(),
        binary_benchmark_groups = hot_paths
    );
    main();
}

impl HotPath {
    fn benchmark(&self) -> BinaryBenchmark {
        let command = Command::new(lbuild_binary()).args(self.arguments).build();
        let limits = [(CachegrindMetric::Ir, self.limit)];
        // Forks are counted, and no other program.
        let counting = ["--cache-sim=no", "--trace-children=yes", "--trace-children-skip=*"];
        let tool = Cachegrind::with_args(counting).format([CachegrindMetric::Ir]).hard_limits(limits).clone();
        let bench = Bench::new(self.what).command(command).clone();
        BinaryBenchmark::new(self.name)
            .config(BinaryBenchmarkConfig::default().tool(tool))
            .setup(self.before)
            .bench(bench)
            .clone()
    }
}

fn nothing() {}

fn build_files() {
    lbuild(&BUILD_FILES);
}

fn build_steps() {
    lbuild(&BUILD_STEPS);
}

fn lbuild(arguments: &[&str]) {
    let mut command = process::Command::new(lbuild_binary());
    command.args(arguments).current_dir(folder());
    Run::of(command.env("LBUILD_ROOT", folder().join("store")).env("SOURCE_DATE_EPOCH", "0")).success();
}

/// The folder with the contexts and the store.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("instructions")
}

fn remove() {
    if folder().exists() {
        fs::remove_dir_all(folder()).unwrap();
    }
}

/// Writes the contexts, anew.
fn prepare() {
    remove();
    let mut steps = String::from("FROM scratch\nARG version=1\n");
    for number in 0..STEPS / 4 {
        write!(
            steps,
            "# Part {number}\nENV PART_{number}=\"${{version:-0}} {number}\"\nWORKDIR /work/{number}\n\
             LABEL part.{number}=$PART_{number}\nCOPY --chmod=0644 file ./file-{number}\n"
        )
        .unwrap();
    }
    write("steps/Dockerfile", &steps);
    write("steps/file", "a file\n");
    write("files/Dockerfile", "FROM scratch\nCOPY tree /tree\n");
    write("add/Dockerfile", "FROM scratch\nADD tree.tar /\n");
    let mut archive = tar::Builder::new(fs::File::create(folder().join("add/tree.tar")).unwrap());
    for number in 0..FILES {
        let name = format!("tree/{}/{number}", number / FILES_A_FOLDER);
        let file = write(&format!("files/{name}"), &format!("{number:9}\n").repeat(FILE_BYTES / 10));
        archive.append_path_with_name(file, name).unwrap();
    }
    archive.finish().unwrap();
}

/// Writes a file below the folder, and the folders above it; returns its path.
fn write(name: &str, text: &str) -> PathBuf {
    let file = folder().join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, text).unwrap();
    file
}
