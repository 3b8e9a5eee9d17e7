//! How many tests passed and failed, read from what the test runners print.

use std::ops::AddAssign;

/// Counts of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests that passed.
    pub passed: usize,
    /// Tests that failed.
    pub failed: usize,
}

impl Counts {
    /// The counts in a line of cargo's test runner (`test result: ok. 3 passed; 0 failed; …`).
    pub fn from_cargo(line: &str) -> Option<Self> {
        let counts = line.trim().strip_prefix("test result: ")?;
        Some(Self { passed: before(counts, "passed")?, failed: before(counts, "failed")? })
    }

    /// The counts in a line that is `N passed, N failed`.
    pub fn from_plain(line: &str) -> Option<Self> {
        let (passed, failed) = line.trim().split_once(", ")?;
        Some(Self {
            passed: passed.strip_suffix(" passed")?.parse().ok()?,
            failed: failed.strip_suffix(" failed")?.parse().ok()?,
        })
    }

    /// Whether something ran and nothing failed.
    pub fn is_success(self) -> bool {
        self.failed == 0 && self.passed > 0
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// The number that stands before `word`.
fn before(text: &str, word: &str) -> Option<usize> {
    let words: Vec<&str> = text.split([' ', ';']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|found| *found == word)?;
    words.get(at.checked_sub(1)?)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_result_lines_are_read() {
        for (line, expected) in [
            (
                "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.01s",
                Some(Counts { passed: 12, failed: 0 }),
            ),
            (
                "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out",
                Some(Counts { passed: 1, failed: 2 }),
            ),
            ("test traps::a_file ... ok", None),
            ("test result: ", None),
        ] {
            assert_eq!(Counts::from_cargo(line), expected, "{line}");
        }
    }

    #[test]
    fn plain_lines_are_read() {
        for (line, expected) in [
            ("301 passed, 2 failed", Some(Counts { passed: 301, failed: 2 })),
            ("301 passed", None),
            ("pass bk-EmptyStages 0.10s", None),
        ] {
            assert_eq!(Counts::from_plain(line), expected, "{line}");
        }
    }

    #[test]
    fn a_run_without_tests_is_no_success() {
        assert!(!Counts::default().is_success());
        assert!(!Counts { passed: 3, failed: 1 }.is_success());
        assert!(Counts { passed: 3, failed: 0 }.is_success());
    }
}
