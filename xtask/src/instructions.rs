//! How many instructions lbuild's hot paths take: `cargo xtask instructions`.
//!
//! The paths and their limits are in `tests/benches/instructions.rs`; gungraun counts, with a valgrind.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::command::{Failure, run_quietly};
use crate::{unstable, workspace};

/// Counts and prints all paths; returns whether they are within their limits. That what counts cannot be had
/// is no failure, and told.
///
/// # Errors
/// Where lbuild fails.
pub fn count() -> Result<bool, Failure> {
    let tools = match Tools::get() {
        Ok(tools) => tools,
        Err(Failure(reason)) => {
            println!("NOT RUN: instructions of hot paths, since no tool can be had: {}", reason.trim());
            return Ok(true);
        }
    };
    let mut cargo = workspace::cargo();
    // What is counted is the binary as it is released; what runs it is compiled as the tests are.
    cargo.args(["bench", "--locked", "--quiet", "--profile", "dev"]);
    cargo.args(["--workspace", "--bench", "instructions"]);
    // A container may not turn the random layout of addresses off, and it hardly changes the counts.
    cargo.env("LBUILD_BIN", workspace::lbuild()?).env("GUNGRAUN_ALLOW_ASLR", "yes");
    let status = tools.offer(&mut cargo)?.status().map_err(Failure::of("cannot run cargo bench"))?;
    Ok(status.success())
}

/// Gets what counts, unless it is there.
pub fn get_tools() -> Result<(), Failure> {
    Tools::get().map(drop)
}

/// What counts.
struct Tools {
    /// Where a current valgrind is unpacked: those of releases do not know the system calls that lbuild is made of.
    valgrind: PathBuf,
    /// The folder that gungraun's runner is installed in.
    runner: PathBuf,
}

impl Tools {
    fn get() -> Result<Self, Failure> {
        let valgrind = unstable::unpacked(&workspace::target("instructions")?, &["valgrind"])?;
        Ok(Self { valgrind, runner: runner()? })
    }

    /// Has `command` find them.
    fn offer<'a>(&self, command: &'a mut Command) -> Result<&'a mut Command, Failure> {
        let own = [self.runner.join("bin"), self.valgrind.join("usr/bin")];
        let others = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(own.into_iter().chain(env::split_paths(&others)));
        let path = path.map_err(Failure::of("the target folder cannot be in PATH"))?;
        Ok(command.env("PATH", path).env("VALGRIND_LIB", self.valgrind.join("usr/libexec/valgrind")))
    }
}

/// Installs gungraun's runner below cargo's target folder, once a version; returns the folder.
fn runner() -> Result<PathBuf, Failure> {
    let version = version()?;
    let folder = workspace::target(&format!("instructions/gungraun-{version}"))?;
    if !folder.join("bin/gungraun-runner").exists() {
        println!("installing gungraun-runner (a few minutes)");
        let mut installation = workspace::installation("gungraun-runner", &format!("={version}"));
        run_quietly(installation.arg("--root").arg(&folder))?;
    }
    Ok(folder)
}

/// The version of gungraun, which the runner's must be.
fn version() -> Result<String, Failure> {
    let package = run_quietly(workspace::cargo().args(["pkgid", "--locked", "gungraun"]))?;
    let version = package.trim().rsplit(['@', '#', ':']).next().unwrap_or_default();
    Ok(version.to_owned())
}
