//! Progress on a terminal: the running steps with their last lines of output, finished ones above.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anstyle::{AnsiColor, Effects, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use lbuild_builder::{BuildEvent, LayerSummary, StepId, Stream};

use super::Renderer;
use super::steps::Steps;
use crate::{terminal, text, units};

/// The lines of output that are shown below a running step.
const TAIL: usize = 4;
/// The columns of the word or time before a step.
const MARK: usize = 8;
/// A partial line longer than this, in bytes, is not kept whole.
const LONGEST: usize = 4096;
const TICK: Duration = Duration::from_millis(100);

/// Draws on a terminal.
pub struct Tty {
    bars: MultiProgress,
    footer: ProgressBar,
    running: BTreeMap<StepId, Running>,
    steps: Steps,
    done: usize,
    cached: usize,
    explains: bool,
    look: Look,
}

/// How to draw.
#[derive(Clone)]
struct Look {
    colour: bool,
    width: fn() -> usize,
    elapsed: fn(&ProgressState) -> Duration,
    /// How often times and spinners move on by themselves; never in tests.
    tick: Option<Duration>,
}

/// A step that runs.
struct Running {
    bar: ProgressBar,
    tail: Arc<Mutex<Tail>>,
}

/// The last lines of a step's output.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    partial: [Vec<u8>; 2],
}

impl Tty {
    /// Draws on standard error.
    pub fn on_stderr(explains: bool) -> Self {
        let look = Look {
            colour: terminal::has_colour(),
            width: terminal::width,
            elapsed: ProgressState::elapsed,
            tick: Some(TICK),
        };
        Self { explains, ..Self::new(ProgressDrawTarget::stderr(), look) }
    }

    fn new(target: ProgressDrawTarget, look: Look) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        let footer = bars.add(ProgressBar::new_spinner());
        footer.set_style(look.style("{spinner} {wide_msg} {time}"));
        let tty = Self {
            bars,
            footer,
            running: BTreeMap::new(),
            steps: Steps::default(),
            done: 0,
            cached: 0,
            explains: false,
            look,
        };
        tty.animate(&tty.footer);
        tty
    }

    fn animate(&self, bar: &ProgressBar) {
        match self.look.tick {
            Some(tick) => bar.enable_steady_tick(tick),
            None => bar.tick(),
        }
    }

    fn start(&mut self, id: StepId, at: Duration) {
        if !self.steps.start(id, at) {
            return;
        }
        let bar = self.bars.insert_before(&self.footer, ProgressBar::new_spinner());
        let tail = Arc::new(Mutex::new(Tail::default()));
        bar.set_style(self.look.style("{spinner} {wide_msg} {time}\n{tail}").with_key("tail", {
            let (tail, look) = (Arc::clone(&tail), self.look.clone());
            move |_: &ProgressState, out: &mut dyn fmt::Write| {
                let tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                // A failing write would be the bar's own buffer's.
                let _ = tail.draw(out, &look);
            }
        }));
        bar.set_message(self.steps.title(id));
        self.animate(&bar);
        self.running.insert(id, Running { bar, tail });
    }

    fn output(&mut self, id: StepId, stream: Stream, bytes: &[u8]) {
        if let Some(running) = self.running.get(&id) {
            running.tail.lock().unwrap_or_else(PoisonError::into_inner).push(stream, bytes);
            running.bar.tick();
        }
    }

    /// Ends a step: its bar goes, and a line with `mark` before it stays.
    fn end(&mut self, id: StepId, mark: &str, colour: AnsiColor, layer: Option<&LayerSummary>) {
        let mut line = self.steps.title(id);
        let size = match layer {
            Some(layer) if layer.size > 0 => format!(" → {}", units::size(layer.size)),
            _ => String::new(),
        };
        let columns = (self.look.width)().saturating_sub(MARK + 1 + size.chars().count());
        line = text::cut(&line, columns);
        let mark = self.look.paint(&format!("{mark:>MARK$}"), colour.on_default().effects(Effects::BOLD));
        self.print(&format!("{mark} {line}{}", self.look.paint(&size, Effects::DIMMED.into())));
        if let Some(running) = self.running.remove(&id) {
            running.bar.finish_and_clear();
            self.bars.remove(&running.bar);
        }
        self.done += 1;
        self.count();
    }

    fn count(&self) {
        let cached = if self.cached > 0 { format!(", {} cached", self.cached) } else { String::new() };
        self.footer.set_message(format!("{} of {} steps{cached}", self.done, self.steps.len()));
    }

    fn print(&self, line: &str) {
        // The build goes on where nobody reads its progress.
        let _ = self.bars.println(line);
    }
}

impl Renderer for Tty {
    fn event(&mut self, event: &BuildEvent, at: Duration) {
        match event {
            BuildEvent::Planned(steps) | BuildEvent::Added(steps) => {
                self.steps.add(steps);
                self.count();
            }
            BuildEvent::Started(id) => self.start(*id, at),
            BuildEvent::Output(id, stream, bytes) => self.output(*id, *stream, bytes),
            BuildEvent::Status(id, status) => {
                let mut line = text::printable(status.as_bytes()).into_bytes();
                line.push(b'\n');
                self.output(*id, Stream::Stderr, &line);
            }
            BuildEvent::Explained(id, reasons) => {
                if let (true, Some(reason)) = (self.explains, reasons.first()) {
                    let reason = text::printable(reason.to_string().as_bytes());
                    let line = text::cut(
                        &format!("{}: {reason}", self.steps.title(*id)),
                        (self.look.width)().saturating_sub(MARK + 1),
                    );
                    self.print(&format!("{:>MARK$} {line}", "MISS"));
                }
            }
            BuildEvent::WouldRun(..) => {}
            BuildEvent::Cached(id, layer) => {
                self.cached += 1;
                self.end(*id, if self.explains { "HIT" } else { "CACHED" }, AnsiColor::Cyan, layer.as_ref());
            }
            BuildEvent::Finished(id, layer, took) => {
                self.end(*id, &units::duration(*took), AnsiColor::Green, layer.as_ref());
            }
            BuildEvent::Failed(id) => self.end(*id, "FAILED", AnsiColor::Red, None),
            BuildEvent::Cancelled(id) => self.end(*id, "stopped", AnsiColor::Yellow, None),
            BuildEvent::Warning(_) | BuildEvent::Phase(..) | BuildEvent::Layer(_) => {}
            BuildEvent::Note(note) => {
                let note = text::printable(note.as_bytes());
                self.print(&format!("{:>MARK$} {note}", "note:"));
            }
        }
    }

    fn finish(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            running.bar.finish_and_clear();
        }
        self.footer.finish_and_clear();
    }
}

impl Look {
    /// A bar's style, with `{time}` as the time since it was made.
    fn style(&self, template: &str) -> ProgressStyle {
        let elapsed = self.elapsed;
        ProgressStyle::with_template(template)
            .unwrap_or_else(|_| ProgressStyle::default_spinner())
            .tick_strings(&["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏", " "])
            .with_key("time", move |state: &ProgressState, out: &mut dyn fmt::Write| {
                // A failing write would be the bar's own buffer's.
                let _ = out.write_str(&units::duration(elapsed(state)));
            })
    }

    fn paint(&self, text: &str, style: Style) -> String {
        if self.colour && !text.is_empty() { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

impl Tail {
    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let partial = match stream {
            Stream::Stdout => &mut self.partial[0],
            Stream::Stderr => &mut self.partial[1],
        };
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let room = LONGEST.saturating_sub(partial.len());
            partial.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.lines.push_back(shown(partial));
                partial.clear();
            }
        }
        while self.lines.len() > TAIL {
            self.lines.pop_front();
        }
    }

    /// Draws the lines, the unfinished ones last, below each other and without a last line end.
    fn draw(&self, out: &mut dyn fmt::Write, look: &Look) -> fmt::Result {
        let partial = self.partial.iter().map(|line| shown(line)).filter(|line| !line.is_empty());
        let lines: Vec<String> = self.lines.iter().cloned().chain(partial).collect();
        let width = (look.width)();
        for (number, line) in lines[lines.len().saturating_sub(TAIL)..].iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            let line = text::cut(&format!("  │ {line}"), width);
            write!(out, "{separator}{}", look.paint(&line, Effects::DIMMED.into()))?;
        }
        Ok(())
    }
}

fn shown(line: &[u8]) -> String {
    text::printable(text::last_overwrite(line))
}

#[cfg(test)]
mod tests {
    use indicatif::{InMemoryTerm, TermLike};

    use super::*;
    use crate::progress::recorded_build;

    const WIDTH: u16 = 40;

    fn terminal(colour: bool) -> (Tty, InMemoryTerm) {
        let term = InMemoryTerm::new(20, WIDTH);
        assert_eq!(term.width(), WIDTH);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(term.clone()), u8::MAX);
        (
            Tty::new(
                target,
                Look { colour, width: || WIDTH.into(), elapsed: |_| Duration::ZERO, tick: None },
            ),
            term,
        )
    }

    #[test]
    fn finished_steps_stay_above() {
        let (mut tty, term) = terminal(false);
        for (event, at) in recorded_build() {
            tty.event(&event, at);
        }
        tty.finish();
        insta::assert_snapshot!(term.contents(), @r"
      CACHED [base 1/2] FROM alpin… → 7.7 MB
        0.4s [base 2/2] RUN make a… → 1.2 kB
       note: this kernel has no cgroup for l
    imits
        0.0s [stage-1 1/2] FROM base
      FAILED [stage-1 2/2] RUN ./test --eve…
    ");
    }

    #[test]
    fn a_running_step_shows_its_last_lines() {
        let (mut tty, term) = terminal(false);
        for (event, at) in recorded_build() {
            if matches!(event, BuildEvent::Finished(..)) {
                break;
            }
            tty.event(&event, at);
        }
        let output = b"a line much longer than the forty columns of this terminal\n\x1b[2J\x1b[Hhome\n";
        tty.event(&BuildEvent::Output(StepId(1), Stream::Stdout, output.to_vec()), Duration::ZERO);
        tty.running[&StepId(1)].bar.force_draw();
        insta::assert_snapshot!(term.contents(), @r"
      CACHED [base 1/2] FROM alpin… → 7.7 MB
    ⠦ [base 2/2] RUN make all           0.0s
      │ warning: x
      │ link
      │ no newlinea line much longer than t…
      │ home
    ⠙ 1 of 4 steps, 1 cached            0.0s
    ");
    }

    #[test]
    fn colours_are_left_out_where_they_are_not_wanted() {
        for colour in [false, true] {
            let (tty, _) = terminal(colour);
            let painted = tty.look.paint("CACHED", AnsiColor::Cyan.on_default());
            assert_eq!(painted.contains('\x1b'), colour);
        }
    }
}
