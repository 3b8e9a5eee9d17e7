//! Shell patterns: `*` and `?`, with `\` as their escape.
//!
//! They are turned into regular expressions, as BuildKit does, so that a hostile pattern costs
//! linear time; neither `*` nor `?` matches a line feed.

use regex::{Regex, RegexBuilder};

use super::{ExpandError, MAX_EXPANDED_LEN};

/// Compiled patterns may take this many bytes.
const MAX_PATTERN_SIZE: usize = 4 << 20;

/// `value` without its shortest or longest start that matches.
pub(super) fn trim_prefix(pattern: &str, value: &str, longest: bool) -> Result<String, ExpandError> {
    let regex = compile(pattern, longest, true)?;
    let cut = regex.find(value).map_or(0, |found| found.end());
    Ok(value[cut..].to_owned())
}

/// `value` without its shortest or longest end that matches.
///
/// A regular expression finds the shortest match only from the left, so all is done in reverse.
pub(super) fn trim_suffix(pattern: &str, value: &str, longest: bool) -> Result<String, ExpandError> {
    let reversed: String = value.chars().rev().collect();
    let rest = trim_prefix(&reverse_pattern(pattern), &reversed, longest)?;
    Ok(rest.chars().rev().collect())
}

/// `value` with the first or all matches replaced.
///
/// When all are replaced, `$0` in the replacement is the match and `$name` is nothing, as in
/// BuildKit.
pub(super) fn replace(
    pattern: &str,
    replacement: &str,
    value: &str,
    all: bool,
) -> Result<String, ExpandError> {
    let regex = compile(pattern, true, false)?;
    let mut text = String::with_capacity(value.len());
    let mut position = 0;
    for found in regex.find_iter(value).take(if all { usize::MAX } else { 1 }) {
        text.push_str(&value[position..found.start()]);
        match all {
            true => push_template(&mut text, replacement, found.as_str()),
            false => text.push_str(replacement),
        }
        position = found.end();
        if text.len() > MAX_EXPANDED_LEN {
            return Err(ExpandError::TooLong);
        }
    }
    text.push_str(&value[position..]);
    Ok(text)
}

fn compile(pattern: &str, longest: bool, anchored: bool) -> Result<Regex, ExpandError> {
    let invalid = |reason: String| ExpandError::InvalidPattern { pattern: pattern.to_owned(), reason };
    let expression = to_regex(pattern, longest, anchored).map_err(invalid)?;
    RegexBuilder::new(&expression)
        .size_limit(MAX_PATTERN_SIZE)
        .build()
        .map_err(|_| invalid("it is too long".to_owned()))
}

fn to_regex(pattern: &str, longest: bool, anchored: bool) -> Result<String, String> {
    let mut expression = String::with_capacity(pattern.len() + 4);
    if anchored {
        expression.push('^');
    }
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' => expression.push_str(if longest { ".*" } else { ".*?" }),
            '?' => expression.push('.'),
            // These must be escaped inside `${}`; the escape is not the pattern's.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => {}
            '\\' => match chars.next() {
                Some(escaped @ ('*' | '?' | '\\')) => {
                    expression.push('\\');
                    expression.push(escaped);
                }
                Some(other) => return Err(format!("`\\{other}` is no escape")),
                None => return Err("it ends with `\\`".to_owned()),
            },
            other => expression.push_str(&regex::escape(other.encode_utf8(&mut [0; 4]))),
        }
    }
    Ok(expression)
}

/// The pattern from its last character to its first, escapes still before what they escape.
fn reverse_pattern(pattern: &str) -> String {
    let mut tokens = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let escaped = rest[first.len_utf8()..].chars().next().filter(|_| first == '\\');
        let (token, behind) = rest.split_at(first.len_utf8() + escaped.map_or(0, char::len_utf8));
        tokens.push(token);
        rest = behind;
    }
    tokens.iter().rev().copied().collect()
}

/// Appends `template` with its references to the match filled in, by Go's `regexp` rules.
fn push_template(text: &mut String, template: &str, found: &str) {
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once('$') {
        text.push_str(before);
        rest = behind;
        if let Some(behind) = rest.strip_prefix('$') {
            text.push('$');
            rest = behind;
            continue;
        }
        match reference(rest) {
            Some((name, behind)) => {
                text.push_str(if name == "0" { found } else { "" });
                rest = behind;
            }
            None => text.push('$'),
        }
    }
    text.push_str(rest);
}

/// Splits `name` or `{name}` off the start of `text`.
fn reference(text: &str) -> Option<(&str, &str)> {
    let is_name = |c: char| c == '_' || crate::charset::is_letter(c) || crate::charset::is_digit(c);
    let braced = text.strip_prefix('{');
    let inner = braced.unwrap_or(text);
    let (name, rest) = inner.split_at(inner.find(|c| !is_name(c)).unwrap_or(inner.len()));
    let rest = if braced.is_some() { rest.strip_prefix('}')? } else { rest };
    (!name.is_empty()).then_some((name, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_regular_expressions() {
        for (pattern, expected) in [
            ("*", Ok("^.*")),
            ("?", Ok("^.")),
            (r"\*", Ok(r"^\*")),
            (r"a.\}b\/", Ok(r"^a\.\}b/")),
            (r"[x]{\}^$\\", Ok(r"^\[x\]\{\}\^\$\\")),
            (r"\", Err("it ends with `\\`")),
            (r"\x", Err("`\\x` is no escape")),
            (r"\\\", Err("it ends with `\\`")),
        ] {
            let found = to_regex(pattern, true, true);
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{pattern}");
        }
    }

    #[test]
    fn a_reversed_pattern_keeps_its_escapes() {
        for (pattern, expected) in
            [(r"a\*c", r"c\*a"), (r"\\\?b", r"b\?\\"), (r"\\b", r"b\\"), (r"ü\→", r"\→ü"), (r"a\", r"\a")]
        {
            assert_eq!(reverse_pattern(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn references_in_a_replacement_are_those_of_go() {
        for (template, expected) in [
            ("$0$0", "xx"),
            ("[${0}]", "[x]"),
            ("$1a.", "."),
            ("a$$b", "a$b"),
            ("a$-b", "a$-b"),
            ("${0", "${0"),
            ("cost: $", "cost: $"),
        ] {
            let mut text = String::new();
            push_template(&mut text, template, "x");
            assert_eq!(text, expected, "{template}");
        }
    }

    #[test]
    fn a_star_does_not_cross_lines() {
        assert_eq!(trim_prefix("*b", "a\nb", true), Ok("a\nb".to_owned()));
        assert_eq!(trim_suffix("b*", "abc\nd", true), Ok("abc\nd".to_owned()));
    }

    #[test]
    fn replacing_cannot_exhaust_memory() {
        let long = "x".repeat(1 << 16);
        assert_eq!(replace("?", &long, &long, true), Err(ExpandError::TooLong));
    }

    #[test]
    fn a_hostile_pattern_is_refused_or_fast() {
        let stars = "*a".repeat(20_000);
        let value = "a".repeat(10_000);
        assert!(matches!(trim_prefix(&stars, &value, true), Err(ExpandError::InvalidPattern { .. })));
        assert!(trim_prefix(&"*a".repeat(50), &value, true).is_ok());
    }
}
