//! What failed tests said, kept to be told again at the end: a run of all tests prints thousands
//! of lines, of which a log may show only the last.

/// The lines of a failed test that are told again.
const LINES: usize = 40;

/// Gathers the reports of failed tests from the lines of cargo's test runner.
#[derive(Debug, Default)]
pub struct Failures {
    reports: Vec<Vec<String>>,
    inside: bool,
}

impl Failures {
    /// Takes the next line that the test runner printed.
    pub fn read(&mut self, line: &str) {
        if line.starts_with("---- ") && line.ends_with(" ----") {
            self.inside = true;
            self.reports.push(Vec::new());
        } else if line == "failures:" || line.starts_with("test result: ") {
            self.inside = false;
        }
        if self.inside
            && let Some(report) = self.reports.last_mut()
        {
            report.push(line.to_owned());
        }
    }

    /// The reports as they are told at the end, each cut after its first lines; nothing if no test failed.
    pub fn summary(&self) -> String {
        let mut summary = String::new();
        for report in &self.reports {
            let (shown, left) = report.split_at(report.len().min(LINES));
            shown.iter().for_each(|line| summary.extend([line, "\n"]));
            if !left.is_empty() {
                summary.push_str(&format!("({} more lines above)\n", left.len()));
            }
        }
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary_of(output: &str) -> String {
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.read(line));
        failures.summary()
    }

    #[test]
    fn what_failed_tests_said_is_kept_and_nothing_else() {
        let output = "test a ... ok\ntest b ... FAILED\n\nfailures:\n\n---- b stdout ----\nleft: 1\n\n\
            failures:\n    b\n\ntest result: FAILED. 1 passed; 1 failed\n     Running other\ntest c ... ok\n";
        assert_eq!(summary_of(output), "---- b stdout ----\nleft: 1\n\n");
        assert_eq!(summary_of("test a ... ok\ntest result: ok. 1 passed; 0 failed\n"), "");
    }

    #[test]
    fn a_long_report_is_cut() {
        let output = format!("failures:\n\n---- b stdout ----\n{}", "line\n".repeat(100));
        let summary = summary_of(&output);
        assert_eq!(summary.lines().count(), LINES + 1);
        assert!(summary.ends_with("(61 more lines above)\n"), "{summary}");
    }
}
