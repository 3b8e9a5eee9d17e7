//! Shows on standard error what a build does.

pub mod json;
pub mod lines;
mod plain;
mod quiet;
pub mod steps;
mod tty;

use std::io::{self, IsTerminal};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lbuild_builder::BuildEvent;
use lbuild_parser::Diagnostic;

use crate::args::ProgressStyle;
use crate::terminal;

/// A way to show a build's events.
trait Renderer: Send {
    /// Shows `event`, which happened `at` after the build began. A failing standard error is not the
    /// build's failure, so there is no error.
    fn event(&mut self, event: &BuildEvent, at: Duration);

    /// Removes what was only shown while the build ran.
    fn finish(&mut self) {}
}

/// A build's progress: give it the build's events, from any thread.
pub struct Progress {
    began: Instant,
    json: bool,
    state: Mutex<State>,
}

struct State {
    renderer: Box<dyn Renderer>,
    warnings: Vec<Diagnostic>,
}

impl Progress {
    /// Begins to show a build in `style`.
    /// With `explains`, it is told of every step whether and why it misses the cache.
    pub fn start(style: ProgressStyle, explains: bool) -> Self {
        let style = match style {
            ProgressStyle::Auto if io::stderr().is_terminal() && !terminal::is_dumb() => ProgressStyle::Tty,
            ProgressStyle::Auto => ProgressStyle::Plain,
            style => style,
        };
        let renderer: Box<dyn Renderer> = match style {
            ProgressStyle::Tty => Box::new(tty::Tty::on_stderr(explains)),
            ProgressStyle::Rawjson => Box::new(json::Json::new(io::stderr())),
            ProgressStyle::Quiet => Box::new(quiet::Quiet),
            ProgressStyle::Plain | ProgressStyle::Auto => Box::new(plain::Plain::new(io::stderr(), explains)),
        };
        let state = Mutex::new(State { renderer, warnings: Vec::new() });
        Self { began: Instant::now(), json: style == ProgressStyle::Rawjson, state }
    }

    /// Shows an event. Warnings are kept for the end, where they can be read.
    pub fn event(&self, event: BuildEvent) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.renderer.event(&event, self.began.elapsed());
        if let BuildEvent::Warning(diagnostic) = event {
            state.warnings.push(diagnostic);
        }
    }

    /// Ends the show; returns the build's warnings, to be printed below it.
    pub fn finish(&self) -> Vec<Diagnostic> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.renderer.finish();
        std::mem::take(&mut state.warnings)
    }

    /// The time since the build began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Whether a program reads standard error, so that errors and warnings are JSON too.
    pub fn is_json(&self) -> bool {
        self.json
    }
}

/// A recorded build for the renderers' tests: a cached FROM, a RUN that writes something nasty and
/// makes a layer, a step that changes nothing, and one that fails.
#[cfg(test)]
fn recorded_build() -> Vec<(BuildEvent, Duration)> {
    use lbuild_builder::{LayerSummary, PlannedStep, StepId, Stream};
    use lbuild_oci::{DiffId, Digest};
    use lbuild_parser::Span;

    let step = |id: usize, stage: &str, number, of, text: &str| PlannedStep {
        id: StepId(id),
        stage: stage.to_owned(),
        number,
        of,
        text: text.to_owned(),
        span: Span::new(id * 10..id * 10 + 9),
    };
    let layer = |content: &str, size, entries| {
        Some(LayerSummary { diff_id: DiffId(Digest::of(content)), size, entries })
    };
    let output = |id, stream, bytes: &[u8]| BuildEvent::Output(StepId(id), stream, bytes.to_vec());
    [
        (
            0,
            BuildEvent::Planned(vec![
                step(0, "base", 1, 2, "FROM alpine AS base"),
                step(1, "base", 2, 2, "RUN make all"),
                step(2, "1", 1, 2, "FROM base"),
                step(3, "1", 2, 2, "RUN ./test --everything"),
            ]),
        ),
        (1, BuildEvent::Started(StepId(0))),
        (2, BuildEvent::Cached(StepId(0), layer("base", 7_700_000, 512))),
        (3, BuildEvent::Started(StepId(1))),
        (3, BuildEvent::Explained(StepId(1), vec![lbuild_builder::Reason::NewStep])),
        (10, BuildEvent::Status(StepId(1), "extracting 1 of 2 layers".to_owned())),
        (100, output(1, Stream::Stdout, b"gcc -c \x1b[1mmain.c\x1b[0m\nli")),
        (200, output(1, Stream::Stderr, b"10%\r60%\r100%\n\x1b]0;pwned\x07warning: x\n")),
        (300, output(1, Stream::Stdout, b"nk\nno newline")),
        (420, BuildEvent::Finished(StepId(1), layer("made", 1_234, 3), Duration::from_millis(417))),
        (421, BuildEvent::Note("this kernel has no cgroup for limits".to_owned())),
        (430, BuildEvent::Started(StepId(2))),
        (431, BuildEvent::Finished(StepId(2), None, Duration::from_millis(1))),
        (440, BuildEvent::Started(StepId(3))),
        (500, output(3, Stream::Stderr, b"test failed\n")),
        (540, BuildEvent::Failed(StepId(3))),
    ]
    .into_iter()
    .map(|(milliseconds, event)| (event, Duration::from_millis(milliseconds)))
    .collect()
}
