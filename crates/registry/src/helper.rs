//! Programs that keep credentials: `docker-credential-NAME`.
//!
//! Source: <https://github.com/docker/docker-credential-helpers#development>

use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::json;

use crate::RegistryError;
use crate::auth_file::from_pair;
use crate::credentials::Credentials;

/// What helpers print where they have nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Bytes of an answer.
const MAX_OUTPUT: u64 = 1 << 20;
/// How long a helper may take, which may have to ask somebody.
const TIME: Duration = Duration::from_secs(300);
/// How often it is asked whether a helper ended that said all.
const SLICE: Duration = Duration::from_millis(2);

/// A credential helper.
pub(crate) struct Helper {
    program: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

impl Helper {
    /// The helper that configuration calls `name`.
    pub fn new(name: &str) -> Result<Self, RegistryError> {
        let program = format!("docker-credential-{name}");
        if name.is_empty() || name.contains('/') {
            let reason = "its name must not be empty or hold a /".to_owned();
            return Err(RegistryError::Helper { program, reason });
        }
        Ok(Self { program })
    }

    /// The credentials for `server`; `None` if the helper has none.
    pub fn get(&self, server: &str) -> Result<Option<Credentials>, RegistryError> {
        let output = self.run("get", server.as_bytes())?;
        if !output.status.success() {
            return if is_not_found(&output) { Ok(None) } else { Err(self.failed(&output)) };
        }
        // The answer is secret: an error says nothing of it.
        let answer: Answer = serde_json::from_slice(&output.stdout)
            .map_err(|_| self.error("its answer is no JSON with Username and Secret".to_owned()))?;
        Ok(Some(from_pair(answer.username, answer.secret)))
    }

    /// Keeps `credentials` for `server`.
    pub fn store(&self, server: &str, credentials: &Credentials) -> Result<(), RegistryError> {
        let (user, secret) = match credentials {
            Credentials::Password { user, password } => (user.as_str(), password),
            Credentials::IdentityToken(token) | Credentials::RegistryToken(token) => ("<token>", token),
        };
        let input = json!({ "ServerURL": server, "Username": user, "Secret": secret }).to_string();
        let output = self.run("store", input.as_bytes())?;
        if output.status.success() { Ok(()) } else { Err(self.failed(&output)) }
    }

    /// Forgets the credentials for `server`; whether there were any.
    pub fn erase(&self, server: &str) -> Result<bool, RegistryError> {
        let output = self.run("erase", server.as_bytes())?;
        match output.status.success() {
            true => Ok(true),
            false if is_not_found(&output) => Ok(false),
            false => Err(self.failed(&output)),
        }
    }

    fn run(&self, action: &str, input: &[u8]) -> Result<Output, RegistryError> {
        self.run_within(action, input, TIME)
    }

    fn run_within(&self, action: &str, input: &[u8], time: Duration) -> Result<Output, RegistryError> {
        let failed = |error: io::Error| match error.kind() {
            ErrorKind::NotFound => self.error("there is no such program in PATH".to_owned()),
            _ => self.error(error.to_string()),
        };
        let mut command = Command::new(&self.program);
        command.arg(action).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input) {
                // It may not want to know.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                result => result.map_err(failed)?,
            }
        }
        output(&mut child, time).map_err(|error| {
            let _ = child.kill().and_then(|()| child.wait());
            failed(error)
        })
    }

    fn failed(&self, output: &Output) -> RegistryError {
        let said = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
        let said = String::from_utf8_lossy(said);
        match said.trim().lines().next() {
            Some(line) => self.error(crate::text::single_line(line)),
            None => self.error(output.status.to_string()),
        }
    }

    fn error(&self, reason: String) -> RegistryError {
        RegistryError::Helper { program: self.program.clone(), reason }
    }
}

/// What `child` prints until it ends, which may be too much or take too long.
fn output(child: &mut Child, time: Duration) -> io::Result<Output> {
    let end = Instant::now() + time;
    let (stdout, stderr) = (read(child.stdout.take())?, read(child.stderr.take())?);
    let (stdout, stderr) = (received(&stdout, end)?, received(&stderr, end)?);
    Ok(Output { status: ended(child, end)?, stdout, stderr })
}

/// Reads by a thread of its own, which nobody waits for: what a helper starts may keep its pipe.
fn read(pipe: Option<impl Read + Send + 'static>) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = mpsc::channel();
    let read = move || {
        let mut bytes = Vec::new();
        let result = match pipe {
            Some(pipe) => pipe.take(MAX_OUTPUT + 1).read_to_end(&mut bytes).map(|_| bytes),
            None => Ok(bytes),
        };
        // Nobody wants to know if the other pipe failed.
        let _ = sender.send(result);
    };
    thread::Builder::new().name("helper".to_owned()).spawn(read)?;
    Ok(receiver)
}

fn received(receiver: &Receiver<io::Result<Vec<u8>>>, end: Instant) -> io::Result<Vec<u8>> {
    let left = end.saturating_duration_since(Instant::now());
    let bytes = receiver.recv_timeout(left).map_err(|_| late())??;
    match bytes.len() as u64 > MAX_OUTPUT {
        true => Err(io::Error::other(format!("it prints more than {MAX_OUTPUT} bytes"))),
        false => Ok(bytes),
    }
}

fn ended(child: &mut Child, end: Instant) -> io::Result<ExitStatus> {
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(status),
            None if Instant::now() > end => return Err(late()),
            None => thread::sleep(SLICE),
        }
    }
}

fn late() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, "it did not end in time")
}

fn is_not_found(output: &Output) -> bool {
    [&output.stdout, &output.stderr].iter().any(|said| String::from_utf8_lossy(said).contains(NOT_FOUND))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_helpers_name_is_no_path() {
        for name in ["", "../x", "a/b"] {
            assert!(matches!(Helper::new(name), Err(RegistryError::Helper { .. })), "{name}");
        }
    }

    #[test]
    fn a_helper_says_and_takes_only_so_much() {
        let folder = tempfile::tempdir().unwrap();
        for (name, script, seconds, expected) in [
            ("endless", "yes", 300, "prints more than"),
            ("errors", "yes >&2", 300, "prints more than"),
            ("stuck", "exec sleep 1000", 0, "did not end in time"),
            ("silent", "exec >&- 2>&-; exec sleep 1000", 0, "did not end in time"),
            ("good", "cat > /dev/null; echo '{}'", 300, ""),
        ] {
            let path = folder.path().join(name);
            let written = folder.path().join(format!("{name}.sh"));
            fs::write(&written, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&written, Permissions::from_mode(0o755)).unwrap();
            // A file that this process wrote may still be open in a child of another test.
            assert!(
                Command::new("cp")
                    .args(["-p".as_ref(), written.as_os_str(), path.as_ref()])
                    .status()
                    .unwrap()
                    .success()
            );
            let helper = Helper { program: path.to_str().unwrap().to_owned() };
            let result = helper.run_within("get", b"a.io", Duration::from_secs(seconds));
            let error = result.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(expected) && error.is_empty() == expected.is_empty(), "{name}: {error}");
        }
    }

    #[test]
    fn a_missing_helper_is_named() {
        let error = Helper::new("lbuild-test-none").unwrap().get("a.io").unwrap_err().to_string();
        assert!(error.contains("docker-credential-lbuild-test-none"), "{error}");
    }
}
