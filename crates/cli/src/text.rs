//! Text of unknown origin, made fit for a terminal.
//!
//! What a RUN writes may move the cursor, set the title, or hide other text. Nothing of that passes.

use std::borrow::Cow;

use serde_json::Value;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::units::size;

/// The columns between two tab stops.
const TAB: usize = 8;

/// The longest word of a message that is shown whole, in characters. Paths and URLs are shorter, as a rule.
const WORD: usize = 400;

/// The longest line of a message that is shown whole, in characters.
const LINE: usize = 4000;

/// `bytes` of one line as printable text: control sequences and control characters are left out,
/// tabs are spaces, and what is not UTF-8 is U+FFFD.
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' => skip_escape(&mut rest),
            '\u{9b}' => skip_control_sequence(&mut rest),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut rest),
            '\t' => {
                let column = out.width();
                out.extend(std::iter::repeat_n(' ', TAB - column % TAB));
            }
            c if c.is_control() || is_invisible(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// A JSON document as one line that is printable too: characters that drive a terminal are escaped, also those
/// that JSON itself lets pass. Programs read the same text as before.
pub fn json_line(document: &Value) -> String {
    escaped(&document.to_string())
}

/// The same on several lines, indented.
pub fn json_lines(document: &Value) -> String {
    escaped(&format!("{document:#}"))
}

/// JSON without characters that drive a terminal; line ends are its indentation's.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // All of them stand inside of strings, and none is beyond 16 bits.
        if (c.is_control() && c != '\n') || is_invisible(c) {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            out.push(c);
        }
    }
    out
}

/// What a terminal shows in the end of a line that carriage returns overwrite: its last part that
/// is not empty.
pub fn last_overwrite(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b'\r').rfind(|part| !part.is_empty()).unwrap_or_default()
}

/// `text` cut to `columns` of a terminal, the last one an ellipsis where something is missing.
pub fn cut(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used + 1 > columns {
            break;
        }
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// `line` of a message as people can read it: of words and lines that are very long, such as a value of a megabyte,
/// only the ends, and how much is left out.
pub fn shortened(line: &str) -> String {
    let words: Vec<_> = line.split(' ').map(|word| ends(word, WORD)).collect();
    ends(&words.join(" "), LINE).into_owned()
}

/// `text`, or its ends if it has more than `limit` characters.
fn ends(text: &str, limit: usize) -> Cow<'_, str> {
    if text.chars().nth(limit).is_none() {
        return text.into();
    }
    let mut places = text.char_indices().map(|(at, _)| at);
    let (Some(start), Some(end)) = (places.nth(limit / 2), places.nth_back(limit / 4 - 1)) else {
        return text.into();
    };
    let left_out = size(u64::try_from(end - start).unwrap_or(u64::MAX));
    format!("{}…({left_out} left out)…{}", &text[..start], &text[end..]).into()
}

/// Directional overrides and isolates reorder the text around them; line separators break it.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Skips what follows an ESC.
///
/// Source: ECMA-48 (control functions for coded character sets), sections 5.3 to 5.6
fn skip_escape(rest: &mut std::str::Chars<'_>) {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('[') => {
            *rest = ahead;
            skip_control_sequence(rest);
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            *rest = ahead;
            skip_string(rest);
        }
        // Intermediate bytes, then a final one: ESC ( B.
        Some(' '..='/') => {
            *rest = ahead;
            for c in rest.by_ref() {
                if !(' '..='/').contains(&c) {
                    break;
                }
            }
        }
        Some('0'..='~') => *rest = ahead,
        _ => {}
    }
}

/// Skips parameters up to the final byte of a control sequence, which began with CSI.
fn skip_control_sequence(rest: &mut std::str::Chars<'_>) {
    loop {
        let mut ahead = rest.clone();
        match ahead.next() {
            Some(' '..='?') => *rest = ahead,
            Some('@'..='~') => {
                *rest = ahead;
                return;
            }
            // Not a control sequence after all: what follows is text.
            _ => return,
        }
    }
}

/// Skips an operating system command or another control string up to its terminator, BEL or ST.
fn skip_string(rest: &mut std::str::Chars<'_>) {
    while let Some(c) = rest.next() {
        match c {
            '\x07' | '\u{9c}' => return,
            '\x1b' => {
                let mut ahead = rest.clone();
                if ahead.next() == Some('\\') {
                    *rest = ahead;
                }
                return;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_line_is_printable_and_reads_back() {
        let document = serde_json::json!({ "text": "a\u{1b}[2J\u{9b}8m\u{7f}\u{202e}\r\n\"é\\" });
        let line = json_line(&document);
        assert!(line.chars().all(|c| !c.is_control() && !is_invisible(c)), "{line:?}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), document);
        let lines = json_lines(&document);
        assert!(
            lines.lines().all(|line| !line.contains(|c: char| c.is_control() || is_invisible(c))),
            "{lines:?}"
        );
        assert_eq!((lines.lines().count(), serde_json::from_str::<Value>(&lines).unwrap()), (3, document));
    }

    #[test]
    fn control_sequences_do_not_pass() {
        for (bytes, expected) in [
            (&b"plain"[..], "plain"),
            (b"\x1b[1;31mred\x1b[0m", "red"),
            (b"\x1b[2J\x1b[H\x1b[?25lgone", "gone"),
            (b"\x1b]0;title\x07text", "text"),
            (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            (b"\x1b(Bcharset", "charset"),
            (b"\x1bcreset", "reset"),
            (b"\xc2\x9b31mc1", "c1"),
            (b"a\x08\x07\x00b\x7f", "ab"),
            (b"a\tb", "a       b"),
            (b"\x1b[31", ""),
            (b"end\x1b", "end"),
            (b"\x1b[3\xc3\xa9", "é"),
            (b"\xff\xfe", "\u{fffd}\u{fffd}"),
            ("abc\u{202e}def".as_bytes(), "abcdef"),
        ] {
            assert_eq!(printable(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn overwritten_parts_of_a_line_are_not_shown() {
        for (line, expected) in
            [(&b"10%\r50%\r100%"[..], &b"100%"[..]), (b"done\r", b"done"), (b"\r\r", b""), (b"", b"")]
        {
            assert_eq!(last_overwrite(line), expected, "{line:?}");
        }
    }

    #[test]
    fn lines_are_cut_to_columns() {
        for (text, columns, expected) in [
            ("hello", 5, "hello"),
            ("hello", 4, "hel…"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("ab", 0, ""),
        ] {
            assert_eq!(cut(text, columns), expected, "{text} {columns}");
        }
    }

    #[test]
    fn only_the_ends_of_very_long_words_and_lines_are_shown() {
        let (word, wide) = ("x".repeat(400), "é".repeat(1_000_000));
        let plain = format!("{word} 'a' {word}");
        assert_eq!(shortened(&plain), plain);
        let head = "é".repeat(199);
        let tail = "é".repeat(99);
        let expected = format!("no key '{head}…(2.0 MB left out)…{tail}' here");
        assert_eq!(shortened(&format!("no key '{wide}' here")), expected);
        let gap = "…(3.0 MB left out)…";
        let many = shortened(&"ab ".repeat(1_000_000));
        assert!(many.contains(&format!(" ab{gap} ab ")), "{many}");
        assert_eq!(many.chars().count(), 3000 + gap.chars().count());
    }
}
