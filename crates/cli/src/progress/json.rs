//! Progress as JSON, one object a line, for programs.
//!
//! Every object has `event` and `time`, the seconds since the build began; those of a step have
//! `step`, its number from 1. `docs/progress.md` lists the rest.

use std::io::Write;
use std::time::Duration;

use lbuild_builder::{BuildEvent, LayerSummary, PlannedStep, Reason, StepId, Stream};
use serde_json::{Value, json};

use super::Renderer;
use super::lines::Lines;
use crate::text::json_line;

/// Writes objects to `out`.
pub struct Json<W> {
    out: W,
    lines: Lines,
}

impl<W: Write> Json<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, lines: Lines::default() }
    }

    fn write(&mut self, at: Duration, event: &str, fields: Value) {
        let mut object = json!({ "event": event, "time": seconds(at) });
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, fields) {
            object.extend(fields);
        }
        // The build goes on where nobody reads its progress.
        let _ = writeln!(self.out, "{}", json_line(&object));
    }

    fn output(&mut self, at: Duration, id: StepId, stream: Stream, line: &[u8]) {
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let line = String::from_utf8_lossy(line);
        self.write(at, "output", json!({ "step": number(id), "stream": stream, "line": line }));
    }

    fn end(&mut self, at: Duration, id: StepId, event: &str, mut fields: Value) {
        for (stream, line) in self.lines.end(id) {
            self.output(at, id, stream, &line);
        }
        fields["step"] = number(id).into();
        self.write(at, event, fields);
    }
}

impl<W: Write + Send> Renderer for Json<W> {
    fn event(&mut self, event: &BuildEvent, at: Duration) {
        match event {
            BuildEvent::Planned(steps) => self.write(at, "planned", json!({ "steps": planned(steps) })),
            BuildEvent::Added(steps) => self.write(at, "added", json!({ "steps": planned(steps) })),
            BuildEvent::Started(id) => self.write(at, "started", json!({ "step": number(*id) })),
            BuildEvent::Output(id, stream, bytes) => {
                for line in self.lines.push(*id, *stream, bytes) {
                    self.output(at, *id, *stream, &line);
                }
            }
            BuildEvent::Status(id, status) => {
                self.write(at, "status", json!({ "step": number(*id), "text": status }));
            }
            BuildEvent::Explained(id, reasons) => {
                let reasons: Vec<Value> = reasons.iter().map(explained).collect();
                self.write(at, "explained", json!({ "step": number(*id), "reasons": reasons }));
            }
            BuildEvent::WouldRun(..) => {}
            BuildEvent::Cached(id, layer) => {
                self.end(at, *id, "cached", json!({ "layer": layer.as_ref().map(summary) }));
            }
            BuildEvent::Finished(id, layer, took) => {
                let fields = json!({ "layer": layer.as_ref().map(summary), "seconds": seconds(*took) });
                self.end(at, *id, "finished", fields);
            }
            BuildEvent::Failed(id) => self.end(at, *id, "failed", json!({})),
            BuildEvent::Cancelled(id) => self.end(at, *id, "cancelled", json!({})),
            // With its place in the file at the end, where the source text is at hand.
            BuildEvent::Warning(_) | BuildEvent::Phase(..) | BuildEvent::Layer(_) => {}
            BuildEvent::Note(note) => self.write(at, "note", json!({ "text": note })),
        }
    }
}

/// A step's number, from 1, as plain progress shows it.
fn number(id: StepId) -> usize {
    id.0 + 1
}

/// Seconds, to the millisecond.
fn seconds(duration: Duration) -> f64 {
    duration.as_millis() as f64 / 1000.0
}

/// A reason with its text.
pub fn explained(reason: &Reason) -> Value {
    let mut object = serde_json::to_value(reason).unwrap_or_default();
    object["text"] = reason.to_string().into();
    object
}

fn planned(steps: &[PlannedStep]) -> Vec<Value> {
    steps
        .iter()
        .map(|step| {
            json!({
                "step": number(step.id),
                "stage": step.stage,
                "number": step.number,
                "of": step.of,
                "text": step.text,
                "span": [step.span.start, step.span.end],
            })
        })
        .collect()
}

fn summary(layer: &LayerSummary) -> Value {
    json!({ "diff_id": layer.diff_id, "size": layer.size, "entries": layer.entries })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::recorded_build;

    fn events() -> Vec<Value> {
        let mut json = Json::new(Vec::new());
        for (event, at) in recorded_build() {
            json.event(&event, at);
        }
        let text = String::from_utf8(json.out).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn every_line_is_an_object_with_an_event_and_a_time() {
        for event in events() {
            assert!(event["event"].is_string() && event["time"].is_number(), "{event}");
        }
    }

    #[test]
    fn events_tell_what_happened() {
        let events = events();
        let find = |name: &str, step: usize| {
            let found = events.iter().find(|event| event["event"] == name && event["step"] == step);
            found.unwrap_or_else(|| panic!("no {name} of step {step}"))
        };
        assert_eq!(events[0]["steps"][1]["text"], "RUN make all");
        assert_eq!(find("cached", 1)["layer"]["size"], 7_700_000);
        assert_eq!(find("output", 2)["line"], "gcc -c \u{1b}[1mmain.c\u{1b}[0m");
        assert_eq!(find("output", 2)["stream"], "stdout");
        assert_eq!(find("finished", 2)["seconds"], 0.417);
        assert_eq!(find("finished", 3)["layer"], Value::Null);
        assert_eq!(find("explained", 2)["reasons"][0]["reason"], "new-step");
        assert_eq!(find("failed", 4)["time"], 0.54);
    }

    #[test]
    fn output_without_a_line_end_comes_before_the_end_of_its_step() {
        let events = events();
        let finished = events.iter().position(|event| event["event"] == "finished").unwrap();
        assert_eq!(events[finished - 1]["line"], "no newline");
    }
}
