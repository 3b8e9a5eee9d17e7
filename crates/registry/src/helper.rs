//! Programs that keep credentials: `docker-credential-NAME`.
//!
//! Source: <https://github.com/docker/docker-credential-helpers#development>

use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};

use serde::Deserialize;
use serde_json::json;

use crate::RegistryError;
use crate::auth_file::from_pair;
use crate::credentials::Credentials;

/// What helpers print where they have nothing.
const NOT_FOUND: &str = "credentials not found in native keychain";

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
        let failed = |error: std::io::Error| match error.kind() {
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
        child.wait_with_output().map_err(failed)
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

fn is_not_found(output: &Output) -> bool {
    [&output.stdout, &output.stderr].iter().any(|said| String::from_utf8_lossy(said).contains(NOT_FOUND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helpers_name_is_no_path() {
        for name in ["", "../x", "a/b"] {
            assert!(matches!(Helper::new(name), Err(RegistryError::Helper { .. })), "{name}");
        }
    }

    #[test]
    fn a_missing_helper_is_named() {
        let error = Helper::new("lbuild-test-none").unwrap().get("a.io").unwrap_err().to_string();
        assert!(error.contains("docker-credential-lbuild-test-none"), "{error}");
    }
}
