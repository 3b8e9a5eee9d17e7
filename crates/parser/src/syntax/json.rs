//! The JSON form of arguments, as Go's `encoding/json` reads it.

use serde_json::value::RawValue;

use crate::Span;
use crate::text::Text;

/// What the arguments are.
#[derive(Debug, PartialEq)]
pub(super) enum Form {
    /// An array of strings.
    Json(Vec<Text>),
    /// An array that holds something else: the place of the first such element.
    NotStrings(Span),
    /// No JSON array: the arguments are read as words or as a shell command.
    Other,
}

/// Reads `arguments` as an array of strings.
pub(super) fn strings(arguments: &Text) -> Form {
    let start = arguments.len() - arguments.trim_start().len();
    let json = &arguments[start..];
    if !json.starts_with('[') {
        return Form::Other;
    }
    let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else { return Form::Other };
    let mut words = Vec::with_capacity(elements.len());
    for element in elements {
        let raw = element.get();
        let at = start + (raw.as_ptr() as usize - json.as_ptr() as usize);
        let Some(string) = string(raw) else {
            return Form::NotStrings(arguments.part(at..at + raw.len()));
        };
        words.push(if string.len() + 2 == raw.len() {
            arguments.slice(at + 1..at + 1 + string.len())
        } else {
            Text::opaque(string, arguments.part(at..at + raw.len()))
        });
    }
    Form::Json(words)
}

/// The content of a valid JSON string.
fn string(raw: &str) -> Option<String> {
    let inside = raw.strip_prefix('"')?.strip_suffix('"')?;
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((before, escape)) = rest.split_once('\\') {
        text.push_str(before);
        let kind = escape.chars().next()?;
        rest = &escape[kind.len_utf8()..];
        text.push(match kind {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (c, behind) = unicode_escape(rest)?;
                rest = behind;
                c
            }
            same => same,
        });
    }
    text.push_str(rest);
    Some(text)
}

/// The character of `XXXX` or `XXXX\uXXXX`; half a surrogate pair is U+FFFD, as in Go.
fn unicode_escape(digits: &str) -> Option<(char, &str)> {
    let unit = |text: &str| u16::from_str_radix(text.get(..4)?, 16).ok();
    let first = unit(digits)?;
    let rest = digits.get(4..)?;
    let second = rest.strip_prefix("\\u").and_then(unit);
    if let Some(Ok(c)) = second.and_then(|second| char::decode_utf16([first, second]).next()) {
        let length = if u32::from(c) > 0xffff { 6 } else { 0 };
        return Some((c, &rest[length..]));
    }
    Some((char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &str) -> Form {
        let mut text = Text::at(0);
        text.push(arguments, 0);
        strings(&text)
    }

    #[test]
    fn arrays_of_strings_are_read() {
        for (arguments, expected) in [
            ("[]", vec![]),
            (r#" [ "a",	"b" ] "#, vec!["a", "b"]),
            (r#"["", "ü♥"]"#, vec!["", "ü♥"]),
            (r#"["\"\\\/\b\f\n\r\tA\u00e9"]"#, vec!["\"\\/\u{8}\u{c}\n\r\tAé"]),
            (r#"["\ud83d\ude00 \ud83d \ude00\u0041"]"#, vec!["😀 \u{fffd} \u{fffd}A"]),
        ] {
            let Form::Json(words) = read(arguments) else { panic!("{arguments}") };
            assert_eq!(words.iter().map(|word| &**word).collect::<Vec<_>>(), expected, "{arguments}");
        }
    }

    #[test]
    fn other_elements_are_found() {
        for (arguments, start, end) in [
            (r#"["a", 1]"#, 6, 7),
            (r#"[["a"]]"#, 1, 6),
            (r#"[null, "a"]"#, 1, 5),
            (r#"["a", {"b": true}]"#, 6, 17),
        ] {
            assert_eq!(read(arguments), Form::NotStrings(Span { start, end }), "{arguments}");
        }
        assert!(matches!(read(&"[".repeat(5000)), Form::Other));
        let deep = "[".repeat(5000) + &"]".repeat(5000);
        assert!(matches!(read(&deep), Form::NotStrings(_)));
    }

    #[test]
    fn anything_else_is_no_json() {
        for arguments in ["", "a", r#"["a""#, r#"["a",]"#, "['a']", r#"["a"] b"#, r#"["\x"]"#, "[ -f x ]"] {
            assert_eq!(read(arguments), Form::Other, "{arguments}");
        }
    }

    #[test]
    fn a_word_knows_its_place() {
        let Form::Json(words) = read(r#"["ab", "c\"d"]"#) else { panic!() };
        assert_eq!(words[0].span(), Span { start: 2, end: 4 });
        assert_eq!(words[1].span(), Span { start: 7, end: 13 });
    }
}
