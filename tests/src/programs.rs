//! What attackers and probes run inside a build, compiled once for all tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::{entry, workspace};
use tar::{Builder, EntryType};

/// The sources, from the workspace's folder. Each becomes a static program of its name.
const SOURCES: [&str; 4] = [
    "crates/runner/tests/runs/probe.c",
    "tests/threats/swap.c",
    "tests/threats/reach.c",
    "tests/threats/plant.c",
];

/// A layer with `/bin/probe`, which makes system calls, `/bin/swap`, which swaps two names, `/bin/reach`, which
/// connects to sockets and processes, and `/bin/plant`, which leaves strange trees behind.
pub fn programs_layer() -> Vec<u8> {
    static LAYER: OnceLock<Vec<u8>> = OnceLock::new();
    LAYER.get_or_init(make_layer).clone()
}

fn make_layer() -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for source in SOURCES {
        let program = compile(&workspace().join(source));
        let name = format!("bin/{}", Path::new(source).file_stem().unwrap().to_string_lossy());
        entry(&mut tar, &name, EntryType::Regular, 0o755, &fs::read(program).unwrap());
    }
    tar.into_inner().unwrap()
}

fn compile(source: &Path) -> PathBuf {
    let folder = workspace().join("target/test/programs");
    fs::create_dir_all(&folder).unwrap();
    let program = folder.join(source.file_stem().unwrap());
    // Written aside and renamed: another test program may do the same.
    let made = program.with_extension(std::process::id().to_string());
    let status = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&made).arg(source).status();
    assert!(status.expect("a C compiler is needed").success());
    fs::rename(made, &program).unwrap();
    program
}
