//! Words of an instruction's arguments.

use crate::charset::is_blank;
use crate::text::Text;

/// Words between blanks.
pub(super) fn blank_separated(arguments: &Text) -> Vec<Text> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, c) in arguments.char_indices() {
        if !is_blank(c) {
            start.get_or_insert(at);
        } else if let Some(start) = start.take() {
            words.push(arguments.slice(start..at));
        }
    }
    words.extend(start.map(|start| arguments.tail(start)));
    words
}

/// Where the first word ends and where the next one begins; `None` if there is but one word.
pub(super) fn split_first(arguments: &str) -> Option<(usize, usize)> {
    let end = arguments.find(is_blank)?;
    let rest = arguments[end..].find(|c| !is_blank(c))?;
    Some((end, end + rest))
}

/// Words between white space that is neither quoted nor escaped. Quotes and escapes stay.
pub(super) fn quoted_words(arguments: &Text, escape: char) -> Vec<Text> {
    let mut words = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut end = arguments.len();
    let mut chars = arguments.char_indices();
    while let Some((at, c)) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(start.take().map(|start| arguments.slice(start..at)));
            continue;
        }
        start.get_or_insert(at);
        match quote {
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        // An escape at the very end has nothing to escape and is dropped.
        if c == escape && quote != Some('\'') && chars.next().is_none() {
            end = at;
        }
    }
    words.extend(start.filter(|start| *start < end).map(|start| arguments.slice(start..end)));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text {
        let mut located = Text::at(0);
        located.push(text, 0);
        located
    }

    fn plain(words: Vec<Text>) -> Vec<String> {
        words.into_iter().map(Text::into_string).collect()
    }

    #[test]
    fn quotes_and_escapes_hold_words_together() {
        for (arguments, expected) in [
            ("a=b  c", vec!["a=b", "c"]),
            (r#"a="b c" d"#, vec![r#"a="b c""#, "d"]),
            (r"a=b\ c d", vec![r"a=b\ c", "d"]),
            (r#"a='b\' c"#, vec![r"a='b\'", "c"]),
            (r#"a="b\" c" d"#, vec![r#"a="b\" c""#, "d"]),
            (r#"a=\"b c"#, vec![r#"a=\"b"#, "c"]),
            (r"a=b\", vec!["a=b"]),
            (r"a \", vec!["a"]),
            (r#"a="b c"#, vec![r#"a="b c"#]),
            (r#""""#, vec![r#""""#]),
            ("", vec![]),
        ] {
            assert_eq!(plain(quoted_words(&text(arguments), '\\')), expected, "{arguments}");
        }
        assert_eq!(plain(quoted_words(&text(r"a=\ b` c"), '`')), [r"a=\", "b` c"]);
    }

    #[test]
    fn blanks_separate_words() {
        assert_eq!(plain(blank_separated(&text("a \t b\u{b}c"))), ["a", "b", "c"]);
        assert_eq!(plain(blank_separated(&text(""))), [""; 0]);
        assert_eq!(split_first("a  b c"), Some((1, 3)));
        assert_eq!(split_first("a"), None);
    }
}
