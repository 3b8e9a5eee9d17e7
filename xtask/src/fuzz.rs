//! Hostile input for what reads input: `cargo xtask fuzz`.
//!
//! The stable compiler has all that libFuzzer needs but for its name as an option; neither a nightly one
//! nor cargo-fuzz is needed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use crate::command::{Failure, command, run};
use crate::counts::Counts;
use crate::seeds;
use crate::workspace::{self, cargo, entries};

/// What `.ci/run` gives each target.
pub const SHORT: Duration = Duration::from_secs(10);

/// Counters at each edge of the control flow, and what comparisons compare: what cargo-fuzz sets, but
/// for the address sanitizer, which finds nothing in safe code.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module \
     -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// One input may not take longer, in seconds, nor more memory, in MiB.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=2048"];

/// Runs each of the targets `names`, all if there are none, for `time` or until something falls.
///
/// A target passes if nothing fell. What fell is kept, and told with the command that shows it again.
pub fn fuzz(names: &[String], time: Duration) -> Result<Counts, Failure> {
    let names = targets(names)?;
    run_targets(names, &build()?, time)
}

/// The same for all targets, which lie in `programs`.
pub fn run_all(programs: &Path, time: Duration) -> Result<Counts, Failure> {
    run_targets(targets(&[])?, programs, time)
}

/// Runs targets, as many at a time as there are processors: a target uses one.
fn run_targets(names: Vec<String>, programs: &Path, time: Duration) -> Result<Counts, Failure> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(VecDeque::from(names));
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.pop_front());
    let work = || {
        let mut counts = Counts::default();
        while let Some(name) = next() {
            match run_target(&name, &programs.join(&name), time)? {
                true => counts.passed += 1,
                false => counts.failed += 1,
            }
        }
        Ok(counts)
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..at_once).map(|_| scope.spawn(work)).collect();
        let panicked = |_| Err(Failure("a thread that runs fuzz targets panicked".to_owned()));
        let mut counts = Counts::default();
        for worker in workers {
            counts += worker.join().unwrap_or_else(panicked)?;
        }
        Ok(counts)
    })
}

/// The targets of those names, which must exist; all if there are none.
fn targets(names: &[String]) -> Result<Vec<String>, Failure> {
    let files = entries(&workspace::root().join("fuzz/fuzz_targets"))?;
    let all: Vec<String> =
        files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
    match names.iter().find(|name| !all.contains(name)) {
        Some(unknown) => {
            Err(Failure(format!("there is no fuzz target {unknown:?}; there are {}", all.join(", "))))
        }
        None if names.is_empty() => Ok(all),
        None => Ok(names.to_vec()),
    }
}

/// Builds all targets and returns the folder that they are in.
///
/// The crates have a lock file of their own here. One that misses a dependency which a crate got since is
/// mended, told, and no failure: whoever adds a dependency need not know of it.
pub fn build() -> Result<PathBuf, Failure> {
    let folder = workspace::target("fuzz")?;
    let lock = workspace::root().join("fuzz/Cargo.lock");
    let locked = fs::read(&lock).ok();
    // With a target, build scripts and macros are compiled without the flags.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    println!("building the fuzz targets");
    run(cargo()
        .args(["build", "--quiet", "--release", "--manifest-path", "fuzz/Cargo.toml"])
        .args(["--target", &target, "--target-dir"])
        .arg(&folder)
        .env("RUSTFLAGS", format!("--cfg fuzzing {INSTRUMENTATION}")))?;
    if fs::read(&lock).ok() != locked {
        println!("fuzz/Cargo.lock missed a dependency and has it now: commit the file");
    }
    Ok(folder.join(target).join("release"))
}

/// Runs one target on its seeds and what it makes of them; returns whether nothing fell.
fn run_target(name: &str, program: &Path, time: Duration) -> Result<bool, Failure> {
    let corpus = workspace::target(&format!("fuzz/corpus/{name}"))?;
    let fallen = workspace::target(&format!("fuzz/fallen/{name}"))?;
    let laid = workspace::target(&format!("fuzz/seeds/{name}"))?;
    seeds::lay(name, &laid)?;
    let kept = workspace::root().join("fuzz/seeds").join(name);
    let log = workspace::target("fuzz")?.join(format!("{name}.log"));
    let failed = || Failure::of(format!("cannot write {}", log.display()));
    let status = command(program, LIMITS)
        .args([
            format!("-max_total_time={}", time.as_secs()),
            format!("-artifact_prefix={}/", fallen.display()),
        ])
        .args(["-print_final_stats=1", "-max_len=65536"])
        .args([&corpus, &laid])
        .args(kept.is_dir().then_some(&kept))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log).map_err(failed())?)
        .status()
        .map_err(Failure::of(format!("cannot run {}", program.display())))?;
    let text = fs::read(&log).map_err(Failure::of(format!("cannot read {}", log.display())))?;
    let text = String::from_utf8_lossy(&text);
    if status.success() {
        println!("fuzz {name}: ok, {}", summary(&text));
    } else {
        println!("fuzz {name}: FAILED, {status}; the end of {}:\n{}", log.display(), end(&text));
    }
    Ok(status.success())
}

/// How much was tried and reached, from libFuzzer's own words.
fn summary(log: &str) -> String {
    let tried = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let edges = log.lines().rev().find_map(|line| line.split_once(" cov: ")?.1.split(' ').next());
    format!("{} inputs, {} edges", tried.unwrap_or("?").trim(), edges.unwrap_or("?"))
}

/// The last lines, which have the panic and the file that holds the input.
fn end(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_and_reached_is_told() {
        let log = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                   #9\tDONE   cov: 1234 ft: 5678 corp: 9/9b lim: 4 exec/s: 9 rss: 31Mb\n\
                   stat::number_of_executed_units: 4321\n";
        assert_eq!(summary(log), "4321 inputs, 1234 edges");
    }

    #[test]
    fn targets_are_those_that_have_a_file_and_a_binary() {
        let manifest = fs::read_to_string(workspace::root().join("fuzz/Cargo.toml")).unwrap();
        let all = targets(&[]).unwrap();
        assert!(all.contains(&"parse".to_owned()), "{all:?}");
        for name in &all {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        }
        assert!(targets(&["no-such-target".to_owned()]).is_err());
    }
}
