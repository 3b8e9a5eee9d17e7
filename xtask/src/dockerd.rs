//! Docker daemons that belong to the tests alone.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::command::{Failure, command, find_program, run_quietly};
use crate::current_docker;
use crate::packages;
use crate::workspace;

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A running daemon, in a network and a mount namespace of its own and without a bridge: nothing
/// that it does is seen outside. It ends with this value, and with this process however that ends.
pub struct Dockerd {
    process: Child,
    programs: Programs,
    /// Its images, below cargo's target folder.
    data: PathBuf,
    /// Its sockets. In a short path, since a socket's path holds at most 107 bytes.
    run: PathBuf,
}

/// What a daemon and its client are started from.
pub struct Programs {
    /// Tells this daemon's folders from others'.
    pub name: &'static str,
    /// The daemon.
    pub daemon: PathBuf,
    /// The client.
    pub client: PathBuf,
    /// Where the daemon finds what it starts, before the system's folders; empty for there alone.
    pub path: Vec<PathBuf>,
    /// The client's configuration, for plugins that do not lie where it looks.
    pub config: Option<PathBuf>,
    /// The daemon's own configuration, JSON.
    pub settings: &'static str,
}

/// The daemon keeps images as containerd does, and so can write archives straight from a build.
const CONTAINERD_STORE: &str = r#"{"features": {"containerd-snapshotter": true}}"#;

impl Dockerd {
    /// Installs this system's Docker if it is missing, starts its daemon and waits until it answers.
    pub fn start() -> Result<Self, Failure> {
        packages::ensure(&packages::DOCKER)?;
        let (daemon, client) = (program("dockerd")?, program("docker")?);
        Self::start_from(Programs {
            name: "docker",
            daemon,
            client,
            path: Vec::new(),
            config: None,
            settings: "{}",
        })
    }

    /// The same with the current Docker, which is unpacked below cargo's target folder.
    pub fn start_current() -> Result<Self, Failure> {
        packages::ensure(&packages::DOCKER)?;
        Self::start_from(current_docker::get()?)
    }

    /// The same, with images in containerd's store.
    pub fn start_current_with_containerd() -> Result<Self, Failure> {
        packages::ensure(&packages::DOCKER)?;
        let programs = current_docker::get()?;
        Self::start_from(Programs { name: "current-containerd", settings: CONTAINERD_STORE, ..programs })
    }

    fn start_from(programs: Programs) -> Result<Self, Failure> {
        let folder = workspace::target("test")?.join(programs.name);
        let run = std::env::temp_dir().join(format!("lbuild-{}-{}", programs.name, std::process::id()));
        let data = folder.join("data");
        for stale in [&data, &run] {
            remove(stale)?;
            fs::create_dir_all(stale).map_err(Failure::of(format!("cannot make {}", stale.display())))?;
        }
        let log = folder.join("dockerd.log");
        let process = spawn(&programs, &data, &run, &log)?;
        let mut daemon = Self { process, programs, data, run };
        daemon.wait_until_ready(&log)?;
        Ok(daemon)
    }

    /// The client beside the daemon.
    pub fn client(&self) -> &Path {
        &self.programs.client
    }

    /// The value of `DOCKER_CONFIG` for the client, if it needs one.
    pub fn config(&self) -> Option<&Path> {
        self.programs.config.as_deref()
    }

    /// The value of `DOCKER_HOST` that leads to the daemon.
    pub fn host(&self) -> String {
        format!("unix://{}", self.run.join("docker.sock").display())
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    fn wait_until_ready(&mut self, log: &Path) -> Result<(), Failure> {
        let start = Instant::now();
        loop {
            if run_quietly(
                command(&self.programs.client, ["--host", &self.host(), "version"]).env_remove("DOCKER_HOST"),
            )
            .is_ok()
            {
                return Ok(());
            }
            let ended = self.process.try_wait().map_err(Failure::of("cannot wait for dockerd"))?;
            if ended.is_some() || start.elapsed() > START_LIMIT {
                return Err(Failure(format!(
                    "dockerd does not start; the end of {}:\n{}\n\
                     help: it needs root; `cargo xtask test --without-docker` runs the other tests",
                    log.display(),
                    last_lines(log)
                )));
            }
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let pid = self.process.id().to_string();
        // The shell's own kill is everywhere; the program comes in a package.
        let _ = run_quietly(&mut command("sh", ["-c", "kill -TERM $0", &pid]));
        let start = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) {
            if start.elapsed() > STOP_LIMIT {
                let _ = self.process.kill();
                let _ = self.process.wait();
            }
            sleep(Duration::from_millis(50));
        }
        for folder in [&self.data, &self.run] {
            let _ = remove(folder);
        }
    }
}

/// Starts the daemon, whatever this machine's own daemon is configured to. `setpriv` has the kernel end it
/// when this process dies, even by SIGKILL.
fn spawn(programs: &Programs, data: &Path, run: &Path, log: &Path) -> Result<Child, Failure> {
    let log = File::create(log).map_err(Failure::of(format!("cannot write {}", log.display())))?;
    let configuration = run.join("daemon.json");
    fs::write(&configuration, programs.settings)
        .map_err(Failure::of(format!("cannot write {}", configuration.display())))?;
    let copy = log.try_clone().map_err(Failure::of("cannot open the daemon's log twice"))?;
    let system = std::env::var_os("PATH").unwrap_or_default();
    let path = programs.path.iter().cloned().chain(std::env::split_paths(&system));
    let path = std::env::join_paths(path).map_err(Failure::of("a folder of the PATH cannot be one"))?;
    Command::new("unshare")
        .env("PATH", path)
        .args(["--net", "--mount", "setpriv", "--pdeathsig", "TERM"])
        .arg(&programs.daemon)
        .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--group="])
        .arg("--data-root")
        .arg(data)
        .arg("--exec-root")
        .arg(run.join("exec"))
        .arg("--pidfile")
        .arg(run.join("dockerd.pid"))
        .arg("--host")
        .arg(format!("unix://{}", run.join("docker.sock").display()))
        .arg("--config-file")
        .arg(&configuration)
        .stdin(std::process::Stdio::null())
        .stdout(log)
        .stderr(copy)
        .spawn()
        .map_err(Failure::of("cannot start dockerd"))
}

fn program(name: &str) -> Result<PathBuf, Failure> {
    find_program(name).ok_or_else(|| Failure(format!("there is no {name} on this machine")))
}

fn remove(folder: &Path) -> Result<(), Failure> {
    if !folder.exists() {
        return Ok(());
    }
    fs::remove_dir_all(folder).map_err(Failure::of(format!("cannot remove {}", folder.display())))
}

fn last_lines(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
