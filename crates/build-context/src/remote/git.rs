//! Runs the machine's `git`, for repositories that nobody vouches for.
//!
//! - The environment is made anew: no `GIT_*` of the caller's, no configuration of the user's or the
//!   machine's, no prompt, no hook, no template.
//! - Only transports that go over the network are allowed, for submodules too (CVE-2022-39253).
//! - What a user wrote is an operand, never an option (CVE-2019-13139).
//!
//! ssh is given the agent of `--ssh` and no key file, and wants the host's key to be known.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::Interrupted;
use super::base64::base64;
use super::error::RemoteError;

/// More than the list of a large repository's files.
const MAX_OUTPUT_BYTES: usize = 256 << 20;
/// What is shown of a failure.
const SHOWN_BYTES: usize = 2 << 10;
/// Between two looks at a git that runs.
const PAUSE: Duration = Duration::from_millis(5);

const TRANSPORTS: &str = "git:http:https:ssh";

/// Variables that a fetch may need.
const KEPT_VARIABLES: [&str; 11] = [
    "PATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
];

const SETTINGS: [&str; 11] = [
    "protocol.file.allow=never",
    "protocol.ext.allow=never",
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.logAllRefUpdates=false",
    "init.defaultBranch=master",
    "init.templateDir=",
    "advice.detachedHead=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
];

/// What opens repositories that are not public.
#[derive(Debug, Clone, Default)]
pub struct GitAccess {
    /// The socket of an SSH agent.
    pub ssh_agent: Option<PathBuf>,
    /// The value of an `Authorization` header, for the repository's own server only.
    pub authorization: Option<String>,
}

impl GitAccess {
    /// The header that gives a token to GitHub and those who do as it does.
    pub fn token_header(token: &str) -> String {
        format!("basic {}", base64(format!("x-access-token:{token}").as_bytes()))
    }
}

/// A git on one repository.
#[derive(Clone)]
pub struct Git<'a> {
    access: &'a GitAccess,
    interrupted: Interrupted<'a>,
    repository: Option<PathBuf>,
    work_tree: Option<PathBuf>,
    /// The remote that `access` is for.
    remote: Option<&'a str>,
}

impl<'a> Git<'a> {
    /// A git without a repository, which ends as soon as `interrupted` says so.
    pub fn new(access: &'a GitAccess, interrupted: Interrupted<'a>) -> Self {
        Self { access, interrupted, repository: None, work_tree: None, remote: None }
    }

    /// The same for a repository's folder and the folder of its files.
    pub(super) fn on(&self, repository: &Path, work_tree: &Path) -> Self {
        Self {
            repository: Some(repository.to_owned()),
            work_tree: Some(work_tree.to_owned()),
            ..self.clone()
        }
    }

    /// The same in a folder of files that finds its repository itself.
    pub(super) fn in_folder(&self, work_tree: &Path) -> Self {
        Self { repository: None, work_tree: Some(work_tree.to_owned()), ..self.clone() }
    }

    /// The same, with access to a remote.
    pub(super) fn with_remote(&self, remote: &'a str) -> Self {
        Self { remote: Some(remote), ..self.clone() }
    }

    /// Runs `git ARGUMENTS` to do `what`, and returns what it writes to standard output.
    ///
    /// # Errors
    /// [`RemoteError::NoGit`], [`RemoteError::Git`] with what it says, or [`RemoteError::Interrupted`].
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        what: &str,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Vec<u8>, RemoteError> {
        let mut command = self.command();
        command.args(arguments);
        let mut child = command.spawn().map_err(|source| RemoteError::NoGit { source })?;
        let stdout = drain(child.stdout.take(), MAX_OUTPUT_BYTES);
        let stderr = drain(child.stderr.take(), MAX_OUTPUT_BYTES);
        let status = self.wait(&mut child);
        let (stdout, stderr) = (joined(stdout), joined(stderr));
        let failed = |source| RemoteError::Io { what: format!("run git to {what}"), source };
        if !status?.success() {
            return Err(RemoteError::Git { what: what.to_owned(), output: shown(&stderr.map_err(failed)?) });
        }
        stdout.map_err(failed)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("git");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that its helpers end with it.
        command.process_group(0);
        command.env_clear();
        for name in KEPT_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("LC_ALL", "C")
            .env("HOME", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", TRANSPORTS)
            .env("GIT_SSH_COMMAND", "ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none");
        if let Some(agent) = &self.access.ssh_agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        if let (Some(value), Some(scope)) = (&self.access.authorization, self.remote.and_then(server)) {
            // Not as an argument, which every process of the machine can see.
            command
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", format!("http.{scope}.extraHeader"))
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: {value}"));
        }
        for setting in SETTINGS {
            command.args(["-c", setting]);
        }
        if let Some(repository) = &self.repository {
            command.arg("--git-dir").arg(repository);
            if let Some(work_tree) = &self.work_tree {
                command.arg("--work-tree").arg(work_tree);
            }
        }
        command.current_dir(self.work_tree.as_deref().unwrap_or(Path::new("/")));
        command
    }

    fn wait(&self, child: &mut Child) -> Result<std::process::ExitStatus, RemoteError> {
        let failed = |source| RemoteError::Io { what: "wait for git".to_owned(), source };
        loop {
            if let Some(status) = child.try_wait().map_err(failed)? {
                return Ok(status);
            }
            if (self.interrupted)() {
                // It may have ended meanwhile.
                let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
                child.wait().map_err(failed)?;
                return Err(RemoteError::Interrupted);
            }
            thread::sleep(PAUSE);
        }
    }
}

impl std::fmt::Debug for Git<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { repository, work_tree, .. } = self;
        f.debug_struct("Git")
            .field("repository", repository)
            .field("work_tree", work_tree)
            .finish_non_exhaustive()
    }
}

/// `https://host/` of a remote over HTTPS: an authorization goes nowhere else, and never in clear.
fn server(remote: &str) -> Option<String> {
    let rest = remote.strip_prefix("https://")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(format!("https://{host}/"))
}

fn drain(pipe: Option<impl Read + Send + 'static>, limit: usize) -> JoinHandle<io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let Some(mut pipe) = pipe else { return Ok(bytes) };
        pipe.by_ref().take(limit as u64).read_to_end(&mut bytes)?;
        if io::copy(&mut pipe, &mut io::sink())? > 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    })
}

fn joined(thread: JoinHandle<io::Result<Vec<u8>>>) -> io::Result<Vec<u8>> {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// The end of what git wrote, on one line.
fn shown(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(&stderr[stderr.len().saturating_sub(SHOWN_BYTES)..]);
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines: Vec<&str> = lines.map(|line| line.strip_prefix("fatal: ").unwrap_or(line)).collect();
    if lines.is_empty() { "it does not say why".to_owned() } else { lines.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn git_sees_nothing_of_the_callers_settings() {
        let access = GitAccess { authorization: Some("basic x".into()), ..GitAccess::default() };
        let git = Git::new(&access, &|| false);
        let names = |git: &Git<'_>| {
            let command = git.command();
            let names = command.get_envs().map(|(name, _)| name.to_string_lossy().into_owned());
            names.filter(|name| !KEPT_VARIABLES.contains(&name.as_str())).collect::<Vec<_>>()
        };
        let plain = [
            "GIT_ALLOW_PROTOCOL",
            "GIT_CONFIG_GLOBAL",
            "GIT_CONFIG_NOSYSTEM",
            "GIT_SSH_COMMAND",
            "GIT_TERMINAL_PROMPT",
            "HOME",
            "LC_ALL",
        ];
        assert_eq!(names(&git), plain);
        assert_eq!(names(&git.with_remote("http://host/r.git")), plain, "not in clear");
        assert!(names(&git.with_remote("https://host/r.git")).contains(&"GIT_CONFIG_VALUE_0".to_owned()));
    }

    #[test]
    fn an_authorization_is_for_one_server() {
        assert_eq!(server("https://u:p@host:8443/a/b.git").as_deref(), Some("https://host:8443/"));
        assert_eq!(server("http://host/a.git"), None);
        assert_eq!(server("git@host:a"), None);
    }

    #[test]
    fn an_interruption_ends_git() {
        let access = GitAccess::default();
        let git = Git::new(&access, &|| true);
        // Reads standard error of a helper that never ends by itself.
        let ended = git.run("wait", ["-c", "alias.wait=!sleep 1000", "wait"]);
        assert!(matches!(ended, Err(RemoteError::Interrupted)), "{ended:?}");
    }

    #[test]
    fn what_git_says_is_told_on_one_line() {
        let access = GitAccess::default();
        let error = Git::new(&access, &|| false).run("list", ["ls-remote", "--", "/no/such"]).unwrap_err();
        let RemoteError::Git { output, .. } = &error else { panic!("{error:?}") };
        assert!(output.contains("not") && !output.contains('\n'), "{output}");
    }
}
