//! Findings under collection.

use super::{CheckOptions, Rule};
use crate::expand::MAX_TEXTS_LEN;
use crate::{Diagnostic, Span};

/// A hostile file could have millions, and the place of each must be looked for.
const MAX_FINDINGS: usize = 1000;

/// What was found so far. A rule that does not count is never found.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    check: &'a CheckOptions,
    found: Vec<Diagnostic>,
    /// Bytes of the expanded texts that were looked at.
    texts_length: usize,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(check: &'a CheckOptions) -> Self {
        Self { check, found: Vec::new(), texts_length: 0 }
    }

    /// Adds a finding at an instruction that has the options `local`.
    pub(crate) fn add(&mut self, rule: Rule, local: &CheckOptions, span: Span, message: String) {
        if self.check.allows(rule, local) && !self.is_full() {
            let mut finding = Diagnostic::warning(span, message);
            finding.rule = Some(rule.name());
            finding.url = rule.url();
            self.found.push(finding);
        }
    }

    /// Whether there are so many findings that nobody reads another one.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= MAX_FINDINGS
    }

    /// Whether the texts that were looked at are so long that no other is.
    pub(crate) fn is_tired(&self) -> bool {
        self.texts_length > MAX_TEXTS_LEN
    }

    /// Counts a text that was looked at.
    pub(crate) fn read(&mut self, text: &str) {
        self.texts_length = self.texts_length.saturating_add(text.len());
    }

    /// All findings, in the order of the source, each once.
    pub(crate) fn sorted(mut self) -> Vec<Diagnostic> {
        self.found.sort_by(|a, b| (a.span, &a.message).cmp(&(b.span, &b.message)));
        self.found.dedup();
        self.found
    }
}

/// Finds words in the source, for a precise place.
pub(super) mod place {
    use crate::Span;

    /// `$name` or `${name…` inside `span`; the whole span if neither is there.
    pub(crate) fn of_variable(source: &str, span: Span, name: &str) -> Span {
        let Some(text) = source.get(span.range()) else { return span };
        for (at, _) in text.match_indices('$') {
            let rest = &text[at + 1..];
            let braces = usize::from(rest.starts_with('{'));
            let Some(behind) = rest[braces..].strip_prefix(name) else { continue };
            let longer = |c: char| c == '_' || c.is_alphanumeric();
            if !name.is_empty() && !behind.starts_with(longer) {
                let start = span.start + at;
                return Span { start, end: start + 1 + braces + name.len() };
            }
        }
        span
    }

    /// The blank-separated word that begins with `start`, inside `span`; else the whole span.
    pub(crate) fn of_word(source: &str, span: Span, start: &str) -> Span {
        let text = source.get(span.range()).unwrap_or_default();
        let Some(at) = text.find(start) else { return span };
        let length = text[at..].find(char::is_whitespace).unwrap_or(text.len() - at);
        Span { start: span.start + at, end: span.start + at + length }
    }
}
