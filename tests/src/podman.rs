//! Podman as an ordinary user runs it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Person, Run};

/// A user's Podman, with images and containers of its own.
#[derive(Debug)]
pub struct Podman {
    home: PathBuf,
}

impl Podman {
    /// Keeps all that it has in `home`, which the user can enter.
    pub fn new(home: &Path) -> Self {
        for folder in [home, &home.join("run")] {
            fs::create_dir(folder).unwrap();
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).unwrap();
            Person::WithSubordinateIds.own(folder);
        }
        Self { home: home.to_owned() }
    }

    /// Runs a `podman` command to its end.
    pub fn podman<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        Run::of(self.command().args(arguments))
    }

    fn command(&self) -> Command {
        let mut command = Person::WithSubordinateIds.command(Path::new("podman"), &self.home);
        let path = |name: &str| self.home.join(name);
        command.arg("--root").arg(path("storage")).arg("--runroot").arg(path("run/storage"));
        command.arg("--tmpdir").arg(path("run/libpod"));
        // What works on each machine: no systemd, and cgroups of both versions.
        command.args(["--runtime=runc", "--cgroup-manager=cgroupfs", "--events-backend=none"]);
        command.current_dir(&self.home).env("XDG_RUNTIME_DIR", path("run")).env("TMPDIR", &self.home);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Ends the process that holds the user namespace; files in it are root's to remove.
        let _ = Run::of(self.command().args(["system", "migrate"]));
    }
}
