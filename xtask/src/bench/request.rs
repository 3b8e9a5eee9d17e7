//! What `cargo xtask bench` is asked for.

use std::time::Duration;

use crate::bench::workload::{WORKLOADS, Workload};
use crate::command::Failure;

const DEFAULT_RUNS: usize = 3;

/// After these nothing is measured again; what was not measured yet is, once.
const DEFAULT_MINUTES: u64 = 18;

/// What is asked for.
#[derive(Debug)]
pub struct Request {
    /// What is built.
    pub workloads: Vec<Workload>,
    /// How often.
    pub runs: usize,
    /// After that nothing is measured again.
    pub limit: Duration,
    /// Only lbuild and a current BuildKit, once, and no report in the repository.
    pub is_quick: bool,
}

impl Request {
    /// Reads the words behind `cargo xtask bench`.
    pub fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let (mut workloads, mut runs, mut minutes, mut is_quick) = (Vec::new(), None, DEFAULT_MINUTES, false);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--runs" => runs = Some(number(word, words.next())?),
                "--minutes" => minutes = number(word, words.next())?,
                "--quick" => is_quick = true,
                name => workloads.push(Workload::named(name).ok_or_else(|| {
                    let known = WORKLOADS.map(|workload| workload.name).join(", ");
                    Failure(format!("there is no workload or option {name:?}; workloads: {known}"))
                })?),
            }
        }
        if workloads.is_empty() {
            workloads = WORKLOADS.to_vec();
        }
        let runs = runs.unwrap_or(if is_quick { 1 } else { DEFAULT_RUNS });
        Ok(Self { workloads, runs, limit: Duration::from_secs(minutes * 60), is_quick })
    }
}

fn number<N: std::str::FromStr + PartialOrd + Default>(
    option: &str,
    word: Option<&String>,
) -> Result<N, Failure> {
    let number = word.and_then(|word| word.parse().ok()).filter(|number| *number > N::default());
    number.ok_or_else(|| Failure(format!("{option} needs a number that is not 0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Request, Failure> {
        Request::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn workloads_and_runs_are_read() {
        for (given, first, count, runs) in [
            (&[][..], "runs20", WORKLOADS.len(), DEFAULT_RUNS),
            (&["seed", "--runs", "7"], "seed", 1, 7),
            (&["--quick"], "runs20", WORKLOADS.len(), 1),
            (&["--quick", "--runs", "2", "--minutes", "1"], "runs20", WORKLOADS.len(), 2),
        ] {
            let request = parse(given).unwrap();
            let found = (request.workloads[0].name, request.workloads.len(), request.runs);
            assert_eq!(found, (first, count, runs), "{given:?}");
        }
        for wrong in [&["sed"][..], &["--runs"], &["--runs", "0"], &["--minutes", "x"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
