//! The syntax tree in the form that BuildKit's parser prints.

use std::fmt::Write;
use std::sync::LazyLock;

use regex::Regex;

use super::node::{Arguments, Node};
use crate::text::Text;

/// What Go calls printable, beyond ASCII.
#[allow(clippy::unwrap_used)] // A constant.
static PRINTABLE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").unwrap());

/// One instruction a line: its lower-case name, its flags in brackets, its quoted arguments.
pub(crate) fn dump(nodes: &[Node]) -> String {
    let lines: Vec<_> = nodes.iter().map(|node| format!("({})", dump_node(node))).collect();
    lines.join("\n")
}

/// `text` as a Go string literal.
pub(super) fn quoted(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('"');
    text.chars().for_each(|c| push_quoted(&mut literal, c));
    literal.push('"');
    literal
}

fn dump_node(node: &Node) -> String {
    let mut line = node.keyword.to_lowercase();
    if !node.flags.is_empty() {
        line.push_str(" [");
        line.push_str(&joined(&node.flags));
        line.push(']');
    }
    let arguments = match &node.arguments {
        Arguments::Words(words) | Arguments::Json(words) => joined(words),
        Arguments::Pairs(pairs) => {
            let triple = |pair: &super::node::Pair| {
                let separator = if pair.legacy { "\"\"" } else { "\"=\"" };
                format!("{} {} {separator}", quoted(&pair.name), quoted(&pair.value))
            };
            pairs.iter().map(triple).collect::<Vec<_>>().join(" ")
        }
        Arguments::Health { kind, command, .. } => {
            kind.iter().chain(command).map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
        }
        Arguments::Trigger(trigger) => {
            trigger.as_ref().map_or(String::new(), |node| format!("({})", dump_node(node)))
        }
        Arguments::Unknown => "\"\"".to_owned(),
    };
    if !arguments.is_empty() {
        line.push(' ');
        line.push_str(&arguments);
    }
    line.trim().to_owned()
}

fn joined(words: &[Text]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

fn push_quoted(literal: &mut String, c: char) {
    let code = u32::from(c);
    let written = match c {
        '"' => literal.write_str("\\\""),
        '\\' => literal.write_str("\\\\"),
        '\u{7}' => literal.write_str("\\a"),
        '\u{8}' => literal.write_str("\\b"),
        '\u{c}' => literal.write_str("\\f"),
        '\n' => literal.write_str("\\n"),
        '\r' => literal.write_str("\\r"),
        '\t' => literal.write_str("\\t"),
        '\u{b}' => literal.write_str("\\v"),
        ' '..='~' => literal.write_char(c),
        '\0'..='\u{7f}' => write!(literal, "\\x{code:02x}"),
        _ if PRINTABLE.is_match(c.encode_utf8(&mut [0; 4])) => literal.write_char(c),
        _ if code > 0xffff => write!(literal, "\\U{code:08x}"),
        _ => write!(literal, "\\u{code:04x}"),
    };
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_that_of_go() {
        for (text, expected) in [
            ("a\"b\\", r#""a\"b\\""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\0\u{7f}", r#""\x00\x7f""#),
            ("ü€😀", "\"ü€😀\""),
            ("\u{a0}\u{feff}\u{e0001}", r#""\u00a0\ufeff\U000e0001""#),
        ] {
            assert_eq!(quoted(text), expected);
        }
    }
}
