//! Reads a word from left to right.

use std::collections::BTreeSet;

use super::words::Words;
use super::{ExpandError, Expanded, Expander, MAX_DEPTH, MAX_EXPANDED_LEN, pattern};
use crate::charset;

/// A word that is being expanded.
pub(super) struct Lexer<'a> {
    expander: &'a Expander<'a>,
    source: &'a str,
    position: usize,
    raw_escapes: bool,
    depth: usize,
    /// A `${name-operand}` was read since this was last looked at.
    operand_read: bool,
    used: BTreeSet<String>,
    unmatched: BTreeSet<String>,
}

/// What stands behind the name in `${name…}`.
enum Modifier {
    /// `-`, `+` or `?`, with `:` if an empty value counts as none.
    Test { kind: char, empty_is_unset: bool },
    /// `#` or `%`.
    Trim(char),
    /// `/`.
    Replace,
    /// Any other, as it is written.
    Unsupported(String),
}

impl<'a> Lexer<'a> {
    pub(super) fn new(expander: &'a Expander<'a>, word: &'a str) -> Self {
        Self {
            expander,
            source: word.strip_prefix('\u{feff}').unwrap_or(word),
            position: 0,
            raw_escapes: expander.raw_escapes,
            depth: 0,
            operand_read: false,
            used: BTreeSet::new(),
            unmatched: BTreeSet::new(),
        }
    }

    /// The whole word, as one text and as words.
    pub(super) fn all(&mut self) -> Result<(String, Vec<String>), ExpandError> {
        self.until(None, ExpandError::UnclosedBrace)
    }

    /// The result, with the names seen.
    pub(super) fn finish(self, text: String) -> Expanded {
        Expanded { text, used: self.used, unmatched: self.unmatched }
    }

    /// Reads up to `stop` (which is consumed) or to the end; `missing` if `stop` does not come.
    fn until(
        &mut self,
        stop: Option<char>,
        missing: ExpandError,
    ) -> Result<(String, Vec<String>), ExpandError> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.next();
                return Ok((text, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    self.drop_started_word(&mut words);
                    words.push_str(&value);
                    text.push_str(&value);
                }
                '\'' | '"' if !self.expander.plain_quotes => {
                    let quoted = if c == '"' { self.double_quoted()? } else { self.single_quoted()? };
                    self.drop_started_word(&mut words);
                    words.push_raw_str(&quoted);
                    text.push_str(&quoted);
                }
                '<' => {
                    let angle = self.angle();
                    words.push_raw_str(angle);
                    text.push_str(angle);
                }
                _ => self.plain(&mut text, &mut words),
            }
            check_len(text.len())?;
        }
        match stop {
            Some(_) => Err(missing),
            None => Ok((text, words.finish())),
        }
    }

    /// In BuildKit, reading the operand of `${name:-operand}` forgets what stands before it in the
    /// same word, when a text is split into words: `EXPOSE 80${X:-80}` is port 80. Dockerfiles that
    /// build there must build the same here.
    fn drop_started_word(&mut self, words: &mut Words) {
        if std::mem::take(&mut self.operand_read) {
            words.drop_started();
        }
    }

    /// A character without meaning, or an escape and the character behind it.
    fn plain(&mut self, text: &mut String, words: &mut Words) {
        let Some(c) = self.next() else { return };
        if c != self.expander.escape {
            words.push_char(c);
            text.push(c);
            return;
        }
        if self.raw_escapes {
            words.push_raw_char(c);
            text.push(c);
        }
        if let Some(escaped) = self.next() {
            words.push_raw_char(escaped);
            text.push(escaped);
        }
    }

    fn single_quoted(&mut self) -> Result<String, ExpandError> {
        self.next();
        let rest = self.rest();
        let length = rest.find('\'').ok_or(ExpandError::UnclosedQuote('\''))?;
        self.position += length + 1;
        let inside = &rest[..length];
        Ok(if self.expander.raw_quotes { format!("'{inside}'") } else { inside.to_owned() })
    }

    fn double_quoted(&mut self) -> Result<String, ExpandError> {
        let mut text = String::new();
        let open = self.next();
        text.extend(open.filter(|_| self.expander.raw_quotes));
        loop {
            match self.peek().ok_or(ExpandError::UnclosedQuote('"'))? {
                '"' => {
                    let close = self.next();
                    text.extend(close.filter(|_| self.expander.raw_quotes));
                    return Ok(text);
                }
                '$' => text.push_str(&self.dollar()?),
                c => {
                    self.next();
                    if c == self.expander.escape {
                        self.escape_in_double_quotes(&mut text)?;
                    } else {
                        text.push(c);
                    }
                }
            }
            check_len(text.len())?;
        }
    }

    /// Between double quotes only `"`, `$` and the escape character itself can be escaped.
    fn escape_in_double_quotes(&mut self, text: &mut String) -> Result<(), ExpandError> {
        let escape = self.expander.escape;
        if self.raw_escapes {
            text.push(escape);
        }
        match self.peek() {
            None => return Err(ExpandError::UnclosedQuote('"')),
            Some(c) if c == '"' || c == '$' || c == escape => {
                self.next();
                text.push(c);
            }
            Some(_) => text.push(escape),
        }
        Ok(())
    }

    /// `<`, or `<<` with the blanks behind it: a heredoc's name may stand apart from its mark.
    fn angle(&mut self) -> &'a str {
        let rest = self.rest();
        let length = match rest.strip_prefix("<<") {
            Some(behind) => 2 + behind.len() - behind.trim_start_matches(['\t', '\r', ' ']).len(),
            None => 1,
        };
        self.position += length;
        &rest[..length]
    }

    /// `$name` or `${…}`.
    fn dollar(&mut self) -> Result<String, ExpandError> {
        self.next();
        if self.peek() == Some('{') {
            self.next();
            return self.braces();
        }
        let name = self.name();
        if name.is_empty() {
            return Ok("$".to_owned());
        }
        Ok(match self.value(name) {
            Some(value) => value,
            None if self.expander.keep_unset => format!("${name}"),
            None => String::new(),
        })
    }

    fn braces(&mut self) -> Result<String, ExpandError> {
        match self.peek() {
            None => return Err(ExpandError::UnclosedBrace),
            Some('{' | '}' | ':') => return Err(ExpandError::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        if self.peek() == Some('}') {
            self.next();
            return Ok(match self.value(name) {
                Some(value) => value,
                None if self.expander.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            });
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(ExpandError::TooDeep);
        }
        let modifier = self.modifier()?;
        let value = self.modified(name, modifier);
        self.depth -= 1;
        value
    }

    fn modifier(&mut self) -> Result<Modifier, ExpandError> {
        let c = self.next().ok_or(ExpandError::UnclosedBrace)?;
        Ok(match c {
            '-' | '+' | '?' => Modifier::Test { kind: c, empty_is_unset: false },
            '#' | '%' => Modifier::Trim(c),
            '/' => Modifier::Replace,
            ':' => match self.next().ok_or(ExpandError::UnclosedBrace)? {
                kind @ ('-' | '+' | '?') => Modifier::Test { kind, empty_is_unset: true },
                other @ ('#' | '%') => return Err(ExpandError::UnsupportedModifier(format!(":{other}"))),
                other => Modifier::Unsupported(format!(":{other}")),
            },
            other => return Err(ExpandError::UnsupportedModifier(other.to_string())),
        })
    }

    fn modified(&mut self, name: &str, modifier: Modifier) -> Result<String, ExpandError> {
        match modifier {
            Modifier::Test { kind, empty_is_unset } => self.tested(name, kind, empty_is_unset),
            Modifier::Trim(kind) => self.trimmed(name, kind),
            Modifier::Replace => self.replaced(name),
            Modifier::Unsupported(written) => {
                let word = self.operand('}', false, ExpandError::UnclosedBrace)?;
                match self.value(name) {
                    None if self.expander.keep_unset => Ok(format!("${{{name}{written}{word}}}")),
                    _ => Err(ExpandError::UnsupportedModifier(written)),
                }
            }
        }
    }

    fn tested(&mut self, name: &str, kind: char, empty_is_unset: bool) -> Result<String, ExpandError> {
        let word = self.operand('}', false, ExpandError::UnclosedBrace)?;
        let value = self.value(name);
        if value.is_none() && self.expander.keep_unset {
            let colon = if empty_is_unset { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{kind}{word}}}"));
        }
        let is_set = value.as_ref().is_some_and(|value| !(empty_is_unset && value.is_empty()));
        match (kind, value) {
            ('+', _) => Ok(if is_set { word } else { String::new() }),
            (_, Some(value)) if is_set => Ok(value),
            ('-', _) => Ok(word),
            (_, value) => {
                let state = if value.is_some() { "empty" } else { "unset" };
                let message = if word.is_empty() { format!("is not allowed to be {state}") } else { word };
                Err(ExpandError::Required { name: name.to_owned(), message })
            }
        }
    }

    fn trimmed(&mut self, name: &str, kind: char) -> Result<String, ExpandError> {
        let word = self.operand('}', true, ExpandError::UnclosedBrace)?;
        let value = self.value(name);
        if value.is_none() && self.expander.keep_unset {
            return Ok(format!("${{{name}{kind}{word}}}"));
        }
        let value = value.unwrap_or_default();
        let (pattern, longest) = match word.strip_prefix(kind) {
            Some(rest) => (rest, true),
            None => (word.as_str(), false),
        };
        match kind {
            '%' => pattern::trim_suffix(pattern, &value, longest),
            _ => pattern::trim_prefix(pattern, &value, longest),
        }
    }

    fn replaced(&mut self, name: &str) -> Result<String, ExpandError> {
        let all = self.peek() == Some('/');
        if all {
            self.next();
        }
        let pattern = self.operand('/', true, ExpandError::MissingSlash)?;
        let replacement = self.operand('}', true, ExpandError::UnclosedBrace)?;
        let value = self.value(name);
        if value.is_none() && self.expander.keep_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        pattern::replace(&pattern, &replacement, &value.unwrap_or_default(), all)
    }

    /// The text up to `stop`, expanded; escapes stay in patterns, which have their own.
    fn operand(
        &mut self,
        stop: char,
        raw_escapes: bool,
        missing: ExpandError,
    ) -> Result<String, ExpandError> {
        let before = std::mem::replace(&mut self.raw_escapes, raw_escapes);
        let text = self.until(Some(stop), missing)?.0;
        self.raw_escapes = before;
        self.operand_read = true;
        Ok(text)
    }

    /// A variable's name: digits, one special parameter, or letters, digits and `_`.
    fn name(&mut self) -> &'a str {
        let rest = self.rest();
        let length = match rest.chars().next() {
            Some(c) if charset::is_digit(c) => leading(rest, charset::is_digit),
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => 1,
            _ => leading(rest, |c| c == '_' || charset::is_letter(c) || charset::is_digit(c)),
        };
        self.position += length;
        &rest[..length]
    }

    fn value(&mut self, name: &str) -> Option<String> {
        let value = (self.expander.lookup)(name);
        let names = if value.is_some() { &mut self.used } else { &mut self.unmatched };
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        value
    }

    fn rest(&self) -> &'a str {
        &self.source[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.position += c.len_utf8();
        Some(c)
    }
}

/// Bytes of the characters at the start of `text` that are `wanted`.
fn leading(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

fn check_len(length: usize) -> Result<(), ExpandError> {
    if length > MAX_EXPANDED_LEN { Err(ExpandError::TooLong) } else { Ok(()) }
}
