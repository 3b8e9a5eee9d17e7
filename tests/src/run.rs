//! Programs that ran or are running.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// No program in a test may run longer.
const LIMIT: Duration = Duration::from_secs(300);

/// Between two looks at a program that runs.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `condition` holds. Panics if that takes very long.
#[track_caller]
pub fn wait_until(mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < limit, "what is waited for does not happen");
        sleep(PAUSE);
    }
}

/// A program that has ended.
#[derive(Debug)]
pub struct Run {
    /// The command line.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Run {
    /// Runs `command` to its end without input.
    pub fn of(command: &mut Command) -> Self {
        Running::start(command).end()
    }

    /// Panics unless the status is 0.
    #[track_caller]
    pub fn success(self) -> Self {
        assert!(self.status.success(), "expected success, but {self}");
        self
    }

    /// Panics unless the exit status is `code`, or if the message is that of a crash.
    #[track_caller]
    pub fn failure(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "expected exit status {code}, but {self}");
        assert!(!self.stderr.contains("panicked at"), "a crash: {self}");
        assert!(!self.stderr.trim().is_empty(), "it says nothing: {self}");
        self
    }

    /// Panics unless standard error has each of `parts`.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in the message of {self}");
        }
        self
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as a JSON document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self}"))
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "`{}` ended with {}", self.command, self.status)?;
        write!(f, "stdout:\n{}\nstderr:\n{}", self.text(), self.stderr)
    }
}

/// A program that runs.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
}

impl Running {
    /// Starts `command` without input.
    pub fn start(command: &mut Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {shown}: {error}"));
        let stdout = Pipe::drain(child.stdout.take().unwrap());
        let stderr = Pipe::drain(child.stderr.take().unwrap());
        Self { command: shown, child, stdout, stderr }
    }

    /// Whether standard error has `text` by now.
    pub fn has_said(&self, text: &str) -> bool {
        self.stderr.text().contains(text)
    }

    /// Waits until standard error has `text`.
    #[track_caller]
    pub fn wait_until_it_says(&mut self, text: &str) {
        let limit = Instant::now() + LIMIT;
        while !self.has_said(text) {
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < limit,
                "`{}` did not say {text:?} ({ended:?}):\n{}",
                self.command,
                self.stderr.text()
            );
            sleep(PAUSE);
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until it has ended. Panics if that takes very long.
    #[track_caller]
    pub fn end(mut self) -> Run {
        let limit = Instant::now() + LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > limit {
                self.child.kill().unwrap();
                panic!("`{}` does not end:\n{}", self.command, self.stderr.text());
            }
            sleep(PAUSE);
        };
        let stderr = String::from_utf8_lossy(&self.stderr.end()).into_owned();
        Run { command: self.command, status, stdout: self.stdout.end(), stderr }
    }
}

/// What comes out of a pipe, read by a thread of its own.
#[derive(Debug)]
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Pipe {
    fn drain(mut pipe: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&bytes);
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                shared.lock().unwrap().extend_from_slice(&buffer[..count]);
            }
        });
        Self { bytes, thread }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    fn end(self) -> Vec<u8> {
        self.thread.join().unwrap();
        std::mem::take(&mut self.bytes.lock().unwrap())
    }
}
