//! System packages that the tests and the demo use, installed where they are missing.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::command::{Failure, command, find_program, run_quietly};

/// A Debian or Ubuntu package and a program, or the path of a file, by which it is known to be there.
pub struct Package {
    name: &'static str,
    program: &'static str,
}

impl Package {
    fn is_there(&self) -> bool {
        match self.program.starts_with('/') {
            true => Path::new(self.program).exists(),
            false => find_program(self.program).is_some(),
        }
    }
}

/// Makes a real Debian root file system.
pub const MMDEBSTRAP: Package = Package { name: "mmdebstrap", program: "mmdebstrap" };

/// Sets networks up.
const IPROUTE: Package = Package { name: "iproute2", program: "ip" };

/// Gives an ordinary user's namespaces subordinate ids.
pub const UIDMAP: Package = Package { name: "uidmap", program: "newuidmap" };

/// Programs without libraries.
pub const BUSYBOX: Package = Package { name: "busybox-static", program: "busybox" };

/// What the tests run besides Docker.
pub const TEST_TOOLS: [Package; 24] = [
    MMDEBSTRAP,
    PYTHON,
    Package { name: "skopeo", program: "skopeo" },
    Package { name: "docker-registry", program: "docker-registry" },
    IPROUTE,
    Package { name: "openssl", program: "openssl" },
    Package { name: "ca-certificates", program: "update-ca-certificates" },
    Package { name: "umoci", program: "umoci" },
    Package { name: "buildah", program: "buildah" },
    Package { name: "git", program: "git" },
    UIDMAP,
    Package { name: "passt", program: "pasta" },
    Package { name: "slirp4netns", program: "slirp4netns" },
    BUSYBOX,
    Package { name: "zstd", program: "zstd" },
    Package { name: "xz-utils", program: "xz" },
    Package { name: "bzip2", program: "bzip2" },
    Package { name: "attr", program: "setfattr" },
    Package { name: "libcap2-bin", program: "setcap" },
    Package { name: "podman", program: "podman" },
    Package { name: "containerd", program: "containerd" },
    Package { name: "runc", program: "runc" },
    Package { name: "python3-grpcio", program: "/usr/lib/python3/dist-packages/grpc/__init__.py" },
    Package { name: "python3-yaml", program: "/usr/lib/python3/dist-packages/yaml/__init__.py" },
];

/// What the measurements need besides Docker: another builder, and what makes a root file system.
pub const BENCH_TOOLS: [Package; 3] =
    [MMDEBSTRAP, Package { name: "buildah", program: "buildah" }, Package { name: "time", program: "time" }];

/// What pulls of one image are measured with besides Docker, and on.
pub const PULL_BENCH_TOOLS: [Package; 5] = [
    MMDEBSTRAP,
    Package { name: "skopeo", program: "skopeo" },
    Package { name: "docker-registry", program: "docker-registry" },
    IPROUTE,
    Package { name: "time", program: "time" },
];

/// What the measurements on large contexts need.
pub const CONTEXT_BENCH_TOOLS: [Package; 2] =
    [Package { name: "git", program: "git" }, Package { name: "time", program: "time" }];

/// What makes the disks that faults are tried on, and sets their quotas.
pub const FAULTS: [Package; 2] = [
    Package { name: "e2fsprogs", program: "mkfs.ext4" },
    Package { name: "btrfs-progs", program: "mkfs.btrfs" },
];

/// What the simulation of many machines needs.
pub const SCALE: [Package; 2] = [Package { name: "docker-registry", program: "docker-registry" }, IPROUTE];

/// The Docker daemon and client, and the runtime that the daemon uses.
pub const DOCKER: [Package; 2] =
    [Package { name: "docker.io", program: "dockerd" }, Package { name: "runc", program: "runc" }];

/// Runs the conformance cases, and reads archives in tests.
pub const PYTHON: Package = Package { name: "python3", program: "python3" };

/// Installs those of `packages` whose programs are missing.
///
/// # Errors
/// Where there is no apt, or it fails: the failure names what to install by hand.
pub fn ensure<'a>(packages: impl IntoIterator<Item = &'a Package>) -> Result<(), Failure> {
    let missing: Vec<&str> =
        packages.into_iter().filter(|package| !package.is_there()).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if find_program("apt-get").is_none() {
        return Err(Failure(format!("there is no apt-get here: install the equivalents of {list} by hand")));
    }
    println!("installing {list}");
    let _no_services = ServicePolicy::deny()?;
    if run_quietly(&mut install(&missing)).is_ok() {
        return Ok(());
    }
    run_quietly(apt().arg("update"))?;
    run_quietly(&mut install(&missing)).map(|_| ()).map_err(|failure| {
        Failure(format!("{failure}\nhelp: as root, `apt-get install {list}`, then run this again"))
    })
}

fn install(packages: &[&str]) -> Command {
    let mut apt = apt();
    apt.args(["install", "--yes", "--no-install-recommends"]).args(packages);
    apt
}

fn apt() -> Command {
    let mut apt = command("apt-get", ["--quiet"]);
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt
}

/// While it lives, packages that are installed do not start their services.
struct ServicePolicy {
    ours: bool,
}

impl ServicePolicy {
    const FILE: &str = "/usr/sbin/policy-rc.d";

    fn deny() -> Result<Self, Failure> {
        use std::os::unix::fs::PermissionsExt;
        if Path::new(Self::FILE).exists() {
            return Ok(Self { ours: false });
        }
        fs::write(Self::FILE, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(Self::FILE, fs::Permissions::from_mode(0o755)))
            .map_err(Failure::of(format!("cannot write {} (packages are installed as root)", Self::FILE)))?;
        Ok(Self { ours: true })
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(Self::FILE);
        }
    }
}
