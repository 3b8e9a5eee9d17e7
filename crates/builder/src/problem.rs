//! What is wrong with one step, before it is known where the step stands.

use std::error::Error;

use lbuild_parser::{Diagnostic, Span};

use crate::BuildError;

/// A sentence, advice, and the cause.
#[derive(Debug)]
pub(crate) struct Problem {
    message: String,
    label: Option<String>,
    help: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem that `message` says, without a full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), label: None, help: None, source: None }
    }

    /// A problem with the cause that says what is wrong.
    pub fn because(message: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..Self::new(message) }
    }

    /// The problem of a diagnostic, which will be shown at the whole instruction.
    pub fn from_diagnostic(diagnostic: &Diagnostic) -> Self {
        Self { help: diagnostic.help.clone(), ..Self::new(diagnostic.message.clone()) }
    }

    /// The same with advice.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The problem of the instruction at `span`.
    pub fn at(self, span: Span) -> BuildError {
        let mut diagnostic = Diagnostic::error(span, self.message);
        diagnostic.label = self.label;
        diagnostic.help = self.help;
        BuildError::Step { diagnostic: Box::new(diagnostic), source: self.source }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        let message = error.to_string();
        Self {
            message,
            label: None,
            help: None,
            source: error.source().map(|cause| cause.to_string().into()),
        }
    }
}
