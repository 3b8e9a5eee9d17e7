//! Parser directives: `# name=value` at the top of the file.

use std::sync::LazyLock;

use regex::Regex;

use crate::{Diagnostic, Directives, Span};

/// A directive's name and value. The value must not be empty, and `.` does not match a line feed.
#[allow(clippy::unwrap_used)] // A constant.
static DIRECTIVE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^([a-zA-Z][a-zA-Z0-9]*)[\t\n\f\r ]*=[\t\n\f\r ]*(.+?)[\t\n\f\r ]*$").unwrap()
});

/// The directives that are known. Any other ends the directives: it is a comment.
const NAMES: [&str; 3] = ["check", "escape", "syntax"];

/// Reads directives until the first line that is none.
#[derive(Debug, Default)]
pub(super) struct DirectiveReader {
    seen: Vec<&'static str>,
    done: bool,
}

/// What a line at the top of the file is.
#[derive(Debug, PartialEq)]
pub(super) enum Line<'a> {
    /// A directive, and where its value begins in the line.
    Directive { name: &'static str, value: &'a str, at: usize },
    /// One that is given a second time.
    Repeated(&'static str),
    /// Anything else; there are no directives behind it.
    Other,
}

impl DirectiveReader {
    /// Reads `line`, which has no white space before it.
    pub(super) fn read<'a>(&mut self, line: &'a str) -> Line<'a> {
        let found = if self.done { None } else { line.strip_prefix('#').and_then(directive) };
        let Some((name, value)) = found else {
            self.done = true;
            return Line::Other;
        };
        if self.seen.contains(&name) {
            return Line::Repeated(name);
        }
        self.seen.push(name);
        Line::Directive { name, value, at: value.as_ptr() as usize - line.as_ptr() as usize }
    }
}

/// `name=value` as a known directive.
fn directive(comment: &str) -> Option<(&'static str, &str)> {
    let (_, [name, value]) = DIRECTIVE.captures(comment.trim_start())?.extract();
    let name = NAMES.into_iter().find(|known| known.eq_ignore_ascii_case(name))?;
    Some((name, value))
}

/// The value of the directive `wanted` in a comment's text: `check` is also heeded right above an
/// instruction.
pub(crate) fn directive_in_comment<'a>(comment: &'a str, wanted: &str) -> Option<&'a str> {
    let (name, value) = directive(comment)?;
    (name == wanted).then(|| first_word(value))
}

/// Applies one directive to `directives`.
pub(super) fn apply(
    directives: &mut Directives,
    name: &str,
    value: &str,
    span: Span,
) -> Result<(), Diagnostic> {
    let word = first_word(value);
    let word_span = Span { start: span.start, end: span.start + word.len() };
    match name {
        "check" => directives.check = Some((word.to_owned(), word_span)),
        "syntax" => directives.syntax = Some((word.to_owned(), word_span)),
        _ => match value {
            "\\" => directives.escape = '\\',
            "`" => directives.escape = '`',
            _ => {
                let message = format!("invalid escape token '{value}' does not match ` or \\");
                return Err(Diagnostic::error(span, message)
                    .help("the escape character is a backslash or a backtick"));
            }
        },
    }
    Ok(())
}

/// The part of a value that counts: a remark may follow a blank.
fn first_word(value: &str) -> &str {
    value.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_end_at_the_first_other_line() {
        let mut reader = DirectiveReader::default();
        let found = reader.read("# EScape = `  ");
        assert_eq!(found, Line::Directive { name: "escape", value: "`", at: 11 });
        assert_eq!(reader.read("#syntax=a // b"), Line::Directive { name: "syntax", value: "a // b", at: 8 });
        assert_eq!(reader.read("# syntax=a"), Line::Repeated("syntax"));
        assert_eq!(reader.read("# key=value"), Line::Other);
        assert_eq!(reader.read("# check=skip=all"), Line::Other);
    }

    #[test]
    fn a_comment_may_hold_a_check() {
        assert_eq!(directive_in_comment("check=skip=A,B // why", "check"), Some("skip=A,B"));
        assert_eq!(directive_in_comment("check = skip=all", "check"), Some("skip=all"));
        assert_eq!(directive_in_comment("syntax=x", "check"), None);
        assert_eq!(directive_in_comment("check this", "check"), None);
    }
}
