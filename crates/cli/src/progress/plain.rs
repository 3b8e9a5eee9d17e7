//! Progress as lines, for logs: every line of output, with the step's number before it.

use std::io::Write;
use std::time::Duration;

use lbuild_builder::{BuildEvent, StepId};

use super::Renderer;
use super::lines::Lines;
use super::steps::{self, Steps};
use crate::{text, units};

/// Writes lines to `out`.
pub struct Plain<W> {
    out: W,
    steps: Steps,
    lines: Lines,
    explains: bool,
    /// The step of the last line, where more of it may come.
    open: Option<StepId>,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`.
    pub fn new(out: W, explains: bool) -> Self {
        Self { out, steps: Steps::default(), lines: Lines::default(), explains, open: None }
    }

    /// Writes a line of a step.
    fn line(&mut self, id: StepId, line: &str) {
        // An empty line separates the lines of steps that run side by side.
        if self.open.is_some_and(|open| open != id) {
            self.write("");
        }
        self.open = Some(id);
        self.write(&format!("#{} {line}", id.0 + 1));
    }

    /// Writes a step's last line.
    fn end(&mut self, id: StepId, at: Duration, line: &str) {
        for (_, rest) in self.lines.end(id) {
            self.output(id, at, &rest);
        }
        self.line(id, line);
        self.write("");
        self.open = None;
    }

    /// Writes the first line of a step that did not begin before.
    fn begin(&mut self, id: StepId, at: Duration) {
        if self.steps.start(id, at) {
            let title = self.steps.title(id);
            self.line(id, &title);
        }
    }

    fn output(&mut self, id: StepId, at: Duration, line: &[u8]) {
        let elapsed = self.steps.elapsed(id, at).as_secs_f64();
        let line = text::printable(text::last_overwrite(line));
        self.line(id, &format!("{elapsed:.2} {line}"));
    }

    fn write(&mut self, line: &str) {
        // The build goes on where nobody reads its progress.
        let _ = writeln!(self.out, "{line}");
    }
}

impl<W: Write + Send> Renderer for Plain<W> {
    fn event(&mut self, event: &BuildEvent, at: Duration) {
        match event {
            BuildEvent::Planned(steps) | BuildEvent::Added(steps) => self.steps.add(steps),
            BuildEvent::Started(id) => self.begin(*id, at),
            BuildEvent::Output(id, stream, bytes) => {
                for line in self.lines.push(*id, *stream, bytes) {
                    self.output(*id, at, &line);
                }
            }
            BuildEvent::Status(id, status) => self.line(*id, &text::printable(status.as_bytes())),
            BuildEvent::Explained(id, reasons) => {
                if let (true, Some(reason)) = (self.explains, reasons.first()) {
                    self.begin(*id, at);
                    self.line(*id, &format!("MISS: {}", text::printable(reason.to_string().as_bytes())));
                }
            }
            BuildEvent::WouldRun(..) => {}
            BuildEvent::Cached(id, layer) => {
                self.begin(*id, at);
                if self.explains {
                    self.line(*id, "HIT");
                }
                self.end(*id, at, &with_layer("CACHED", layer.as_ref().map(steps::layer)));
            }
            BuildEvent::Finished(id, layer, took) => {
                let done = format!("DONE {}", units::duration(*took));
                self.end(*id, at, &with_layer(&done, layer.as_ref().map(steps::layer)));
            }
            BuildEvent::Failed(id) => {
                self.begin(*id, at);
                let failed = format!("FAILED {}", units::duration(self.steps.elapsed(*id, at)));
                self.end(*id, at, &failed);
            }
            BuildEvent::Cancelled(id) => self.end(*id, at, "CANCELLED"),
            BuildEvent::Warning(_) | BuildEvent::Phase(..) | BuildEvent::Layer(_) => {}
            BuildEvent::Note(note) => self.write(&format!("note: {}", text::printable(note.as_bytes()))),
        }
    }
}

fn with_layer(line: &str, layer: Option<String>) -> String {
    match layer {
        Some(layer) => format!("{line}, {layer}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lbuild_builder::Stream;

    use super::*;
    use crate::progress::recorded_build;

    fn render(events: &[(BuildEvent, Duration)]) -> String {
        render_as(events, false)
    }

    fn render_as(events: &[(BuildEvent, Duration)], explains: bool) -> String {
        let mut plain = Plain::new(Vec::new(), explains);
        for (event, at) in events {
            plain.event(event, *at);
        }
        String::from_utf8(plain.out).unwrap()
    }

    #[test]
    fn a_build_is_shown_line_by_line() {
        insta::assert_snapshot!(render(&recorded_build()), @r"
        #1 [base 1/2] FROM alpine AS base
        #1 CACHED, layer sha256:cae662172fd4 7.7 MB (512 entries)

        #2 [base 2/2] RUN make all
        #2 extracting 1 of 2 layers
        #2 0.10 gcc -c main.c
        #2 0.20 100%
        #2 0.20 warning: x
        #2 0.30 link
        #2 0.42 no newline
        #2 DONE 0.4s, layer sha256:ea0890697a77 1.2 kB (3 entries)

        note: this kernel has no cgroup for limits
        #3 [stage-1 1/2] FROM base
        #3 DONE 0.0s

        #4 [stage-1 2/2] RUN ./test --everything
        #4 0.06 test failed
        #4 FAILED 0.1s
        ");
    }

    #[test]
    fn hits_and_misses_are_explained_if_asked() {
        let shown = render_as(&recorded_build(), true);
        assert!(shown.contains("#1 HIT\n#1 CACHED"), "{shown}");
        assert!(shown.contains("RUN make all\n#2 MISS: earlier builds had no such step\n"), "{shown}");
    }

    #[test]
    fn steps_that_run_side_by_side_are_told_apart() {
        let output = |id, line: &str| BuildEvent::Output(StepId(id), Stream::Stdout, line.into());
        let mut events: Vec<_> = recorded_build().into_iter().take(1).collect();
        for (id, line) in [(0, "a\n"), (1, "b\n"), (1, "c\n"), (0, "d\n")] {
            events.push((output(id, line), Duration::ZERO));
        }
        assert_eq!(render(&events), "#1 0.00 a\n\n#2 0.00 b\n#2 0.00 c\n\n#1 0.00 d\n");
    }
}
