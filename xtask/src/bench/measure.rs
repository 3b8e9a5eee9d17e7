//! How long a command takes, how much memory, and what it writes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::command::{Failure, command, run_quietly};

/// What one run of a command cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    /// Seconds from its start to its end.
    pub seconds: f64,
    /// Seconds of processors, its own and those of processes that it waited for.
    pub processor: f64,
    /// Bytes of memory of the largest single process, a daemon that works for it included.
    pub peak: u64,
    /// Bytes that it and the daemon had written to disk, or will have.
    pub written: u64,
}

/// A daemon that works for the commands that are measured.
#[derive(Debug, Clone)]
pub struct Daemon {
    /// Its process, and those that it started.
    processes: Vec<PathBuf>,
}

impl Daemon {
    /// The daemon that is process `pid`, and its children.
    pub fn new(pid: u32) -> Self {
        let own = PathBuf::from(format!("/proc/{pid}"));
        let children = fs::read_to_string(own.join(format!("task/{pid}/children"))).unwrap_or_default();
        let others = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
        // Threads of the daemon other than its first may have started some.
        let others = others.filter(|process| parent(process) == Some(pid));
        let children = children.split_whitespace().map(|child| Path::new("/proc").join(child));
        let mut processes: Vec<_> = [own].into_iter().chain(children).chain(others).collect();
        processes.sort();
        processes.dedup();
        Self { processes }
    }

    fn written(&self) -> u64 {
        self.processes.iter().map(|process| written_by(process)).sum()
    }

    /// The kernel then counts the peak anew.
    fn forget_peak(&self) {
        for process in &self.processes {
            let _ = fs::write(process.join("clear_refs"), "5");
        }
    }

    fn peak(&self) -> u64 {
        let of = |process: &PathBuf| status(process, "VmHWM:").unwrap_or(0) * 1024;
        self.processes.iter().map(of).max().unwrap_or(0)
    }
}

/// Runs `measured` to its successful end, its output not shown, after the disk has come to rest.
pub fn measure(measured: &Command, daemon: Option<&Daemon>) -> Result<Cost, Failure> {
    run_quietly(&mut command("sync", [""; 0]))?;
    if let Some(daemon) = daemon {
        daemon.forget_peak();
    }
    let written = || written_by(Path::new("/proc/self")) + daemon.map_or(0, Daemon::written);
    let before = written();
    let mut timed = under_time(measured);
    let began = Instant::now();
    let output = timed
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::of("cannot run the program time (Debian's package time)"))?;
    let seconds = began.elapsed().as_secs_f64();
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(Failure(format!("{measured:?} failed: {}\n{errors}", output.status)));
    }
    let mut told = errors.lines().last().unwrap_or_default().split_whitespace();
    let own: u64 = told.next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let processor = told.filter_map(|seconds| seconds.parse::<f64>().ok()).sum();
    let peak = (own * 1024).max(daemon.map_or(0, Daemon::peak));
    Ok(Cost { seconds, processor, peak, written: written().saturating_sub(before) })
}

/// The command under `time`, whose last line tells the largest process's peak in KiB, and the seconds of
/// processors, its own and the kernel's.
fn under_time(measured: &Command) -> Command {
    let mut timed = command("/usr/bin/time", ["-f", "%M %U %S"]);
    timed.arg(measured.get_program()).args(measured.get_args());
    for (name, value) in measured.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    if let Some(folder) = measured.get_current_dir() {
        timed.current_dir(folder);
    }
    timed
}

/// Bytes that a process and those children that it has waited for had written to disk.
fn written_by(process: &Path) -> u64 {
    let text = fs::read_to_string(process.join("io")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn parent(process: &Path) -> Option<u32> {
    status(process, "PPid:").and_then(|pid| u32::try_from(pid).ok())
}

/// A number of a process's status.
fn status(process: &Path, key: &str) -> Option<u64> {
    let text = fs::read_to_string(process.join("status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_no_measurement() {
        let failure = measure(&command("sh", ["-c", "echo why >&2; exit 3"]), None).unwrap_err();
        assert!(failure.0.contains("why"), "{failure}");
    }

    #[test]
    fn time_and_memory_are_those_of_the_command() {
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo a line >&2";
        let cost = measure(&command("sh", ["-c", script]), None).unwrap();
        assert!(
            cost.processor > 0.0 && cost.seconds + 0.02 >= cost.processor && cost.peak > 100_000,
            "{cost:?}"
        );
    }
}
