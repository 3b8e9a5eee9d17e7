//! Debian's registry in the network of a Docker daemon, which has only its loopback device.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::bench::remove;
use crate::command::{Failure, command, run_quietly};

const ADDRESS: &str = "127.0.0.1:5000";
/// The image that is pulled.
pub const IMAGE: &str = "127.0.0.1:5000/bench/image:1";

const START_LIMIT: Duration = Duration::from_secs(20);

/// A registry. It ends with this value.
pub struct Registry {
    process: Child,
    folder: PathBuf,
    /// Whose network it is in.
    network: u32,
}

impl Registry {
    /// Starts an empty registry in the network of process `network` and waits until it answers.
    pub fn start(folder: &Path, network: u32) -> Result<Self, Failure> {
        remove(folder)?;
        let settings = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    \
             rootdirectory: {}\nhttp:\n  addr: {ADDRESS}\n",
            folder.join("data").display()
        );
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&settings, text))
            .map_err(Failure::of(format!("cannot write {}", settings.display())))?;
        run_quietly(&mut within(network, command("ip", ["link", "set", "lo", "up"])))?;
        let mut serve = command("docker-registry", ["serve"]);
        serve.arg(&settings);
        let process = within(network, serve)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Failure::of("cannot start docker-registry"))?;
        let registry = Self { process, folder: folder.to_owned(), network };
        registry.wait_until_ready()?;
        Ok(registry)
    }

    /// `command`, run where the registry is reached.
    pub fn reach(&self, command: Command) -> Command {
        within(self.network, command)
    }

    /// The folder of its blobs.
    pub fn blobs(&self) -> PathBuf {
        self.folder.join("data/docker/registry/v2/blobs")
    }

    fn wait_until_ready(&self) -> Result<(), Failure> {
        let began = Instant::now();
        let connect = "</dev/tcp/127.0.0.1/5000";
        while run_quietly(&mut self.reach(command("bash", ["-c", connect]))).is_err() {
            if began.elapsed() > START_LIMIT {
                return Err(Failure("docker-registry does not start".to_owned()));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `inner` in the network of process `network`.
fn within(network: u32, inner: Command) -> Command {
    let mut outer = command("nsenter", ["--net", "--target", &network.to_string()]);
    outer.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}
