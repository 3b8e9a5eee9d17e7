//! Where the time of a build of lbuild's went, by the trace that `--timings` writes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::command::Failure;

/// A part of the work, of all steps together.
#[derive(Debug, Clone, PartialEq)]
pub struct Phase {
    /// What was done.
    pub name: String,
    /// How often.
    pub count: usize,
    /// Seconds; those of stages that work at the same time are added up.
    pub seconds: f64,
}

/// Phases that are told of each build.
const TOLD: usize = 6;

/// The longest of `phases` and their seconds, for a sentence.
pub fn longest(phases: &[Phase]) -> String {
    let told = phases.iter().take(TOLD).map(|phase| {
        let times = if phase.count == 1 { String::new() } else { format!(" ({} times)", phase.count) };
        format!("{}{times} {:.3}", phase.name, phase.seconds)
    });
    told.collect::<Vec<_>>().join(", ")
}

/// The phases in the trace `file`, the longest first.
pub fn read(file: &Path) -> Result<Vec<Phase>, Failure> {
    let failed = || format!("cannot read the trace {}", file.display());
    let text = fs::read_to_string(file).map_err(Failure::of(failed()))?;
    let trace: Value = serde_json::from_str(&text).map_err(Failure::of(failed()))?;
    Ok(phases(&trace))
}

fn phases(trace: &Value) -> Vec<Phase> {
    let mut sums: BTreeMap<&str, (usize, f64)> = BTreeMap::new();
    for span in trace["traceEvents"].as_array().into_iter().flatten() {
        // A whole step tells how it ended; what it consists of tells nothing.
        let (Some(name), Some(microseconds), Value::Null) =
            (span["name"].as_str(), span["dur"].as_f64(), &span["args"])
        else {
            continue;
        };
        let sum = sums.entry(name).or_default();
        *sum = (sum.0 + 1, sum.1 + microseconds / 1e6);
    }
    let phase = |(name, (count, seconds)): (&str, _)| Phase { name: name.to_owned(), count, seconds };
    let mut phases: Vec<Phase> = sums.into_iter().map(phase).collect();
    phases.sort_by(|one, two| two.seconds.total_cmp(&one.seconds));
    phases
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn parts_of_steps_are_added_up() {
        let span = |name: &str, micros: f64, args: Value| json!({"name": name, "dur": micros, "args": args});
        let trace = json!({"traceEvents": [
            {"name": "thread_name", "args": {"name": "stage 0"}},
            span("work", 1e6, Value::Null),
            span("commit", 3e6, Value::Null),
            span("work", 1e6, Value::Null),
            span("RUN true", 9e6, json!({"how": "run"})),
        ]});
        let found: Vec<_> = phases(&trace).into_iter().map(|it| (it.name, it.count, it.seconds)).collect();
        assert_eq!(found, [("commit".to_owned(), 1, 3.0), ("work".to_owned(), 2, 2.0)]);
    }
}
