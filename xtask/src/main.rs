//! The project's own commands, run as `cargo xtask COMMAND`.
//!
//! Everything that a fresh machine lacks is set up here and nowhere else: the release binary, root
//! file systems, system packages, a Docker daemon that belongs to the tests alone.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

mod bench;
mod cases;
mod command;
mod conformance;
mod counts;
mod current_docker;
mod demo;
mod deny;
mod dockerd;
mod failures;
mod faults;
mod fuzz;
mod instructions;
mod packages;
mod preparation;
mod rootfs;
mod scale;
mod seeds;
mod suite;
mod test_programs;
mod threats;
mod unstable;
mod workspace;

use std::process::ExitCode;
use std::time::Duration;

use command::Failure;
use counts::Counts;

const USAGE: &str = "\
The project's own commands.

Usage:
  cargo xtask demo [--debian]
      Build lbuild, make a root file system from this machine's shell and core
      utilities (--debian: a real Debian, with mmdebstrap), build an image from
      it, show its layers and, where Docker runs, run it there.

  cargo xtask test [--without-docker] [FILTER...]
      Install what the tests need, start a Docker daemon for them alone, run
      every test, stop the daemon, run the conformance cases, try the store with
      faults, and give hostile input to each fuzz target for a few seconds. Two
      test programs run at a time; what one prints is shown as a whole. The last
      line is `N passed, N failed`. With FILTERs, only tests whose names contain
      one. LBUILD_BIN: a binary that is tested instead of one built from these
      sources; also for `threats`.

  cargo xtask prepare
      Install and download what the tests and `instructions` need, which they do
      by themselves otherwise.

  cargo xtask conformance [--jobs N] [CASE...]
      Run the conformance cases in ../shared/conformance, all or by name or glob,
      N (8) at a time on one store.

  cargo xtask bench [WORKLOAD...] [--runs N] [--minutes N] [--quick]
      Build the workloads with lbuild, a current BuildKit, Docker's two builders
      and Buildah in turn, N times (3) or until N minutes (18) are over, and
      write bench/REPORT.md and bench/chart.svg. --quick: lbuild and the current
      BuildKit alone, once, into target/bench/quick. LBUILD_BIN: a binary that
      is measured instead of one built from these sources; also for the next two.

  cargo xtask bench context [FILES]
      Time a cached build over a context of FILES (100000) files of 10 KiB,
      `git status` and `find -type f` on the same tree, in turns; fails unless
      the build is faster than `git status`.

  cargo xtask bench memory
      Measure the memory of builds over a file of 4 GB and over 1,000,000
      files; fails where one takes more than 100 MB.

  cargo xtask bench isolation
      Measure what keeping a RUN apart costs beyond starting its program, as
      root and as an ordinary user, and write bench/ISOLATION.md; fails where it
      is 5 ms or more. Needs root; takes half a minute.

  cargo xtask bench pull [--runs N]
      Pull an image of about 500 MB from a registry on this machine with lbuild,
      skopeo and Docker in turn, N times (5), each into an empty store, and
      write bench/PULL.md; fails unless lbuild is the fastest. Needs root.

  cargo xtask bench growth [steps|layers|files|bytes|images|builds]...
      Measure how time and memory grow with the amount of each and write
      bench/GROWTH.md and a plot of each; fails where one is worse than linear.

  cargo xtask instructions
      Count the instructions of lbuild's hot paths; fails where one takes more
      than it may. Needs root, and gets a current valgrind and gungraun's runner.

  cargo xtask fuzz [--seconds N] [TARGET...]
      Give hostile input to each fuzz target, or to those named, for N seconds
      (10) each. What it learned is kept below target/fuzz and goes on from.

  cargo xtask threats [FILTER...]
      Carry out the attacks on lbuild, as root and without, and print a line for
      each row of them: where it held. Fails unless every row held.

  cargo xtask faults [--kills=N] [--short] [KIND...]
      Kill builds, fill disks, flip bits, cut the power and crowd one store;
      the next build must be right each time. About half an hour; --short, about
      a minute. KIND is kills, disks, quotas, damage, power or crowd. Needs root.

  cargo xtask scale
      Eight builders, each with its own store and network namespace, build the
      same monorepo at once with one cache in a registry; a ninth gets all of
      it. Prints the figures of docs/scale.md. Needs root.

  cargo xtask deny
      Check the dependencies' licences and sources by deny.toml; installs
      cargo-deny if it is missing.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command and says whether it succeeded.
fn dispatch(arguments: &[String]) -> Result<bool, Failure> {
    let Some((command, rest)) = arguments.split_first() else {
        return Err(Failure(format!("no command given\n\n{USAGE}")));
    };
    match command.as_str() {
        "demo" => demo::demo(flag(rest, "--debian")?).map(|()| true),
        "test" => {
            let (flags, filters): (Vec<_>, Vec<_>) =
                rest.iter().cloned().partition(|argument| argument.starts_with("--"));
            suite::run(flag(&flags, "--without-docker")?, &filters)
        }
        "prepare" => {
            flag(rest, "")?;
            preparation::everything().map(|()| true)
        }
        "conformance" => {
            let (jobs, names) = number(rest, "--jobs")?;
            let jobs = jobs.unwrap_or(conformance::JOBS);
            conformance::run(&workspace::lbuild()?, names, jobs).map(Counts::is_success)
        }
        "bench" => match rest {
            [growth, names @ ..] if growth == "growth" => bench::growth::run(names),
            [context, rest @ ..] if context == "context" => bench::context::time(rest),
            [memory] if memory == "memory" => bench::context::memory(),
            [isolation] if isolation == "isolation" => bench::isolation::measure(),
            [pull, rest @ ..] if pull == "pull" => bench::pull::run(number(rest, "--runs")?.0),
            _ => bench::run(rest).map(|()| true),
        },
        "instructions" => {
            flag(rest, "")?;
            instructions::count()
        }
        "fuzz" => {
            let (seconds, names) = number(rest, "--seconds")?;
            let time = seconds.map_or(fuzz::SHORT, Duration::from_secs);
            fuzz::fuzz(names, time).map(Counts::is_success)
        }
        "threats" => threats::run(rest),
        "faults" => {
            let (amount, kinds) = faults_amount(rest)?;
            faults::run(workspace::lbuild()?, amount, &kinds).map(|outcome| outcome.counts.is_success())
        }
        "scale" => scale::simulate(),
        "deny" => deny::check().map(|()| true),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(true)
        }
        other => Err(Failure(format!("unknown command {other:?}\n\n{USAGE}"))),
    }
}

/// How much `faults` is to do, and of what.
fn faults_amount(arguments: &[String]) -> Result<(faults::Amount, Vec<&str>), Failure> {
    let mut amount = faults::Amount::full(600);
    let mut kinds = Vec::new();
    for argument in arguments {
        if argument == "--short" {
            amount = faults::Amount::short();
        } else if let Some(number) = argument.strip_prefix("--kills=") {
            let kills = number.parse().map_err(Failure::of(format!("{number:?} is no number of kills")))?;
            amount = faults::Amount::full(kills);
        } else if argument.starts_with('-') {
            return Err(Failure(format!("unknown argument {argument:?}\n\n{USAGE}")));
        } else {
            kinds.push(argument.as_str());
        }
    }
    Ok((amount, kinds))
}

/// Whether `name` was given; any other argument is a failure.
fn flag(arguments: &[String], name: &str) -> Result<bool, Failure> {
    match arguments.iter().find(|argument| *argument != name) {
        Some(other) => Err(Failure(format!("unknown argument {other:?}\n\n{USAGE}"))),
        None => Ok(!arguments.is_empty()),
    }
}

/// The number behind the option `name`, if that comes first, and the arguments after it.
fn number<'a>(arguments: &'a [String], name: &str) -> Result<(Option<u64>, &'a [String]), Failure> {
    match arguments {
        [option, value, rest @ ..] if option == name => match value.parse() {
            Ok(number) => Ok((Some(number), rest)),
            Err(_) => Err(Failure(format!("{name} takes a number, not {value:?}\n\n{USAGE}"))),
        },
        _ => Ok((None, arguments)),
    }
}
