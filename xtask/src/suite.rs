//! Every test, with what it needs: `cargo xtask test`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{Failure, run_quietly};
use crate::conformance;
use crate::counts::Counts;
use crate::dockerd::Dockerd;
use crate::fuzz;
use crate::packages;
use crate::rootfs;
use crate::workspace::{self, cargo};

/// The module that holds the tests which need Docker.
const DOCKER_TESTS: &str = "against_docker::";

/// What is not tested where the conformance cases are not there; cargo hides what tests say of it.
const NEED_CASES: [&str; 5] = [
    "the conformance cases",
    "lbuild-parser: the trees of real Dockerfiles, and BuildKit's tables of words",
    "lbuild-build-context: moby's table of ignore patterns",
    "schemas::: validation by the OCI schemas, and that they refuse wrong documents",
    "fuzz targets: seeds from the corpus (they run with those of testdata)",
];

/// Runs the tests whose names contain one of `filters`. Without filters, runs all of them, the
/// conformance cases, and each fuzz target for a short time. Returns whether none failed.
pub fn run(without_docker: bool, filters: &[String]) -> Result<bool, Failure> {
    packages::ensure(&packages::TEST_TOOLS)?;
    let lbuild = workspace::build_release()?;
    let fixtures = fixtures()?;
    let docker = if without_docker { None } else { Some(Dockerd::start()?) };

    let mut counts = cargo_test(&lbuild, &fixtures, docker.as_ref(), filters)?;
    drop(docker);
    if filters.is_empty() {
        counts += conformance(&lbuild)?;
        counts += fuzz::fuzz(&[], fuzz::SHORT)?;
    }
    let skipped = if without_docker { tests_not_run()? } else { Vec::new() };
    report(counts, &skipped);
    Ok(counts.is_success())
}

/// The folder with the root file systems that the tests build from, made once.
fn fixtures() -> Result<PathBuf, Failure> {
    let folder = workspace::target("test/fixtures")?;
    let debian = folder.join("debian-rootfs.tar.gz");
    if !debian.exists() {
        rootfs::debian(&debian)?;
    }
    let programs = [rootfs::UTILITIES, rootfs::ATTRIBUTE_UTILITIES].concat();
    rootfs::from_host(&programs, &folder.join("host"), &folder.join("host-rootfs.tar.gz"))?;
    Ok(folder)
}

/// Runs cargo's tests, shows their output as it comes and adds up their counts.
fn cargo_test(
    lbuild: &Path,
    fixtures: &Path,
    docker: Option<&Dockerd>,
    filters: &[String],
) -> Result<Counts, Failure> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--"]).args(filters);
    command.env("LBUILD_BIN", lbuild).env("LBUILD_TEST_FIXTURES", fixtures);
    match docker {
        Some(docker) => {
            command.env("LBUILD_TEST_DOCKER_CLIENT", docker.client());
            command.env("LBUILD_TEST_DOCKER_HOST", docker.host());
        }
        None => {
            command.args(["--skip", DOCKER_TESTS]);
        }
    }
    let (mut counts, success) = count_results(&mut command)?;
    if !success && counts.failed == 0 {
        // Something did not compile, or a test process died before it could count.
        counts.failed = 1;
    }
    Ok(counts)
}

/// Runs `command`; returns the counts that it printed and whether it succeeded.
fn count_results(command: &mut Command) -> Result<(Counts, bool), Failure> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Failure::of("cannot run cargo test"))?;
    let mut counts = Counts::default();
    for line in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).split(b'\n')) {
        let line = line.map_err(Failure::of("cannot read the output of cargo test"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        if let Some(found) = Counts::from_cargo(&line) {
            counts += found;
        }
    }
    let status = child.wait().map_err(Failure::of("cannot wait for cargo test"))?;
    Ok((counts, status.success()))
}

/// Runs the conformance cases, or says that they are not here.
fn conformance(lbuild: &Path) -> Result<Counts, Failure> {
    if conformance::script().is_none() {
        println!("NOT RUN, since there is no ../shared/conformance/check.py:");
        NEED_CASES.iter().for_each(|tests| println!("    {tests}"));
        return Ok(Counts::default());
    }
    conformance::run(lbuild, &[])
}

/// The names of the tests that need Docker.
fn tests_not_run() -> Result<Vec<String>, Failure> {
    let listing = run_quietly(
        cargo().args(["test", "--quiet", "--package", "lbuild-tests", "--test", "e2e", "--"]).args([
            "--list",
            "--format",
            "terse",
            DOCKER_TESTS,
        ]),
    )?;
    Ok(listing.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn report(counts: Counts, skipped: &[String]) {
    let Counts { passed, failed } = counts;
    if skipped.is_empty() {
        println!("\n{passed} passed, {failed} failed");
        return;
    }
    println!("\nnot run, since they need Docker:");
    for name in skipped {
        println!("    {name}");
    }
    println!("\n{passed} passed, {failed} failed, {} skipped", skipped.len());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::command;

    #[test]
    fn counts_are_added_up_over_all_test_programs() {
        let script = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'
            echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'
            exit 101";
        let (counts, success) = count_results(&mut command("sh", ["-c", script])).unwrap();
        assert_eq!((counts, success), (Counts { passed: 3, failed: 1 }, false));
    }
}
