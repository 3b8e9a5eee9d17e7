//! The SSH agents of a build: the user's, and one of the build's own for keys in files.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lbuild_layer_store::Store;

use crate::args::SshSource;
use crate::exit::Exit;
use crate::failure::Failure;

/// What the agent runs: it tells when the agent is ready, and ends the agent when standard input ends, which
/// it does with this process, however that ends.
const KEEPER: &str = "echo; cat >/dev/null; kill \"$SSH_AGENT_PID\"";

/// Agents by id. Those that were started end when this is dropped.
pub struct SshAgents {
    sockets: BTreeMap<String, PathBuf>,
    _started: Vec<KeyAgent>,
}

impl SshAgents {
    /// Looks for the user's agents, and starts others for keys.
    ///
    /// # Errors
    /// An agent that is not there, or a key that cannot be used.
    pub fn start(sources: &[(String, SshSource)], store: &Store) -> Result<Self, Failure> {
        let (mut sockets, mut started) = (BTreeMap::new(), Vec::new());
        for (id, source) in sources {
            let socket = match source {
                SshSource::Agent(socket) => {
                    let missing =
                        Failure::io(format!("cannot find the SSH agent {id} at {}", socket.display()));
                    fs::metadata(socket).map_err(missing)?;
                    socket.clone()
                }
                SshSource::Keys(keys) => {
                    let agent = KeyAgent::start(&store.scratch()?, keys)?;
                    let socket = agent.socket.clone();
                    started.push(agent);
                    socket
                }
            };
            sockets.insert(id.clone(), socket);
        }
        Ok(Self { sockets, _started: started })
    }

    /// Where they listen, by id.
    pub fn sockets(&self) -> BTreeMap<String, PathBuf> {
        self.sockets.clone()
    }
}

/// An `ssh-agent` that holds keys from files.
struct KeyAgent {
    keeper: Child,
    socket: PathBuf,
}

impl KeyAgent {
    /// Starts one with its socket in `folder`.
    fn start(folder: &Path, keys: &[PathBuf]) -> Result<Self, Failure> {
        let socket = folder.join("keys");
        let keeper = Command::new("ssh-agent")
            .arg("-a")
            .arg(&socket)
            .args(["sh", "-c", KEEPER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| not_run("ssh-agent", error))?;
        let mut agent = Self { keeper, socket };
        agent.wait_until_ready()?;
        agent.add(keys)?;
        Ok(agent)
    }

    fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let mut line = String::new();
        let told = match self.keeper.stdout.take() {
            Some(stdout) => BufReader::new(stdout).read_line(&mut line),
            None => Ok(0),
        };
        match told {
            Ok(1..) => Ok(()),
            _ => Err(Failure::new(Exit::Failed, "ssh-agent, which is to hold the keys of --ssh, ended")),
        }
    }

    fn add(&self, keys: &[PathBuf]) -> Result<(), Failure> {
        let added = Command::new("ssh-add")
            .arg("-q")
            .arg("--")
            .args(keys)
            .env("SSH_AUTH_SOCK", &self.socket)
            // A passphrase would be asked for in the middle of the progress.
            .env("SSH_ASKPASS_REQUIRE", "force")
            .env("SSH_ASKPASS", "false")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| not_run("ssh-add", error))?;
        if added.status.success() {
            return Ok(());
        }
        // It says nothing of a passphrase that it could not ask for, and draws frames around warnings.
        let said = String::from_utf8_lossy(&added.stderr);
        let reason = said.lines().find(|line| !line.is_empty() && !line.starts_with('@'));
        let reason = reason.unwrap_or("it has a passphrase");
        Err(Failure::new(Exit::Failed, format!("cannot use a key of --ssh: {}", reason.trim_end()))
            .help("a key with a passphrase has to be in an agent: ssh-add it, and give --ssh default"))
    }
}

impl Drop for KeyAgent {
    fn drop(&mut self) {
        // The keeper ends the agent, and then itself.
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn not_run(program: &str, error: io::Error) -> Failure {
    Failure::io(format!("cannot run {program}"))(error)
        .help("keys in files need OpenSSH's ssh-agent and ssh-add; a running agent is given as ID=SOCKET")
}
