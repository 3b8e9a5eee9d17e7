//! What attackers and probes run inside a build, compiled once for all tests.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tar::{Builder, EntryType};
use tempfile::NamedTempFile;

use crate::{Run, entry, workspace};

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

/// Writes a program that everybody may execute.
///
/// Another process does, for nothing executes a file that is open for writing: each program that a thread of
/// this process starts has for a moment what others of its threads have open.
pub fn write_program(path: &Path, content: &[u8]) {
    let mut aside = NamedTempFile::new().unwrap();
    aside.write_all(content).unwrap();
    install_program(aside.path(), path);
}

/// The same with the content of a file.
pub fn install_program(from: &Path, path: &Path) {
    Run::of(Command::new("install").arg("--mode=755").args([from, path])).success();
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
