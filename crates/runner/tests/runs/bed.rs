//! A root file system, and what runs in it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lbuild_runner::{
    Cancel, Exit, Limits, Mount, MountSource, Network, RunError, RunSpec, Security, Stdin, Stream, User, run,
};
use tempfile::{NamedTempFile, TempDir};

const BUSYBOX: &str = "/bin/busybox";

/// A root file system in a temporary directory.
pub struct Bed {
    directory: TempDir,
}

/// How a run ended, and what it printed.
#[derive(Debug)]
pub struct Finished {
    pub result: Result<Exit, RunError>,
    pub stdout: String,
    pub stderr: String,
}

impl Bed {
    pub fn new() -> Self {
        let bed = Self { directory: tempfile::tempdir().unwrap() };
        for directory in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "work"] {
            fs::create_dir(bed.path(directory)).unwrap();
        }
        for (file, content) in [("hosts", "image"), ("resolv.conf", "image"), ("motd", "hello\n")] {
            fs::write(bed.path("etc").join(file), content).unwrap();
        }
        bed.copy_program(BUSYBOX, "bin/busybox");
        for applet in applets() {
            symlink("busybox", bed.path("bin").join(applet)).unwrap();
        }
        bed
    }

    /// With `/bin/probe`, see `probe.c`.
    pub fn with_probe() -> Self {
        let bed = Self::new();
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runs/probe.c");
        let compiled =
            Command::new("cc").args(["-static", "-O1", "-o"]).arg(bed.path("bin/probe")).arg(source).status();
        assert!(compiled.expect("a C compiler is needed").success());
        bed
    }

    /// Makes the file `path` that is to be executed.
    ///
    /// Another process does, for nothing executes a file that is open for writing: each supervisor that a
    /// thread of this process starts has for a moment what others of its threads have open.
    pub fn write_program(&self, path: &str, content: &[u8]) {
        let mut aside = NamedTempFile::new().unwrap();
        aside.write_all(content).unwrap();
        self.copy_program(aside.path(), path);
    }

    /// The same with the content of a file of the host.
    pub fn copy_program(&self, from: impl AsRef<Path>, path: &str) {
        let from = from.as_ref();
        let status = Command::new("install").arg("--mode=755").args([from, &self.path(path)]).status();
        assert!(status.unwrap().success(), "{} is needed (busybox: Debian's busybox-static)", from.display());
    }

    /// The place of `path` on the host.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(path)
    }

    /// Runs a shell script.
    pub fn sh(&self, script: &str) -> Finished {
        finish(self.script(script))
    }

    /// The spec of a shell script.
    pub fn script(&self, script: &str) -> RunSpec {
        self.spec(&["/bin/sh", "-c", script])
    }

    pub fn spec(&self, args: &[&str]) -> RunSpec {
        spec_in(open(self.directory.path()), args)
    }
}

/// The spec of a program in another root.
pub fn spec_in(root: OwnedFd, args: &[&str]) -> RunSpec {
    RunSpec {
        root,
        args: args.iter().map(OsString::from).collect(),
        env: vec![("PATH".into(), "/bin".into())],
        cwd: "/".into(),
        user: User { uid: 0, gid: 0, groups: vec![0] },
        hostname: "buildkitsandbox".into(),
        network: Network::Host,
        security: Security::Sandbox,
        mounts: Vec::new(),
        hosts: b"127.0.0.1 localhost\n".to_vec(),
        resolv_conf: b"nameserver 192.0.2.1\n".to_vec(),
        shm_size: 64 << 20,
        ulimits: Vec::new(),
        limits: Limits::default(),
        no_new_privileges: false,
        stdin: Stdin::Null,
    }
}

pub fn finish(spec: RunSpec) -> Finished {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let mut output = |stream, bytes: &[u8]| match stream {
        Stream::Stdout => stdout.extend_from_slice(bytes),
        Stream::Stderr => stderr.extend_from_slice(bytes),
    };
    let result = run(spec, &mut output, &Cancel::new().unwrap());
    Finished {
        result,
        stdout: String::from_utf8_lossy(&stdout).into(),
        stderr: String::from_utf8_lossy(&stderr).into(),
    }
}

impl Finished {
    /// What it printed; it must have succeeded.
    #[track_caller]
    pub fn success(self) -> String {
        assert!(matches!(self.result, Ok(Exit::Code(0))), "{self:?}");
        self.stdout
    }

    #[track_caller]
    pub fn failure(self) -> String {
        assert!(matches!(self.result, Ok(Exit::Code(1..))), "{self:?}");
        self.stderr
    }

    #[track_caller]
    pub fn error(self) -> String {
        let error = self.result.expect_err("the run must fail");
        match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }
    }
}

pub fn open(path: impl AsRef<Path>) -> OwnedFd {
    File::open(path).unwrap().into()
}

pub fn tree(source: impl AsRef<Path>, target: &str) -> Mount {
    Mount { source: MountSource::Tree(open(source)), target: target.into(), read_only: false }
}

/// How many processes of this machine have such a command line.
pub fn processes_named(commands: &[&str]) -> usize {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|process| fs::read_to_string(process.path().join("cmdline")).ok());
    lines.filter(|line| commands.iter().any(|command| line.contains(command))).count()
}

fn applets() -> &'static [String] {
    static APPLETS: OnceLock<Vec<String>> = OnceLock::new();
    APPLETS.get_or_init(|| {
        let list = Command::new(BUSYBOX).arg("--list").output();
        let list = list.unwrap_or_else(|error| panic!("{BUSYBOX} (busybox-static) is needed: {error}"));
        let names = String::from_utf8(list.stdout).unwrap();
        names.lines().filter(|name| *name != "busybox").map(str::to_owned).collect()
    })
}
