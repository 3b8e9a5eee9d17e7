//! Git sources, from a server on this machine.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lbuild_build_context::remote::{Git, GitAccess, GitSource, Remote, RemoteError, ResolvedGit};
use rustix::process::{Pid, Signal, kill_process_group};

const TIME: i64 = 1_600_000_000;

/// Repositories, and a daemon that serves them.
struct Bed {
    folder: tempfile::TempDir,
    daemon: Daemon,
    access: GitAccess,
}

/// A server of the repositories in a folder.
struct Daemon {
    process: Child,
    port: u16,
}

impl Daemon {
    /// `None` if the port is another's.
    fn try_start(folder: &Path) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new("git")
            .args(["daemon", "--listen=127.0.0.1", &format!("--port={port}"), "--export-all", "--reuseaddr"])
            .arg(format!("--base-path={}", folder.display()))
            .env("GIT_CONFIG_GLOBAL", folder.join("config"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut daemon = Self { process, port };
        let limit = Instant::now() + Duration::from_secs(30);
        while daemon.process.try_wait().unwrap().is_none() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(daemon);
            }
            assert!(Instant::now() < limit, "git daemon does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config"), "[safe]\ndirectory = *\n").unwrap();
        // Another process may take the port before the daemon does.
        let daemon = (0..5).find_map(|_| Daemon::try_start(folder.path()));
        let daemon = daemon.expect("git daemon does not listen");
        Self { folder, daemon, access: GitAccess::default() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("git://127.0.0.1:{}/{name}", self.daemon.port)
    }

    /// Runs git in a repository, which is made if need be; returns what it says.
    fn git(&self, name: &str, arguments: &[&str]) -> String {
        let folder = self.path(name);
        if !folder.exists() {
            fs::create_dir(&folder).unwrap();
            self.git(name, &["init", "--quiet", "-b", "main"]);
        }
        let output = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"])
            .args(arguments)
            .current_dir(folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_COMMITTER_DATE", format!("{TIME} +0000"))
            .output()
            .unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Commits a file's content and returns the commit.
    fn commit(&self, name: &str, path: &str, content: &str) -> String {
        self.git(name, &["status"]);
        let file = self.path(name).join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, content).unwrap();
        self.commit_all(name)
    }

    fn commit_all(&self, name: &str) -> String {
        self.git(name, &["add", "--all"]);
        self.git(name, &["commit", "--quiet", "-m", "m"]);
        self.git(name, &["rev-parse", "HEAD"])
    }

    fn resolve(&self, source: &GitSource) -> Result<ResolvedGit, RemoteError> {
        source.resolve(&Git::new(&self.access, &|| false))
    }

    /// Checks out `NAME` and what follows it in the URL.
    fn checkout(&self, reference: &str) -> Result<(tempfile::TempDir, PathBuf), RemoteError> {
        let source = source(&self.url(reference));
        let resolved = self.resolve(&source)?;
        let folder = tempfile::tempdir().unwrap();
        let files = source.checkout(&resolved, &Git::new(&self.access, &|| false), folder.path())?;
        Ok((folder, files))
    }

    fn identity(&self, reference: &str) -> String {
        let source = source(&self.url(reference));
        self.resolve(&source).unwrap().identity(&source)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // `git` runs the daemon as another process of its group.
        if self.process.try_wait().unwrap().is_none() {
            kill_process_group(Pid::from_child(&self.process), Signal::KILL).unwrap();
        }
        self.process.wait().unwrap();
    }
}

fn source(url: &str) -> GitSource {
    match Remote::of_add(url).unwrap() {
        Some(Remote::Git(source)) => *source,
        other => panic!("{url}: {other:?}"),
    }
}

fn names(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn branches_tags_and_commits_are_found() {
    let bed = Bed::new();
    let first = bed.commit("r", "file", "1");
    bed.git("r", &["tag", "light"]);
    bed.git("r", &["tag", "-a", "-m", "t", "annotated"]);
    let second = bed.commit("r", "file", "2");
    bed.git("r", &["checkout", "--quiet", "-b", "feature/x", &first]);
    let third = bed.commit("r", "file", "3");
    bed.git("r", &["checkout", "--quiet", "main"]);
    for (reference, commit, content) in [
        ("r", &second, "2"),
        ("r#main", &second, "2"),
        ("r#refs/heads/main", &second, "2"),
        ("r#feature/x", &third, "3"),
        ("r?branch=feature/x", &third, "3"),
        ("r#light", &first, "1"),
        ("r#annotated", &first, "1"),
        ("r?tag=annotated", &first, "1"),
        (&format!("r#{first}"), &first, "1"),
        (&format!("r?fetch-by-commit&checksum={first}#main"), &first, "1"),
    ] {
        assert_eq!(bed.identity(reference), *commit, "{reference}");
        let (_folder, files) = bed.checkout(reference).unwrap();
        assert_eq!(names(&files), ["file"], "{reference}");
        assert_eq!(read(&files.join("file")), content, "{reference}");
    }
    for reference in ["r#gone", &format!("r#{}", &first[..8]), &format!("r#{}", "0".repeat(40))] {
        let error = bed.checkout(reference).unwrap_err();
        assert!(matches!(error, RemoteError::NoSuchRef { .. }), "{reference}: {error:?}");
    }
    assert!(matches!(bed.checkout("gone").unwrap_err(), RemoteError::Git { .. }));
}

#[test]
fn files_depend_on_the_commit_alone() {
    let bed = Bed::new();
    bed.commit("r", "folder/file", "1");
    fs::write(bed.path("r").join("run"), "").unwrap();
    Command::new("chmod").arg("700").arg(bed.path("r").join("run")).status().unwrap();
    symlink("file", bed.path("r").join("folder/link")).unwrap();
    bed.commit_all("r");
    let (_folder, files) = bed.checkout("r").unwrap();
    for (path, mode) in [
        ("", 0o40755),
        ("folder", 0o40755),
        ("folder/file", 0o100644),
        ("run", 0o100755),
        ("folder/link", 0o120777),
    ] {
        let metadata = files.join(path).symlink_metadata().unwrap();
        assert_eq!(metadata.mode(), mode, "{path}");
        assert_eq!((metadata.mtime(), metadata.mtime_nsec()), (TIME, 0), "{path}");
    }
    let (_folder, files) = bed.checkout("r?mtime=checkout").unwrap();
    assert!(files.join("run").metadata().unwrap().mtime() > TIME);
}

#[test]
fn a_commit_must_begin_with_the_checksum() {
    let bed = Bed::new();
    let commit = bed.commit("r", "file", "1");
    bed.git("r", &["tag", "-a", "-m", "t", "annotated"]);
    let tag = bed.git("r", &["rev-parse", "annotated"]);
    for (reference, checksum) in [
        ("main", &commit[..]),
        ("main", &commit[..7]),
        ("annotated", &commit),
        ("annotated", &tag),
        (&commit, &commit[..7]),
    ] {
        let source = source(&bed.url(&format!("r#{reference}"))).with_flags(None, Some(checksum)).unwrap();
        bed.resolve(&source).unwrap();
    }
    for reference in ["main", "annotated", &commit] {
        let source = source(&bed.url(&format!("r#{reference}"))).with_flags(None, Some("0123456")).unwrap();
        let error = bed.resolve(&source).unwrap_err();
        assert!(matches!(error, RemoteError::Commit { .. }), "{error:?}");
        assert!(error.help().is_some());
    }
}

#[test]
fn a_kept_repository_is_the_same_each_time() {
    let bed = Bed::new();
    let commit = bed.commit("r", "file", "1");
    let (_first, files) = bed.checkout("r?keep-git-dir=true").unwrap();
    let git = files.join(".git");
    let run = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(&files).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(run(&["rev-parse", "HEAD", "main"]), format!("{commit}\n{commit}"));
    assert_eq!(run(&["remote", "get-url", "origin"]), bed.url("r"));
    assert!(!git.join("FETCH_HEAD").exists() && !git.join("hooks").exists() && !git.join("logs").exists());
    let (_second, again) = bed.checkout("r?keep-git-dir=true").unwrap();
    assert_eq!(names(&again.join(".git")), names(&git));
    for name in ["config", "HEAD", "index", "shallow"] {
        assert_eq!(
            fs::read(again.join(".git").join(name)).unwrap(),
            fs::read(git.join(name)).unwrap(),
            "{name}"
        );
    }
    assert_eq!(run(&["status", "--short"]), "", "nothing is changed");
    assert_ne!(bed.identity("r?keep-git-dir=true"), bed.identity("r"));
}

#[test]
fn a_subdirectory_is_part_of_the_repository() {
    let bed = Bed::new();
    bed.commit("r", "a/b/file", "1");
    symlink("/etc", bed.path("r").join("out")).unwrap();
    symlink("a", bed.path("r").join("in")).unwrap();
    bed.commit_all("r");
    for subdir in ["a/b", "/a/b/", "../a/b", "a/../a/./b"] {
        let (_folder, files) = bed.checkout(&format!("r#main:{subdir}")).unwrap();
        assert_eq!(names(&files), ["file"], "{subdir}");
    }
    for subdir in ["out", "in/b", "a/b/file", "gone", "out/ssh"] {
        let error = bed.checkout(&format!("r#main:{subdir}")).unwrap_err();
        assert!(matches!(error, RemoteError::Subdir { .. }), "{subdir}: {error:?}");
    }
}

#[test]
fn submodules_come_with_their_repository() {
    let bed = Bed::new();
    bed.commit("inner", "deep", "d");
    bed.commit("middle", "file", "m");
    bed.git("middle", &["submodule", "add", "--quiet", &bed.url("inner"), "inner"]);
    bed.commit_all("middle");
    bed.commit("outer", "file", "o");
    bed.git("outer", &["submodule", "add", "--quiet", "../middle", "sub"]);
    fs::write(
        bed.path("outer").join(".gitmodules"),
        format!("[submodule \"sub\"]\n\tpath = sub\n\turl = {}\n", bed.url("middle")),
    )
    .unwrap();
    bed.commit_all("outer");
    let (_folder, files) = bed.checkout("outer").unwrap();
    assert_eq!(read(&files.join("sub/inner/deep")), "d");
    assert_eq!(names(&files.join("sub")), [".gitmodules", "file", "inner"], "no .git stays");
    let (_folder, files) = bed.checkout("outer?submodules=false").unwrap();
    assert!(names(&files.join("sub")).is_empty());
    assert_ne!(bed.identity("outer"), bed.identity("outer?submodules=false"));
}

/// A repository whose `.gitmodules` is this, with one submodule at `path`.
fn hostile(bed: &Bed, gitmodules: &str, path: &str) {
    let commit = bed.commit("r", ".gitmodules", gitmodules);
    bed.git("r", &["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]);
    bed.git("r", &["commit", "--quiet", "-m", "hostile"]);
}

#[test]
fn a_submodule_cannot_name_a_repository_of_this_machine() {
    let bed = Bed::new();
    bed.commit("private", "secret", "s");
    let private = bed.path("private");
    for url in [format!("file://{}", private.display()), private.display().to_string(), "ext::touch x".into()]
    {
        let bed = Bed::new();
        hostile(&bed, &format!("[submodule \"s\"]\n\tpath = s\n\turl = {url}\n"), "s");
        let error = bed.checkout("r").unwrap_err();
        let RemoteError::Git { output, .. } = &error else { panic!("{url}: {error:?}") };
        assert!(output.contains("not allowed"), "{url}: {output}");
    }
}

#[test]
fn a_submodule_with_a_carriage_return_is_refused() {
    for (gitmodules, path) in [
        ("[submodule \"s\"]\n\tpath = \"s\\r\"\n\turl = ../r\n".replace("\\r", "\r"), "s"),
        ("[submodule \"s\r\"]\n\tpath = s\n\turl = ../r\n".to_owned(), "s"),
        ("[submodule \"s\"]\n\tpath = s\n\turl = ../r\n".to_owned(), "s\r"),
    ] {
        let bed = Bed::new();
        hostile(&bed, &gitmodules, path);
        let error = bed.checkout("r").unwrap_err();
        assert!(matches!(error, RemoteError::Submodule { .. }), "{gitmodules:?}: {error:?}");
    }
}

#[test]
fn a_submodule_is_given_no_option_and_no_command() {
    let bed = Bed::new();
    let witness = bed.path("witness");
    let touch = format!("touch {}", witness.display());
    for lines in [
        format!("url = {}\n\tupdate = !{touch}", bed.url("r")),
        format!("url = --upload-pack={touch}"),
        format!("url = ssh://-oProxyCommand={touch}/r"),
    ] {
        let bed = Bed::new();
        hostile(&bed, &format!("[submodule \"s\"]\n\tpath = s\n\t{lines}\n"), "s");
        assert!(bed.checkout("r").is_err(), "{lines}");
        assert!(!witness.exists(), "{lines}");
    }
}

#[test]
fn a_commit_that_no_reference_names_any_more_is_fetched_with_all() {
    let bed = Bed::new();
    let first = bed.commit("r", "file", "1");
    bed.commit("r", "file", "2");
    bed.git("r", &["config", "uploadpack.allowAnySHA1InWant", "false"]);
    let (_folder, files) = bed.checkout(&format!("r#{first}")).unwrap();
    assert_eq!(read(&files.join("file")), "1");
}
