//! Findings under collection.

use super::{CheckOptions, Rule};
use crate::{Diagnostic, Span};

/// What was found so far. A rule that does not count is never found.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    check: &'a CheckOptions,
    found: Vec<Diagnostic>,
}

impl<'a> Findings<'a> {
    pub(crate) fn new(check: &'a CheckOptions) -> Self {
        Self { check, found: Vec::new() }
    }

    /// Adds a finding at an instruction that has the options `local`.
    pub(crate) fn add(&mut self, rule: Rule, local: &CheckOptions, span: Span, message: String) {
        if self.check.allows(rule, local) {
            let mut finding = Diagnostic::warning(span, message);
            finding.rule = Some(rule.name());
            finding.url = rule.url();
            self.found.push(finding);
        }
    }

    /// All findings, in the order of the source, each once.
    pub(crate) fn sorted(mut self) -> Vec<Diagnostic> {
        self.found.sort_by(|a, b| (a.span, &a.message).cmp(&(b.span, &b.message)));
        self.found.dedup();
        self.found
    }
}
