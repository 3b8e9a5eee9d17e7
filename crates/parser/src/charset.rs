//! Classes of characters as Go's `unicode` package has them.
//!
//! Rust's `is_alphabetic` and `is_numeric` take more characters than Go's `IsLetter` (category L)
//! and `IsDigit` (category Nd), and names of variables end where Go says so.

use std::sync::LazyLock;

use regex::Regex;

#[allow(clippy::unwrap_used)] // A constant.
static LETTER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\p{L}$").unwrap());
#[allow(clippy::unwrap_used)] // A constant.
static DIGIT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").unwrap());

/// Whether `c` is a letter.
pub(crate) fn is_letter(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_alphabetic() } else { matches(&LETTER, c) }
}

/// Whether `c` is a decimal digit.
pub(crate) fn is_digit(c: char) -> bool {
    if c.is_ascii() { c.is_ascii_digit() } else { matches(&DIGIT, c) }
}

/// Whether `c` separates the words of an instruction: a blank, but no line feed.
pub(crate) fn is_blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Whether `c` separates flags: BuildKit looks at bytes there, so only ASCII counts.
pub(crate) fn is_ascii_space(c: char) -> bool {
    is_blank(c) || c == '\n'
}

fn matches(class: &Regex, c: char) -> bool {
    class.is_match(c.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_go() {
        for (c, letter, digit) in [
            ('a', true, false),
            ('7', false, true),
            ('_', false, false),
            ('한', true, false),
            ('٣', false, true),
            ('½', false, false),
            ('Ⅷ', false, false),
            ('\u{345}', false, false),
        ] {
            assert_eq!((is_letter(c), is_digit(c)), (letter, digit), "{c:?}");
        }
    }
}
