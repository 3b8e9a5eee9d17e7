//! Every test, with what it needs: `cargo xtask test`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{Failure, run_quietly};
use crate::conformance;
use crate::counts::Counts;
use crate::dockerd::Dockerd;
use crate::failures::Failures;
use crate::faults;
use crate::fuzz;
use crate::packages;
use crate::rootfs;
use crate::workspace::{self, cargo};

/// The module that holds the tests which need Docker.
const DOCKER_TESTS: &str = "against_docker::";

/// Those of them that need a current one.
const CURRENT_DOCKER_TESTS: &str = "against_docker::current::";

/// The test that cannot fail where the conformance cases, and so the schemas, are not there.
const SCHEMAS_TEST: &str = "schemas::the_schemas_refuse_wrong_documents";

/// What is not tested where the conformance cases are not there; cargo hides what tests say of it.
const NEED_CASES: [&str; 5] = [
    "the conformance cases",
    "lbuild-parser: the trees of real Dockerfiles, and BuildKit's tables of words",
    "lbuild-build-context: moby's table of ignore patterns",
    "schemas::every_document_of_an_archive_is_valid: validation by the OCI schemas",
    "fuzz targets: seeds from the corpus (they run with those of testdata)",
];

/// Tests that did not run, all for the same reason.
struct NotRun {
    reason: String,
    names: Vec<String>,
}

/// The daemons that there are.
struct Daemons {
    installed: Option<Dockerd>,
    current: Option<Dockerd>,
}

/// Runs the tests whose names contain one of `filters`. Without filters, runs all of them, the
/// conformance cases, the faults in short form, and each fuzz target for a short time. Returns whether none failed.
pub fn run(without_docker: bool, filters: &[String]) -> Result<bool, Failure> {
    packages::ensure(&packages::TEST_TOOLS)?;
    let lbuild = workspace::build_release()?;
    let fixtures = fixtures()?;
    let mut not_run = Vec::new();
    let daemons = if without_docker {
        let reason = "by --without-docker".to_owned();
        not_run.push(NotRun { reason, names: names(DOCKER_TESTS)? });
        Daemons { installed: None, current: None }
    } else {
        start_daemons(&mut not_run)?
    };
    if conformance::script().is_none() {
        let mut names = names(SCHEMAS_TEST)?;
        names.extend(NEED_CASES.map(str::to_owned));
        not_run.push(NotRun { reason: "since there is no ../shared/conformance/check.py".to_owned(), names });
    }

    let (mut counts, failures) = cargo_test(&lbuild, &fixtures, &daemons, filters)?;
    drop(daemons);
    if filters.is_empty() {
        if conformance::script().is_some() {
            counts += conformance::run(&lbuild, &[], conformance::JOBS)?;
        }
        let outcome = faults::run(lbuild, faults::Amount::short(), &[])?;
        counts += outcome.counts;
        if !outcome.not_run.is_empty() {
            not_run.push(NotRun { reason: "since this machine cannot".to_owned(), names: outcome.not_run });
        }
        counts += fuzz::fuzz(&[], fuzz::SHORT)?;
    }
    report(counts, &failures, &not_run);
    Ok(counts.is_success())
}

/// Starts both daemons. That a current one cannot be had is no failure, and told.
fn start_daemons(not_run: &mut Vec<NotRun>) -> Result<Daemons, Failure> {
    let installed = Some(Dockerd::start()?);
    let current = match Dockerd::start_current() {
        Ok(current) => Some(current),
        Err(Failure(reason)) => {
            let reason = format!("since a current Docker cannot be had: {}", reason.trim());
            not_run.push(NotRun { reason, names: names(CURRENT_DOCKER_TESTS)? });
            None
        }
    };
    Ok(Daemons { installed, current })
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
    daemons: &Daemons,
    filters: &[String],
) -> Result<(Counts, Failures), Failure> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--no-fail-fast", "--"]).args(filters);
    command.env("LBUILD_BIN", lbuild).env("LBUILD_TEST_FIXTURES", fixtures);
    match &daemons.installed {
        Some(docker) => {
            command.env("LBUILD_TEST_DOCKER_CLIENT", docker.client());
            command.env("LBUILD_TEST_DOCKER_HOST", docker.host());
        }
        None => {
            command.args(["--skip", DOCKER_TESTS]);
        }
    }
    match &daemons.current {
        Some(docker) => {
            command.env("LBUILD_TEST_CURRENT_DOCKER_CLIENT", docker.client());
            command.env("LBUILD_TEST_CURRENT_DOCKER_HOST", docker.host());
            command.envs(docker.config().map(|config| ("LBUILD_TEST_CURRENT_DOCKER_CONFIG", config)));
        }
        None => {
            command.args(["--skip", CURRENT_DOCKER_TESTS]);
        }
    }
    if conformance::script().is_none() {
        command.args(["--skip", SCHEMAS_TEST]);
    }
    let (mut counts, failures, success) = count_results(&mut command)?;
    if !success && counts.failed == 0 {
        // Something did not compile, or a test process died before it could count.
        counts.failed = 1;
    }
    Ok((counts, failures))
}

/// Runs `command`; returns the counts and failures that it printed and whether it succeeded.
fn count_results(command: &mut Command) -> Result<(Counts, Failures, bool), Failure> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Failure::of("cannot run cargo test"))?;
    let (mut counts, mut failures) = (Counts::default(), Failures::default());
    for line in child.stdout.take().into_iter().flat_map(|output| BufReader::new(output).split(b'\n')) {
        let line = line.map_err(Failure::of("cannot read the output of cargo test"))?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        failures.read(&line);
        if let Some(found) = Counts::from_cargo(&line) {
            counts += found;
        }
    }
    let status = child.wait().map_err(Failure::of("cannot wait for cargo test"))?;
    Ok((counts, failures, status.success()))
}

/// The names of the end-to-end tests that have `part` in theirs.
fn names(part: &str) -> Result<Vec<String>, Failure> {
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "lbuild-tests", "--test", "e2e", "--"]);
    let listing = run_quietly(command.args(["--list", "--format", "terse", part]))?;
    Ok(listing.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn report(counts: Counts, failures: &Failures, not_run: &[NotRun]) {
    let Counts { passed, failed } = counts;
    print!("\n{}", failures.summary());
    for NotRun { reason, names } in not_run {
        println!("\nNOT RUN, {reason}:");
        names.iter().for_each(|name| println!("    {name}"));
    }
    match not_run.iter().map(|not_run| not_run.names.len()).sum::<usize>() {
        0 => println!("\n{passed} passed, {failed} failed"),
        skipped => println!("\n{passed} passed, {failed} failed, {skipped} not run"),
    }
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
        let (counts, _, success) = count_results(&mut command("sh", ["-c", script])).unwrap();
        assert_eq!((counts, success), (Counts { passed: 3, failed: 1 }, false));
    }
}
