//! The threats, one line a row: `cargo xtask threats`.

use crate::command::{Failure, run_quietly};
use crate::packages;
use crate::workspace::{self, cargo};

/// What a line of the report begins with in the output of the tests.
const MARK: &str = "threat: ";

/// Carries out the attacks and prints a line a row. Returns whether every row held.
///
/// # Errors
/// Where the tests cannot be run. A row that is not held is none, but the tests' output is shown.
pub fn run(filters: &[String]) -> Result<bool, Failure> {
    packages::ensure(&packages::TEST_TOOLS)?;
    let lbuild = workspace::build_release()?;
    let mut command = cargo();
    command.args(["test", "--quiet", "--package", "lbuild-tests", "--test", "threats", "--"]).args(filters);
    command.env("LBUILD_BIN", lbuild).env("CARGO_TERM_COLOR", "never");
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
