//! What the tests need and this machine lacks, got from the network: `cargo xtask prepare`.
//!
//! Each command gets what it needs by itself. To have got it before saves waiting, since to build needs the
//! processors and this the network.

use std::path::PathBuf;

use crate::command::Failure;
use crate::{current_docker, instructions, packages, rootfs, workspace};

/// Gets everything that `.ci/run` uses. What cannot be had is told, and told again by what needs it.
///
/// # Errors
/// Where the packages or the root file systems cannot be had.
pub fn everything() -> Result<(), Failure> {
    for_tests(true)?;
    for optional in [current_docker::get().map(drop), instructions::get_tools()] {
        if let Err(Failure(reason)) = optional {
            println!("not to be had: {}", reason.trim());
        }
    }
    Ok(())
}

/// Installs the packages and makes the root file systems; returns the folder that holds these.
pub fn for_tests(with_docker: bool) -> Result<PathBuf, Failure> {
    let docker = if with_docker { &packages::DOCKER[..] } else { &[] };
    packages::ensure(packages::TEST_TOOLS.iter().chain(&packages::FAULTS).chain(docker))?;
    fixtures()
}

/// The folder with the root file systems that the tests build from, made once.
fn fixtures() -> Result<PathBuf, Failure> {
    let folder = workspace::target("test/fixtures")?;
    let debian = folder.join("debian-rootfs.tar.gz");
    if !debian.exists() {
        rootfs::debian(&debian)?;
    }
    let programs = [rootfs::UTILITIES, rootfs::ATTRIBUTE_UTILITIES].concat();
    rootfs::from_host(&programs, &folder.join("host"), &folder.join("host-rootfs.tar.gz"))?;
    Ok(folder)
}
