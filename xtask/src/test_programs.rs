//! The workspace's test programs: built once, then run side by side.
//!
//! `cargo test` runs them one after the other, and most of them wait most of the time.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use serde_json::Value;

use crate::command::Failure;
use crate::counts::Counts;
use crate::failures::Failures;
use crate::workspace::{self, cargo};

/// How many test programs run at the same time; each has several threads of its own.
const AT_ONCE: usize = 2;

/// A test program.
#[derive(Debug)]
pub struct TestProgram {
    /// The folder of its package and its own name, as `archive: hostile`.
    pub name: String,
    file: PathBuf,
    folder: PathBuf,
}

/// A run of tests: what it is called and how it is started.
pub struct TestRun {
    /// What stands above its output.
    pub name: String,
    /// The command, without its outputs.
    pub command: Command,
}

impl TestProgram {
    /// Builds the test programs that the arguments of `cargo test` select.
    pub fn build(selection: &[&str]) -> Result<Vec<Self>, Failure> {
        let mut command = cargo();
        command.arg("test").args(selection).args(["--no-run", "--message-format=json-render-diagnostics"]);
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(Failure::of("cannot run cargo test"))?;
        if !output.status.success() {
            return Err(Failure(format!("the tests do not compile: {}", output.status)));
        }
        Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(Self::of_message).collect())
    }

    /// The program in a line of cargo's messages; there are others.
    fn of_message(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        if message.pointer("/profile/test") != Some(&Value::Bool(true)) {
            return None;
        }
        let file = message["executable"].as_str()?.into();
        let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
        let package = folder.file_name()?.to_string_lossy();
        let name = match message.pointer("/target/kind/0")?.as_str()? {
            "test" => format!("{package}: {}", message.pointer("/target/name")?.as_str()?),
            _ => format!("{package}: unit tests"),
        };
        Some(Self { name, file, folder })
    }

    /// Where it is.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// A command that runs it as `cargo test` would; its arguments follow.
    pub fn command(&self) -> Command {
        if !ignores_interrupts() {
            return self.within(Command::new(&self.file));
        }
        let mut command = Command::new("env");
        command.arg("--default-signal=HUP,INT").arg(&self.file);
        self.within(command)
    }

    /// Has `command`, which ends up running the program, run it as `cargo test` would.
    pub fn within(&self, mut command: Command) -> Command {
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// Whether this process was started to ignore SIGINT or SIGHUP, as by a script that puts it in the background or by
/// `nohup`. All that it starts would, too, and tests interrupt what they start.
fn ignores_interrupts() -> bool {
    const HUP_AND_INT: u64 = 0b11;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & HUP_AND_INT != 0)
}

/// Runs everything in `runs`, the longest of which come first, and prints the output of each as a whole when
/// it has ended. Returns what all of them counted and what failed.
///
/// # Errors
/// Where one cannot be started or its output not be read.
pub fn run_side_by_side(runs: Vec<TestRun>) -> Result<(Counts, Failures), Failure> {
    let logs = workspace::target("test/logs")?;
    let waiting = Mutex::new(VecDeque::from(runs));
    let total = Mutex::new((Counts::default(), Failures::default()));
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.pop_front());
    let work = || {
        while let Some(run) = next() {
            let began = Instant::now();
            let log = logs.join(run.name.replace([':', ' ', '/'], "-"));
            let (output, success) = output(run.command, &log)?;
            let Ok(mut total) = total.lock() else { break };
            let (counts, failures) = &mut *total;
            println!("\n== {}, {} s\n{output}", run.name, began.elapsed().as_secs());
            *counts += count(&output, success, failures);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| {
            worker.join().unwrap_or_else(|_| Err(Failure("a thread that runs tests panicked".to_owned())))
        })
    })?;
    total.into_inner().map_err(|_| Failure("a thread that runs tests panicked".to_owned()))
}

/// Runs `command` to its end; returns what it printed, which is kept in `log`, and whether it succeeded.
fn output(mut command: Command, log: &Path) -> Result<(String, bool), Failure> {
    let failed = || Failure::of(format!("cannot write {}", log.display()));
    let file = File::create(log).map_err(failed())?;
    let copy = file.try_clone().map_err(failed())?;
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(copy)
        .status()
        .map_err(Failure::of(format!("cannot run {program}")))?;
    let output = fs::read(log).map_err(Failure::of(format!("cannot read {}", log.display())))?;
    Ok((String::from_utf8_lossy(&output).into_owned(), status.success()))
}

/// The tests counted in `output`; what failed goes to `failures`.
fn count(output: &str, success: bool, failures: &mut Failures) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines() {
        failures.read(line);
        if let Some(found) = Counts::from_cargo(line) {
            counts += found;
        }
    }
    if !success && counts.failed == 0 {
        // It died before it could count.
        counts.failed = 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::command;

    fn script(name: &str, script: &str) -> TestRun {
        TestRun { name: name.to_owned(), command: command("sh", ["-c", script]) }
    }

    #[test]
    fn counts_are_added_up_over_all_test_programs() {
        let (counts, failures) = run_side_by_side(vec![
            script("counting one", "echo 'test result: ok. 2 passed; 0 failed; 0 ignored'"),
            script("counting two", "echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 101"),
            script("counting three", "echo '---- died stdout ----'; kill -9 $$"),
        ])
        .unwrap();
        assert_eq!(counts, Counts { passed: 3, failed: 2 });
        assert_eq!(failures.summary(), "---- died stdout ----\n");
    }

    #[test]
    fn test_programs_are_found_in_what_cargo_says() {
        let line = |test: bool, kind: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"/w/crates/archive/Cargo.toml",
                "target":{{"kind":["{kind}"],"name":"hostile"}},"profile":{{"test":{test}}},
                "executable":"/w/target/debug/deps/hostile-1"}}"#
            )
            .replace('\n', "")
        };
        let name = |text: &str| TestProgram::of_message(text).map(|program| program.name);
        assert_eq!(name(&line(true, "test")).as_deref(), Some("archive: hostile"));
        assert_eq!(name(&line(true, "lib")).as_deref(), Some("archive: unit tests"));
        assert_eq!(name(&line(false, "bin")), None);
        assert_eq!(name(r#"{"reason":"build-finished","success":true}"#), None);
    }
}
