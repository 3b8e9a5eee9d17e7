//! Git repositories, and a server of them.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Repositories below a folder, served by `git daemon`.
#[derive(Debug)]
pub struct GitServer {
    daemon: Child,
    port: u16,
}

impl GitServer {
    /// Serves each repository in `folder`.
    pub fn start(folder: &Path) -> Self {
        let config = folder.join("gitconfig");
        fs::write(&config, "[safe]\ndirectory = *\n").unwrap();
        // Another process may take the port before the daemon does.
        (0..5).find_map(|_| Self::try_start(folder, &config)).expect("git daemon does not listen")
    }

    fn try_start(folder: &Path, config: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let daemon = Command::new("git")
            .args(["daemon", "--listen=127.0.0.1", &format!("--port={port}"), "--export-all", "--reuseaddr"])
            .arg(format!("--base-path={}", folder.display()))
            .env("GIT_CONFIG_GLOBAL", config)
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut server = Self { daemon, port };
        let limit = Instant::now() + Duration::from_secs(30);
        while server.daemon.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            assert!(Instant::now() < limit, "git daemon does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Where the repository `name` is.
    pub fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.port)
    }
}

impl Drop for GitServer {
    fn drop(&mut self) {
        // `git` runs the daemon as another process of its group.
        if self.daemon.try_wait().unwrap().is_none() {
            kill_process_group(Pid::from_child(&self.daemon), Signal::KILL).unwrap();
        }
        self.daemon.wait().unwrap();
    }
}

/// Makes a folder a repository, commits all that is in it and returns the commit.
pub fn commit(folder: &Path) -> String {
    git(folder, &["init", "--quiet", "-b", "main"]);
    git(folder, &["add", "--all"]);
    git(folder, &["commit", "--quiet", "--allow-empty", "-m", "m"]);
    git(folder, &["rev-parse", "HEAD"])
}

/// Makes `path` in a folder a submodule at a commit, whatever `.gitmodules` says of it.
pub fn add_gitlink(folder: &Path, path: &str, commit: &str) {
    git(folder, &["init", "--quiet", "-b", "main"]);
    // As it is where a submodule was not fetched.
    fs::create_dir_all(folder.join(path)).unwrap();
    git(folder, &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
}

fn git(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_COMMITTER_DATE", "1600000000 +0000")
        .output()
        .unwrap();
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
