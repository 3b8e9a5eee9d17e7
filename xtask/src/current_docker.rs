//! A current Docker, from the packages of Debian's unstable suite, unpacked into a folder of the tests.
//!
//! Debian's and Ubuntu's releases have a Docker of years ago, whose BuildKit lacks much of the language.
//! Nothing is installed: the packages are unpacked, and the daemon starts this system's own runc.

use std::path::Path;

use crate::command::{Failure, command, run_quietly};
use crate::dockerd::Programs;
use crate::unstable;
use crate::workspace;

/// The daemon, its client with what builds, and what the daemon starts.
const PACKAGES: [&str; 5] = ["docker.io", "docker-cli", "docker-buildx", "containerd", "tini-static"];

/// Downloads and unpacks it, once.
///
/// # Errors
/// Where the packages cannot be had, or their programs do not start here.
pub fn get() -> Result<Programs, Failure> {
    let folder = workspace::target("test/current-docker")?;
    let root = unstable::unpacked(&folder, &PACKAGES)?;
    let config = folder.join("config");
    unstable::write(&config.join("config.json"), &plugins(&root))?;
    let programs = Programs {
        name: "current-docker",
        daemon: root.join("usr/sbin/dockerd"),
        client: root.join("usr/bin/docker"),
        path: ["usr/sbin", "usr/bin"].map(|folder| root.join(folder)).to_vec(),
        config: Some(config),
        settings: "{}",
    };
    run_quietly(&mut command(&programs.daemon, ["--version"]))?;
    Ok(programs)
}

/// A configuration by which the client finds its plugins below `root`.
fn plugins(root: &Path) -> String {
    let folder = root.join("usr/libexec/docker/cli-plugins").display().to_string();
    format!("{{\"cliPluginsExtraDirs\": [{folder:?}]}}\n")
}
