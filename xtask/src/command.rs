//! Running other programs, with failures that say which and how.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What went wrong, for the person who ran the command.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Failure {
    /// Wraps an error with what was being done, as in `map_err(Failure::of("cannot read x"))`.
    pub fn of<E: fmt::Display>(what: impl fmt::Display) -> impl FnOnce(E) -> Self {
        move |error| Self(format!("{what}: {error}"))
    }
}

/// A command whose words are `program` and `arguments`.
pub fn command<A: AsRef<OsStr>>(
    program: impl AsRef<OsStr>,
    arguments: impl IntoIterator<Item = A>,
) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

/// Runs `command` with this program's own output and fails unless it succeeds.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(Failure::of(format!("cannot run {}", shown(command))))?;
    if status.success() { Ok(()) } else { Err(Failure(format!("{} failed: {status}", shown(command)))) }
}

/// Runs `command` without showing its output, which becomes part of the failure if it fails.
pub fn run_quietly(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(Failure::of(format!("cannot run {}", shown(command))))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(Failure(format!("{} failed: {}\n{stdout}{stderr}", shown(command), output.status)))
}

/// Where `program` stands: in the system's own folders, then on the PATH.
///
/// The system's folders come first because distributions keep daemons in `sbin`, and because a
/// client should be of the same version as the daemon beside it.
pub fn find_program(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(PathBuf::from)
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_holds_its_output() {
        let failure = run_quietly(&mut command("sh", ["-c", "echo out; echo err >&2; exit 3"])).unwrap_err();
        for part in ["sh -c", "exit status: 3", "out\n", "err\n"] {
            assert!(failure.0.contains(part), "{part:?} is not in {:?}", failure.0);
        }
    }

    #[test]
    fn programs_are_found_by_name() {
        assert!(find_program("sh").is_some());
        assert_eq!(find_program("no-such-program-here"), None);
    }
}
