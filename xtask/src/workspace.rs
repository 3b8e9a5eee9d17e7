//! Where the workspace's own things stand, and the release binary.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Failure, run};

/// The folder that holds the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// A folder below cargo's target folder, made if it is missing.
pub fn target(name: &str) -> Result<PathBuf, Failure> {
    let folder = target_folder().join(name);
    fs::create_dir_all(&folder)
        .map_err(Failure::of(format!("cannot make the folder {}", folder.display())))?;
    Ok(folder)
}

/// The entries of a folder, sorted.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let failed = || Failure::of(format!("cannot read {}", folder.display()));
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed())? {
        paths.push(entry.map_err(failed())?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Cargo, with the workspace as its current folder.
///
/// What the cargo that runs this program told it of its package is taken out: build scripts of dependencies
/// look at it, so they would run again after each change between `cargo xtask` and cargo alone.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    let told = std::env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")
    });
    told.for_each(|name| {
        command.env_remove(name);
    });
    command.current_dir(root());
    command
}

/// What installs `program` of crates.io, without optimisation: it runs for a second, and the build is the longer part.
pub fn installation(program: &str, version: &str) -> Command {
    let mut cargo = cargo();
    cargo
        .args(["install", "--quiet", "--locked", program, "--version", version])
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env_remove("CARGO_TARGET_DIR");
    cargo
}

/// The binary that `LBUILD_BIN` names; without that, the release binary, which is built.
pub fn lbuild() -> Result<PathBuf, Failure> {
    match std::env::var_os("LBUILD_BIN") {
        // Tests run in other folders.
        Some(file) => std::path::absolute(file).map_err(Failure::of("LBUILD_BIN names no file")),
        None => build_release(),
    }
}

/// Builds `lbuild` as it is released, one static file, and returns the binary's path.
pub fn build_release() -> Result<PathBuf, Failure> {
    let mut cargo = cargo();
    cargo.args(["rustc", "--release", "--package", "lbuild-cli", "--bin", "lbuild"]);
    run(cargo.args(["--", "-Ctarget-feature=+crt-static"]))?;
    Ok(target_folder().join("release/lbuild"))
}

/// The folder that cargo builds into.
pub fn target_folder() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}
