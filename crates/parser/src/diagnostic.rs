//! What is wrong (or could be better) in a Dockerfile, where, and what to do.

use crate::Span;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// The build cannot go on.
    Error,
}

/// One problem, shown with the source line and a caret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The lint rule's name, such as `StageNameCasing`; `None` for an error.
    pub rule: Option<&'static str>,
    /// What is wrong, one sentence without a full stop.
    pub message: String,
    /// Where; `None` for the file as a whole.
    pub span: Option<Span>,
    /// A few words under the caret.
    pub label: Option<String>,
    /// Further places, each with a few words.
    pub related: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
    /// Where the rule is described.
    pub url: Option<&'static str>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(span), message.into())
    }

    /// An error of the file as a whole.
    pub fn file_error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, None, message.into())
    }

    /// A warning at `span`.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(span), message.into())
    }

    fn new(severity: Severity, span: Option<Span>, message: String) -> Self {
        Self { severity, rule: None, message, span, label: None, related: Vec::new(), help: None, url: None }
    }

    /// The same with a few words under the caret.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// The same with advice.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with another place.
    pub fn related(mut self, span: Span, text: impl Into<String>) -> Self {
        self.related.push((span, text.into()));
        self
    }
}
