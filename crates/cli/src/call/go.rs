//! The forms in which BuildKit, a Go program, gives its answers.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lbuild_parser::Span;
use serde::Serialize;
use unicode_width::UnicodeWidthStr;

use crate::diagnostics::Source;

/// `value` as Go's encoder indents it, with a line end.
pub fn json(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("answers are representable as JSON");
    // These characters only occur in strings.
    let mut escaped = String::with_capacity(text.len() + 1);
    for character in text.chars() {
        match character {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            character => escaped.push(character),
        }
    }
    escaped + "\n"
}

/// Bytes as Go's encoder writes them.
pub fn bytes(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// Lines of cells, all but the last of a line padded to their column's width and `gap` blanks.
pub fn table<const N: usize>(rows: &[[&str; N]], gap: usize) -> String {
    let mut text = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            text.push_str(cell);
            if column + 1 < N {
                let width = rows.iter().map(|row| row[column].width()).max().unwrap_or_default();
                text.push_str(&" ".repeat(width - cell.width() + gap));
            }
        }
        text.push('\n');
    }
    text
}

/// Lines of a file, as protocol buffers have them in JSON.
#[derive(Debug, Serialize, Default)]
pub struct Location {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<Range>,
}

#[derive(Debug, Serialize)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Debug, Serialize)]
struct Position {
    line: usize,
}

impl Location {
    /// The lines of `span`, each a range of its own; none for the file as a whole.
    pub fn new(source: &Source, span: Option<Span>) -> Self {
        let lines = span.map(|span| source.lines(span)).map(|(first, last)| first..=last);
        let range = |line| Range { start: Position { line }, end: Position { line } };
        Self { ranges: lines.into_iter().flatten().map(range).collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_escaped_as_for_a_page() {
        assert_eq!(
            json(&json!({"a": "<b>&\u{2028}é"})),
            "{\n  \"a\": \"\\u003cb\\u003e\\u0026\\u2028é\"\n}\n"
        );
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        assert_eq!(
            table(&[["A", "B", "C"], ["long", "", "x"], ["é", "b", ""]], 2),
            "A     B  C\nlong     x\né     b  \n"
        );
    }

    #[test]
    fn places_are_lines() {
        let source = Source::new("Dockerfile", b"FROM a\nRUN b \\\n  c\nRUN d\n");
        let places = [
            (None, json!({})),
            (
                Some(Span::new(7..18)),
                json!({"ranges": [
                    {"start": {"line": 2}, "end": {"line": 2}},
                    {"start": {"line": 3}, "end": {"line": 3}},
                ]}),
            ),
        ];
        for (span, expected) in places {
            assert_eq!(serde_json::to_value(Location::new(&source, span)).unwrap(), expected);
        }
    }
}
