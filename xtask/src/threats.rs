//! The threats, one line a row: `cargo xtask threats`.

use std::process::Command;

use crate::command::{Failure, command, run_quietly};
use crate::packages;
use crate::test_programs::TestProgram;
use crate::workspace;

/// The test program's name.
pub const PROGRAM: &str = "tests: threats";

/// What a line of the report begins with in the output of the tests.
const MARK: &str = "threat: ";

/// Carries out the attacks and prints a line a row. Returns whether every row held.
///
/// # Errors
/// Where the tests cannot be run. A row that is not held is none, but the tests' output is shown.
pub fn run(filters: &[String]) -> Result<bool, Failure> {
    packages::ensure(&packages::TEST_TOOLS)?;
    let lbuild = workspace::lbuild()?;
    let programs = TestProgram::build(&["--workspace", "--test", "threats"])?;
    let Some(program) = programs.first() else {
        return Err(Failure("cargo built no program of the threats".to_owned()));
    };
    let mut command = in_memory(program);
    command.args(filters).env("LBUILD_BIN", lbuild);
    let (output, succeeded) = match run_quietly(&mut command) {
        Ok(output) => (output, true),
        Err(Failure(output)) => (output, false),
    };
    let rows: Vec<&str> = output.lines().filter_map(|line| line.strip_prefix(MARK)).collect();
    if rows.is_empty() {
        return Err(Failure(output));
    }
    if !succeeded {
        eprintln!("{output}");
    }
    for row in &rows {
        println!("{row}");
    }
    Ok(succeeded && rows.iter().all(|row| is_held(row)))
}

/// A command that runs the program with its stores and contexts in memory, where the kernel can have them
/// there (attributes of users on tmpfs came with Linux 6.6); its arguments follow.
///
/// Hundreds of builds wait for the disk otherwise. What an attack does depends on no file system.
pub fn in_memory(program: &TestProgram) -> Command {
    const SCRIPT: &str = r#"set -e
        mkdir -p "$0"
        if mount -t tmpfs -o mode=0755 lbuild-test "$0" 2> /dev/null; then
            touch "$0/probe"
            setfattr -n user.probe -v 1 "$0/probe" 2> /dev/null || umount "$0"
            rm -f "$0/probe"
        fi
        exec "$@""#;
    let beds = workspace::root().join("target/test/beds");
    let mut unshared = command("unshare", ["--mount", "sh", "-c", SCRIPT]);
    unshared.arg(beds).arg(program.file());
    program.within(unshared)
}

/// Whether a row's line says that it held wherever it applies.
fn is_held(row: &str) -> bool {
    let Some((_, outcomes)) = row.rsplit_once(": root: ") else { return false };
    let Some((root, rootless)) = outcomes.split_once(", rootless: ") else { return false };
    root == "held" && (rootless == "held" || rootless.starts_with("not applicable: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_holds_if_it_does_wherever_it_applies() {
        for (row, expected) in [
            ("a link (CVE-2024-1): root: held, rootless: held", true),
            ("a link: root: held, rootless: not applicable: root alone makes devices", true),
            ("a link: root: held, rootless: NOT HELD", false),
            ("a link: root: NOT HELD, rootless: held", false),
            ("a link: root: held, rootless: NOT RUN", false),
            ("something else", false),
        ] {
            assert_eq!(is_held(row), expected, "{row}");
        }
    }
}
