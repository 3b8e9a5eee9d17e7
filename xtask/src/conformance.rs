//! The conformance cases that stand beside the workspace, run against the release binary.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::cases;
use crate::command::{Failure, command};
use crate::counts::Counts;
use crate::packages;
use crate::workspace;

/// How many cases run at a time unless somebody says: more than there are processors, so that builds meet.
pub const JOBS: u64 = 8;

const BUILD: &str = "build -t {tag} -o type=docker,dest={tar} -f {dockerfile} {args} {context}";

/// The script that runs the cases, where it is: in the folder that `LBUILD_CONFORMANCE` names, else
/// in `shared/conformance` beside the workspace.
pub fn script() -> Option<PathBuf> {
    let folder = match std::env::var_os("LBUILD_CONFORMANCE") {
        Some(folder) => folder.into(),
        None => workspace::root().parent()?.join("shared/conformance"),
    };
    Some(folder.join("check.py")).filter(|script| script.is_file())
}

/// Runs the cases of those names or globs, all if there are none, on one fresh store, `jobs` at a time.
pub fn run(lbuild: &Path, names: &[String], jobs: u64) -> Result<Counts, Failure> {
    let script = script().ok_or_else(|| {
        Failure("the conformance cases are not here: ../shared/conformance/check.py is missing".to_owned())
    })?;
    packages::ensure([&packages::PYTHON])?;
    let store = workspace::target("test")?.join("conformance-store");
    remove(&store)?;
    let mended = workspace::target("test")?.join("conformance-cases");
    remove(&mended)?;
    cases::mend(&script.with_file_name("cases"), &mended)?;
    let lbuild = lbuild.display();
    let mut check = command("python3", [&script])
        .arg("--cases")
        .arg(&mended)
        .arg(format!("--jobs={jobs}"))
        .args(names)
        .env("LBUILD", format!("'{lbuild}' {BUILD}"))
        .env("LBUILD_SETUP", format!("'{lbuild}' load -i {{base}}"))
        .env("LBUILD_ROOT", &store)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Failure::of("cannot run the conformance cases"))?;
    let mut counts = None;
    for line in check.stdout.take().into_iter().flat_map(|output| BufReader::new(output).lines()) {
        let line = line.map_err(Failure::of("cannot read the conformance cases' output"))?;
        println!("{line}");
        counts = Counts::from_plain(&line).or(counts);
    }
    check.wait().map_err(Failure::of("cannot wait for the conformance cases"))?;
    remove(&store)?;
    remove(&mended)?;
    counts.ok_or_else(|| Failure("the conformance cases did not run".to_owned()))
}

fn remove(store: &Path) -> Result<(), Failure> {
    if !store.exists() {
        return Ok(());
    }
    fs::remove_dir_all(store).map_err(Failure::of(format!("cannot remove {}", store.display())))
}
