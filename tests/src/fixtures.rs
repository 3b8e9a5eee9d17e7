//! Where the things that `cargo xtask test` prepares are found.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::Run;

/// The workspace's folder.
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The binary under test: `LBUILD_BIN`, or else one that is built now.
pub fn lbuild_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match std::env::var_os("LBUILD_BIN") {
        Some(path) => path.into(),
        None => build("build", &[]),
    })
}

/// The binary under test as one static file, as it is released; linked now where that is not what is
/// tested.
pub fn static_lbuild() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let file = lbuild_binary();
        if is_static(file) {
            file.to_owned()
        } else {
            build("rustc", &["--", "-Ctarget-feature=+crt-static"])
        }
    })
}

/// Whether no program interpreter, the dynamic linker, is to load it.
fn is_static(file: &Path) -> bool {
    let run = Run::of(Command::new("readelf").arg("--program-headers").arg(file)).success();
    !run.text().contains("INTERP")
}

/// A gzipped tar of a real Debian's root file system.
pub fn debian_rootfs() -> PathBuf {
    fixture("debian-rootfs.tar.gz")
}

/// A gzipped tar of a root file system with this machine's shell, core utilities, `setcap` and
/// `setfattr`.
pub fn host_rootfs() -> PathBuf {
    fixture("host-rootfs.tar.gz")
}

fn fixture(name: &str) -> PathBuf {
    let folder = match std::env::var_os("LBUILD_TEST_FIXTURES") {
        Some(folder) => folder.into(),
        None => workspace().join("target/test/fixtures"),
    };
    let file = folder.join(name);
    assert!(file.exists(), "{} is missing: `cargo xtask test` makes it", file.display());
    file
}

fn build(command: &str, arguments: &[&str]) -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let output = Command::new(cargo)
        .current_dir(workspace())
        .args([command, "--quiet", "--package", "lbuild-cli", "--bin", "lbuild"])
        .args(["--message-format", "json"])
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "lbuild does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .expect("cargo names no executable")
}
