//! What is wrong with one step, before it is known where the step stands.

use std::error::Error;
use std::fmt;

use lbuild_parser::{Diagnostic, Span};

use crate::BuildError;

/// A sentence, advice, and the cause.
#[derive(Debug)]
pub(crate) struct Problem {
    message: String,
    help: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem that `message` says, without a full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, source: None }
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
        diagnostic.help = self.help;
        BuildError::Step { diagnostic: Box::new(diagnostic), source: self.source }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        let source = error.source().map(|cause| Box::new(Cause::of(cause)).into());
        Self { message: error.to_string(), help: None, source }
    }
}

/// A cause and its causes, as they were said.
#[derive(Debug)]
struct Cause {
    text: String,
    next: Option<Box<Cause>>,
}

impl Cause {
    fn of(error: &(dyn Error + 'static)) -> Self {
        Self { text: error.to_string(), next: error.source().map(|cause| Box::new(Self::of(cause))) }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.next.as_deref().map(|next| next as &(dyn Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn every_cause_is_kept() {
        let error = Layer("top", Some(Box::new(Layer("middle", Some(Box::new(Layer("bottom", None)))))));
        let BuildError::Step { diagnostic, source } = Problem::from(error).at(Span::default()) else {
            unreachable!()
        };
        let middle = source.unwrap();
        assert_eq!((diagnostic.message.as_str(), middle.to_string().as_str()), ("top", "middle"));
        assert_eq!(middle.source().unwrap().to_string(), "bottom");
    }
}
