//! Problems in rustc's look: the file, the line, a caret, and what to do.

mod status;

use std::io::Write;

use annotate_snippets::renderer::{
    DEFAULT_ERROR_STYLE, DEFAULT_HELP_STYLE, DEFAULT_TERM_WIDTH, DEFAULT_WARNING_STYLE,
};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use anstyle::{Effects, Style as Paint};
use lbuild_builder::BuildError;
use lbuild_parser::{Diagnostic, Severity, Span};
use serde_json::{Value, json};

use crate::failure::build_help;
use crate::{terminal, text};
use status::explain;

/// How many of a failed command's last lines are shown.
const LAST_LINES: usize = 20;

/// The columns of a failed command in the first line; the whole stands below it.
const COMMAND: usize = 80;

const BOLD: Paint = Paint::new().effects(Effects::BOLD);
const ERROR: Paint = DEFAULT_ERROR_STYLE;
const WARNING: Paint = DEFAULT_WARNING_STYLE;
const HELP: Paint = DEFAULT_HELP_STYLE;

/// A Dockerfile that problems are shown in.
pub struct Source {
    /// The file as the user wrote its name.
    name: String,
    /// Its text.
    text: String,
}

/// How problems are drawn.
pub struct Style(Renderer);

impl Style {
    /// As standard error takes it.
    pub fn of_stderr() -> Self {
        let renderer = if terminal::has_colour() { Renderer::styled() } else { Renderer::plain() };
        Self(renderer.term_width(terminal::width().max(DEFAULT_TERM_WIDTH)))
    }

    /// The groups as text. The renderer shows control characters of the source as pictures, but for those
    /// above ASCII, of which some terminals take one for the beginning of a command.
    fn render(&self, groups: &[Group<'_>]) -> String {
        self.0.render(groups).replace(|c| matches!(c, '\u{80}'..='\u{9f}'), "\u{fffd}")
    }

    #[cfg(test)]
    fn plain() -> Self {
        Self(Renderer::plain())
    }
}

impl Source {
    /// The Dockerfile `name` with its content.
    pub fn new(name: impl Into<String>, content: &[u8]) -> Self {
        Self { name: name.into(), text: lbuild_parser::text(content).into_owned() }
    }

    /// The file as the user wrote its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The first and the last line of `span`, from 1.
    pub fn lines(&self, span: Span) -> (usize, usize) {
        let range = self.clamp(span);
        let last = Span::new(range.end..range.end);
        (span.line(&self.text), last.line(&self.text))
    }

    /// The lines of `span` and some around them, as `docker build --check` shows them.
    pub fn excerpt(&self, span: Span) -> String {
        let lines: Vec<&str> = self.text.split('\n').collect();
        let (first, last) = self.lines(span);
        let (mut start, mut end) = (first, last);
        let room = if first == last { 4 } else { 2 };
        let mut shown = 0;
        while shown < room {
            let (above, below) = (start > 1, end < lines.len());
            start -= usize::from(above);
            end += usize::from(below);
            shown += 1 + usize::from(above) + usize::from(below);
        }
        let rule = "-".repeat(20);
        let mut text = format!("{}:{first}\n{rule}\n", self.name);
        for (line, number) in lines[start - 1..end].iter().zip(start..) {
            let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
            text.push_str(&format!(" {number:3} | {mark} {line}\n"));
        }
        text + &rule + "\n"
    }

    /// A problem with its place.
    pub fn render(&self, diagnostic: &Diagnostic, style: &Style) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut title = level.primary_title(clean(&diagnostic.message));
        if let Some(rule) = diagnostic.rule {
            title = title.id(rule);
        }
        if let Some(url) = diagnostic.url {
            title = title.id_url(url);
        }
        let mut group = match diagnostic.span {
            Some(span) => title.element(self.snippet(span, diagnostic.label.as_deref(), &diagnostic.related)),
            None => title.element(Origin::path(self.name.as_str())),
        };
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(clean(help)));
        }
        if let Some(url) = diagnostic.url {
            group = group.element(Level::NOTE.message(format!("see {url}")));
        }
        style.render(&[group])
    }

    /// Whether `error` has to do with this file, so that [`Source::render_error`] shows its place.
    pub fn concerns(&self, error: &BuildError) -> bool {
        match error {
            BuildError::Dockerfile(_)
            | BuildError::Run { .. }
            | BuildError::Step { .. }
            | BuildError::NoSuchTarget { .. } => true,
            error => span(error).is_some(),
        }
    }

    /// A failed build. The causes of a failed step stand below its place.
    pub fn render_error(&self, error: &BuildError, style: &Style) -> String {
        match error {
            BuildError::Dockerfile(diagnostics) => {
                let all: Vec<String> = diagnostics.iter().map(|found| self.render(found, style)).collect();
                all.join("\n\n")
            }
            BuildError::Run { .. } => self.render_run(error, style),
            BuildError::Step { diagnostic, source, .. } => {
                let mut text = self.render(diagnostic, style);
                if let Some(source) = source {
                    text.push_str(&causes(Some(&**source)));
                }
                text
            }
            error => {
                let mut diagnostic = match span(error) {
                    Some(span) => Diagnostic::error(span, error.to_string()),
                    None => Diagnostic::file_error(error.to_string()),
                };
                diagnostic.help = build_help(error);
                let mut text = self.render(&diagnostic, style);
                text.push_str(&causes(std::error::Error::source(error)));
                text
            }
        }
    }

    /// A failed RUN: its place, what it wrote last, and what its status means.
    fn render_run(&self, error: &BuildError, style: &Style) -> String {
        let BuildError::Run { span, command, status, signal, last_output, help } = error else {
            return error.to_string();
        };
        let (meaning, advice) = explain(*status, *signal);
        let command = text::cut(&text::printable(command.as_bytes()), COMMAND);
        let title = Level::ERROR.primary_title(format!("{command}: exit status {status}"));
        let mut group = if span.start == span.end {
            title.element(Level::NOTE.message("the command is an ONBUILD trigger of the base image"))
        } else {
            title.element(self.snippet(*span, meaning.as_deref(), &[]))
        };
        let output = last_lines(last_output);
        if output.is_empty() {
            group = group.element(Level::NOTE.message("it wrote nothing"));
        } else {
            group = group.element(Level::NOTE.message(format!("its last output:\n{output}")));
        }
        if let Some(help) = help.as_deref().or(advice) {
            group = group.element(Level::HELP.message(clean(help)));
        }
        style.render(&[group])
    }

    fn snippet<'a>(
        &'a self,
        span: Span,
        label: Option<&str>,
        related: &[(Span, String)],
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let mut primary = AnnotationKind::Primary.span(self.clamp(span));
        if let Some(label) = label {
            primary = primary.label(clean(label));
        }
        Snippet::source(self.text.as_str()).path(self.name.as_str()).annotation(primary).annotations(
            related
                .iter()
                .map(|(span, label)| AnnotationKind::Context.span(self.clamp(*span)).label(clean(label))),
        )
    }

    /// The span within the text, on characters' borders, and without the line end behind it.
    fn clamp(&self, span: Span) -> std::ops::Range<usize> {
        let start = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let end = self.text.ceil_char_boundary(span.end.clamp(start, self.text.len()));
        start..start + self.text[start..end].trim_end_matches(['\r', '\n']).len()
    }

    /// A problem as JSON, with its place in lines and columns, both from 1.
    pub fn json(&self, diagnostic: &Diagnostic) -> Value {
        json!({
            "severity": diagnostic.severity,
            "rule": diagnostic.rule,
            "message": diagnostic.message,
            "place": diagnostic.span.map(|span| self.place(span)),
            "label": diagnostic.label,
            "related": diagnostic
                .related
                .iter()
                .map(|(span, text)| json!({ "place": self.place(*span), "text": text }))
                .collect::<Vec<_>>(),
            "help": diagnostic.help,
            "url": diagnostic.url,
        })
    }

    /// Where a span begins and ends.
    pub fn place(&self, span: Span) -> Value {
        let range = self.clamp(span);
        let end = Span::new(range.end..range.end);
        json!({
            "file": self.name,
            "line": span.line(&self.text),
            "column": span.column(&self.text),
            "end_line": end.line(&self.text),
            "end_column": end.column(&self.text),
        })
    }

    /// A failed build as JSON.
    pub fn error_json(&self, error: &BuildError) -> Value {
        let diagnostics: Vec<Value> = match error {
            BuildError::Dockerfile(diagnostics) => diagnostics.iter().map(|found| self.json(found)).collect(),
            BuildError::Step { diagnostic, .. } => vec![self.json(diagnostic)],
            error => span(error)
                .map(|span| self.json(&Diagnostic::error(span, error.to_string())))
                .into_iter()
                .collect(),
        };
        let status = match error {
            BuildError::Run { status, .. } => Some(*status),
            _ => None,
        };
        json!({
            "event": "error",
            "message": error.to_string(),
            "causes": chain(std::error::Error::source(error)),
            "status": status,
            "diagnostics": diagnostics,
        })
    }
}

/// A failure that no build tells of, as JSON.
pub fn failure_json(error: &(dyn std::error::Error + 'static), help: Option<&str>) -> Value {
    json!({
        "event": "error",
        "message": without_errno(&error.to_string()),
        "causes": chain(error.source()),
        "help": help,
        "status": null,
        "diagnostics": [],
    })
}

/// Prints `text` and a line end on standard error.
pub fn print(text: &str) {
    // Nobody can be told that standard error is closed.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints an error with its causes, and what to do.
pub fn print_error(error: &dyn std::error::Error, help: Option<&str>) {
    print(&describe(Severity::Error, error, help));
}

/// Prints the same of what fails no command.
pub fn print_warning(error: &dyn std::error::Error, help: Option<&str>) {
    print(&describe(Severity::Warning, error, help));
}

fn describe(severity: Severity, error: &dyn std::error::Error, help: Option<&str>) -> String {
    let message = clean(&without_errno(&error.to_string()));
    let (paint, word) = match severity {
        Severity::Error => (ERROR, "error"),
        Severity::Warning => (WARNING, "warning"),
    };
    let mut text = format!("{paint}{word}{paint:#}{BOLD}: {message}{BOLD:#}");
    text.push_str(&causes(error.source()));
    if let Some(help) = help {
        text.push_str(&format!("\n  {HELP}help{HELP:#}: {}", clean(help)));
    }
    text
}

/// The messages of an error's causes. A wrapper that says the same as what it wraps counts once.
fn chain(mut cause: Option<&(dyn std::error::Error + 'static)>) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    while let Some(error) = cause {
        let message = without_errno(&error.to_string());
        if messages.last() != Some(&message) {
            messages.push(message);
        }
        cause = error.source();
    }
    messages
}

fn causes(cause: Option<&(dyn std::error::Error + 'static)>) -> String {
    chain(cause).iter().map(|message| format!("\n  {BOLD}caused by{BOLD:#}: {}", clean(message))).collect()
}

/// `message` without the number that the standard library puts behind a system error's text.
fn without_errno(message: &str) -> String {
    match message.rfind(" (os error ") {
        Some(at) if message.ends_with(')') => message[..at].to_owned(),
        _ => message.to_owned(),
    }
}

/// Text that may hold parts of a Dockerfile or of an image, without control characters and very long words.
fn clean(message: &str) -> String {
    let lines: Vec<String> =
        message.lines().map(|line| text::shortened(&text::printable(line.as_bytes()))).collect();
    lines.join("\n")
}

fn last_lines(output: &[u8]) -> String {
    let lines: Vec<&[u8]> = output.split(|byte| *byte == b'\n').collect();
    let lines = match lines.split_last() {
        Some((&[], rest)) => rest,
        _ => &lines,
    };
    let shown = &lines[lines.len().saturating_sub(LAST_LINES)..];
    let shown: Vec<String> =
        shown.iter().map(|line| text::printable(text::last_overwrite(line)).trim_end().to_owned()).collect();
    shown.join("\n")
}

fn span(error: &BuildError) -> Option<Span> {
    match error {
        BuildError::Run { span, .. } | BuildError::Frozen { span, .. } | BuildError::Image { span, .. } => {
            Some(*span)
        }
        BuildError::NoSuchImage { span, .. } | BuildError::WrongPlatform { span, .. } => *span,
        _ => None,
    }
    .filter(|span| span.start < span.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERFILE: &[u8] =
        b"FROM alpine\nRUN apt-get update && \\\n    apt-get install\nCOPPY a b\nRUN make\n";

    fn source() -> Source {
        Source::new("Dockerfile", DOCKERFILE)
    }

    fn span(text: &str) -> Span {
        let all = std::str::from_utf8(DOCKERFILE).unwrap();
        let start = all.find(text).unwrap();
        Span::new(start..start + text.len())
    }

    #[test]
    fn a_problem_has_its_line_a_caret_and_advice() {
        let problem = Diagnostic::error(span("COPPY"), "there is no instruction COPPY")
            .label("unknown instruction")
            .help("did you mean COPY?");
        insta::assert_snapshot!(source().render(&problem, &Style::plain()), @r"
        error: there is no instruction COPPY
         --> Dockerfile:4:1
          |
        4 | COPPY a b
          | ^^^^^ unknown instruction
          |
          = help: did you mean COPY?
        ");
    }

    #[test]
    fn a_warning_names_its_rule_and_other_places() {
        let mut problem =
            Diagnostic::warning(span("make"), "an odd command").related(span("alpine"), "has no make");
        problem.rule = Some("OddCommand");
        problem.url = Some("https://example.org/odd");
        insta::assert_snapshot!(source().render(&problem, &Style::plain()), @r"
        warning[OddCommand]: an odd command
         --> Dockerfile:5:5
          |
        1 | FROM alpine
          |      ------ has no make
        ...
        5 | RUN make
          |     ^^^^
          |
          = note: see https://example.org/odd
        ");
    }

    #[test]
    fn of_a_very_long_line_the_part_around_the_caret_is_shown() {
        let (before, behind) = ("é=日\t".repeat(100_000), "x".repeat(1 << 20));
        let text = format!("FROM alpine\nENV {before}c=${{d {behind}\n");
        let start = text.find("${d").unwrap();
        let problem = Diagnostic::error(Span::new(start..start + 3), format!("not closed: '{behind}'"));
        let shown = Source::new("Dockerfile", text.as_bytes()).render(&problem, &Style::plain());
        assert!(shown.len() < 1000 && shown.contains("(1.0 MB left out)"), "{shown}");
        let column = |mark: &str| {
            let line = shown.lines().find(|line| line.contains(mark)).unwrap();
            unicode_width::UnicodeWidthStr::width(line.split(mark).next().unwrap())
        };
        assert_eq!(column("^^^"), column("${d"), "{shown}");
    }

    #[test]
    fn several_problems_are_shown_below_each_other() {
        let error = BuildError::Dockerfile(vec![
            Diagnostic::error(span("COPPY"), "first"),
            Diagnostic::file_error("second"),
        ]);
        insta::assert_snapshot!(source().render_error(&error, &Style::plain()), @r"
        error: first
         --> Dockerfile:4:1
          |
        4 | COPPY a b
          | ^^^^^

        error: second
        --> Dockerfile
        ");
    }

    #[test]
    fn a_failed_run_shows_its_last_output_and_what_the_status_means() {
        let error = BuildError::Run {
            span: span("RUN make"),
            command: "make".to_owned(),
            status: 127,
            signal: None,
            last_output: b"\x1b[31m/bin/sh: make: not found\x1b[0m\n10%\r20%\n".to_vec(),
            help: None,
        };
        insta::assert_snapshot!(source().render_error(&error, &Style::plain()), @r"
        error: make: exit status 127
         --> Dockerfile:5:1
          |
        5 | RUN make
          | ^^^^^^^^ a command was not found
          |
          = note: its last output:
                  /bin/sh: make: not found
                  20%
          = help: check the spelling and the PATH, or install the program in an earlier step
        ");
    }

    #[test]
    fn a_failed_run_over_several_lines_shows_them() {
        let error = BuildError::Run {
            span: span("RUN apt-get update && \\\n    apt-get install\n"),
            command: "apt-get update && apt-get install".to_owned(),
            status: 137,
            signal: Some(9),
            last_output: Vec::new(),
            help: None,
        };
        insta::assert_snapshot!(source().render_error(&error, &Style::plain()), @r"
        error: apt-get update && apt-get install: exit status 137
         --> Dockerfile:2:1
          |
        2 | / RUN apt-get update && \
        3 | |     apt-get install
          | |___________________^ it was killed
          |
          = note: it wrote nothing
          = help: the usual reason is memory: give the step more with --memory, or let it use less
        ");
    }

    #[test]
    fn causes_stand_below_and_have_no_numbers() {
        let missing = std::io::Error::from_raw_os_error(2);
        let error = BuildError::Step {
            diagnostic: Box::new(Diagnostic::error(span("make"), "cannot do it")),
            source: Some(Box::new(missing)),
            word: None,
            is_disk_full: false,
        };
        let text = source().render_error(&error, &Style::plain());
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(text.ends_with("\n  caused by: No such file or directory"), "{text}");
    }

    #[test]
    fn an_error_without_a_place_has_its_causes_and_advice_below() {
        let missing = std::io::Error::from_raw_os_error(2);
        let error = BuildError::Io { what: "cannot read the clock".to_owned(), source: missing };
        let text = describe(Severity::Error, &error, Some("buy one"));
        let expected =
            "error: cannot read the clock\n  caused by: No such file or directory\n  help: buy one";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }

    #[test]
    fn places_outside_the_text_do_no_harm() {
        let source = Source::new("Dockerfile", "FROM é\n\u{1b}[2J".as_bytes());
        for (start, end) in [(0, 999), (999, 1000), (6, 6), (5, 3), (6, 7)] {
            let text = source.render(&Diagnostic::error(Span { start, end }, "x\u{1b}[2J"), &Style::plain());
            assert!(text.contains("error: x") && !text.contains('\u{1b}'), "{start} {end}: {text}");
        }
    }

    #[test]
    fn problems_are_given_to_programs_with_lines_and_columns() {
        let json = source().error_json(&BuildError::Dockerfile(vec![Diagnostic::error(span("COPPY"), "x")]));
        assert_eq!(json["event"], "error");
        let place = &json["diagnostics"][0]["place"];
        assert_eq!((place["line"].clone(), place["column"].clone()), (4.into(), 1.into()));
        assert_eq!(place["end_column"], 6);
    }
}
