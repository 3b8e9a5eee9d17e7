//! Every test, with what it needs: `cargo xtask test`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, run_quietly};
use crate::conformance;
use crate::counts::Counts;
use crate::dockerd::Dockerd;
use crate::failures::Failures;
use crate::faults;
use crate::fuzz;
use crate::preparation;
use crate::test_programs::{TestProgram, TestRun, run_side_by_side};
use crate::threats;
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

/// The test programs that run longest, which are therefore started first.
const LONGEST: [&str; 2] = ["tests: e2e", "tests: threats"];

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

/// What was built.
struct Built {
    lbuild: PathBuf,
    programs: Vec<TestProgram>,
    /// The folder of the fuzz targets, if they are to run.
    fuzz_targets: Option<PathBuf>,
}

/// Runs the tests whose names contain one of `filters`. Without filters, runs all of them, the
/// conformance cases, the faults in short form, and each fuzz target for a short time. Returns whether none failed.
pub fn run(without_docker: bool, filters: &[String]) -> Result<bool, Failure> {
    let (fixtures, built) = std::thread::scope(|scope| {
        // Downloads need the network, and building the processors.
        let prepared = scope.spawn(|| preparation::for_tests(!without_docker));
        let built = build(filters.is_empty());
        let prepared =
            prepared.join().unwrap_or_else(|_| Err(Failure("the preparation panicked".to_owned())));
        Ok::<_, Failure>((prepared?, built?))
    })?;
    let mut not_run = Vec::new();
    let names = |part: &str| names(&built.programs, part);
    let daemons = if without_docker {
        let reason = "by --without-docker".to_owned();
        not_run.push(NotRun { reason, names: names(DOCKER_TESTS)? });
        Daemons { installed: None, current: None }
    } else {
        start_daemons(names, &mut not_run)?
    };
    if conformance::script().is_none() {
        let mut names = names(SCHEMAS_TEST)?;
        names.extend(NEED_CASES.map(str::to_owned));
        not_run.push(NotRun { reason: "since there is no ../shared/conformance/check.py".to_owned(), names });
    }

    let (mut counts, failures) = run_tests(&built, &fixtures, &daemons, filters)?;
    drop(daemons);
    if let Some(fuzz_targets) = built.fuzz_targets {
        if conformance::script().is_some() {
            counts += conformance::run(&built.lbuild, &[], conformance::JOBS)?;
        }
        let outcome = faults::run(built.lbuild, faults::Amount::short(), &[])?;
        counts += outcome.counts;
        if !outcome.not_run.is_empty() {
            not_run.push(NotRun { reason: "since this machine cannot".to_owned(), names: outcome.not_run });
        }
        counts += fuzz::run_all(&fuzz_targets, fuzz::SHORT)?;
    }
    report(counts, &failures, &not_run);
    Ok(counts.is_success())
}

/// Builds what the tests run.
fn build(with_fuzz_targets: bool) -> Result<Built, Failure> {
    let lbuild = workspace::lbuild()?;
    let programs = TestProgram::build(&["--workspace"])?;
    let fuzz_targets = with_fuzz_targets.then(fuzz::build).transpose()?;
    Ok(Built { lbuild, programs, fuzz_targets })
}

/// Starts both daemons. That a current one cannot be had is no failure, and told.
fn start_daemons(
    names: impl Fn(&str) -> Result<Vec<String>, Failure>,
    not_run: &mut Vec<NotRun>,
) -> Result<Daemons, Failure> {
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

/// Runs all test programs and the examples of the documentation, shows their output and adds up their counts.
fn run_tests(
    built: &Built,
    fixtures: &Path,
    daemons: &Daemons,
    filters: &[String],
) -> Result<(Counts, Failures), Failure> {
    let rank = |program: &&TestProgram| {
        LONGEST.iter().position(|name| *name == program.name).unwrap_or(LONGEST.len())
    };
    let mut programs: Vec<_> = built.programs.iter().collect();
    programs.sort_by_key(rank);
    let mut runs: Vec<_> = programs
        .into_iter()
        .map(|program| TestRun {
            name: program.name.clone(),
            command: match program.name.as_str() {
                threats::PROGRAM => threats::in_memory(program),
                _ => program.command(),
            },
        })
        .collect();
    let mut examples = cargo();
    examples.args(["test", "--workspace", "--no-fail-fast", "--doc", "--"]);
    runs.push(TestRun { name: "examples of the documentation".to_owned(), command: examples });
    for run in &mut runs {
        run.command.args(filters).env("LBUILD_BIN", &built.lbuild).env("LBUILD_TEST_FIXTURES", fixtures);
        daemons.tell(&mut run.command);
        if conformance::script().is_none() {
            run.command.args(["--skip", SCHEMAS_TEST]);
        }
    }
    run_side_by_side(runs)
}

impl Daemons {
    /// Tells a test program where the daemons are, and which tests cannot run without.
    fn tell(&self, command: &mut Command) {
        match &self.installed {
            Some(docker) => {
                command.env("LBUILD_TEST_DOCKER_CLIENT", docker.client());
                command.env("LBUILD_TEST_DOCKER_HOST", docker.host());
            }
            None => {
                command.args(["--skip", DOCKER_TESTS]);
            }
        }
        match &self.current {
            Some(docker) => {
                command.env("LBUILD_TEST_CURRENT_DOCKER_CLIENT", docker.client());
                command.env("LBUILD_TEST_CURRENT_DOCKER_HOST", docker.host());
                command.envs(docker.config().map(|config| ("LBUILD_TEST_CURRENT_DOCKER_CONFIG", config)));
            }
            None => {
                command.args(["--skip", CURRENT_DOCKER_TESTS]);
            }
        }
    }
}

/// The names of the end-to-end tests that have `part` in theirs.
fn names(programs: &[TestProgram], part: &str) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for program in programs.iter().filter(|program| program.name == LONGEST[0]) {
        let listing = run_quietly(program.command().args(["--list", "--format", "terse", part]))?;
        names.extend(listing.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned));
    }
    Ok(names)
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
