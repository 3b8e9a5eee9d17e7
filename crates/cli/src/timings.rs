//! `--timings`: where a build's time went, as a trace that browsers and Perfetto show.
//!
//! Source: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU> (Trace Event Format)

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lbuild_builder::{BuildEvent, PlannedStep, StepId};
use serde_json::{Value, json};

use crate::aside;
use crate::failure::Failure;

/// The row of what no stage does: reading, naming, writing outputs.
const WHOLE_BUILD: &str = "lbuild";

/// Spans of time since this was made, each in a row of the stage that it belongs to.
pub struct Timings {
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    spans: Vec<Span>,
    steps: BTreeMap<StepId, PlannedStep>,
    started: BTreeMap<StepId, Duration>,
}

struct Span {
    name: String,
    row: String,
    start: Duration,
    took: Duration,
    details: Value,
}

impl Timings {
    /// Begins to measure.
    pub fn start() -> Self {
        Self { began: Instant::now(), state: Mutex::default() }
    }

    /// Does a part of the whole build's work.
    pub fn measure<T>(&self, name: &str, work: impl FnOnce() -> T) -> T {
        let start = self.began.elapsed();
        let result = work();
        self.add(name, WHOLE_BUILD, start, self.began.elapsed(), Value::Null);
        result
    }

    /// Takes what an event tells.
    pub fn event(&self, event: &BuildEvent) {
        let now = self.began.elapsed();
        match event {
            BuildEvent::Planned(steps) | BuildEvent::Added(steps) => {
                self.state().steps.extend(steps.iter().map(|step| (step.id, step.clone())));
            }
            BuildEvent::Started(id) => {
                self.state().started.insert(*id, now);
            }
            BuildEvent::Phase(id, name, took) => {
                let row = id.map_or(WHOLE_BUILD.to_owned(), |id| self.stage(id));
                self.add(name, &row, now.saturating_sub(*took), now, Value::Null);
            }
            BuildEvent::Cached(id, _) => self.end(*id, now, "cached"),
            BuildEvent::Finished(id, ..) => self.end(*id, now, "run"),
            BuildEvent::Failed(id) => self.end(*id, now, "failed"),
            BuildEvent::Cancelled(id) => self.end(*id, now, "stopped"),
            BuildEvent::Output(..)
            | BuildEvent::Status(..)
            | BuildEvent::Explained(..)
            | BuildEvent::WouldRun(..)
            | BuildEvent::Warning(_)
            | BuildEvent::Layer(_)
            | BuildEvent::Note(_) => {}
        }
    }

    /// Writes the trace.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let trace = self.trace().to_string();
        aside::write(path, trace.as_bytes()).map_err(Failure::io(format!("cannot write {}", path.display())))
    }

    fn trace(&self) -> Value {
        let state = self.state();
        let mut rows: Vec<&str> = vec![WHOLE_BUILD];
        for span in &state.spans {
            if !rows.contains(&span.row.as_str()) {
                rows.push(&span.row);
            }
        }
        let number = |row: &str| rows.iter().position(|known| *known == row).unwrap_or(0);
        let names = rows.iter().enumerate().map(|(number, row)| {
            json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": number, "args": { "name": row } })
        });
        let spans = state.spans.iter().map(|span| {
            json!({
                "name": span.name, "ph": "X", "pid": 1, "tid": number(&span.row),
                "ts": microseconds(span.start), "dur": microseconds(span.took), "args": span.details,
            })
        });
        json!({ "displayTimeUnit": "ms", "traceEvents": names.chain(spans).collect::<Vec<_>>() })
    }

    fn end(&self, id: StepId, now: Duration, how: &str) {
        let start = self.state().started.get(&id).copied().unwrap_or(now);
        let text =
            self.state().steps.get(&id).map_or_else(|| format!("step {}", id.0), |step| step.text.clone());
        self.add(&text, &self.stage(id), start, now, json!({ "how": how }));
    }

    fn stage(&self, id: StepId) -> String {
        self.state().steps.get(&id).map_or_else(String::new, |step| format!("stage {}", step.stage))
    }

    fn add(&self, name: &str, row: &str, start: Duration, end: Duration, details: Value) {
        let took = end.saturating_sub(start);
        let span = Span { name: name.to_owned(), row: row.to_owned(), start, took, details };
        self.state().spans.push(span);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_and_its_phases_are_in_the_row_of_its_stage() {
        let step = PlannedStep {
            id: StepId(3),
            stage: "build".to_owned(),
            number: 2,
            of: 2,
            text: "RUN make".to_owned(),
            span: Default::default(),
        };
        let timings = Timings::start();
        timings.measure("open the store", || ());
        for event in [
            BuildEvent::Planned(vec![step]),
            BuildEvent::Started(StepId(3)),
            BuildEvent::Phase(Some(StepId(3)), "commit", Duration::from_nanos(1)),
            BuildEvent::Finished(StepId(3), None, Duration::ZERO),
            BuildEvent::Phase(None, "sync", Duration::ZERO),
        ] {
            timings.event(&event);
        }
        let trace = timings.trace();
        let spans: Vec<(&str, u64)> = trace["traceEvents"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|event| event["ph"] == "X")
            .map(|event| (event["name"].as_str().unwrap(), event["tid"].as_u64().unwrap()))
            .collect();
        assert_eq!(spans, [("open the store", 0), ("commit", 1), ("RUN make", 1), ("sync", 0)]);
    }
}
