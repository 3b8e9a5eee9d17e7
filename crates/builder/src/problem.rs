//! What is wrong with one step, before it is known where the step stands.

use std::error::Error;
use std::{fmt, io};

use lbuild_parser::{Diagnostic, Span};

use crate::BuildError;

/// A sentence, advice, and the cause.
#[derive(Debug)]
pub(crate) struct Problem {
    message: String,
    help: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
    /// What it is about, as the instruction has it.
    word: Option<String>,
    is_disk_full: bool,
}

impl Problem {
    /// A problem that `message` says, without a full stop.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), help: None, source: None, word: None, is_disk_full: false }
    }

    /// A problem with the cause that says what is wrong.
    pub fn because(message: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        let is_disk_full = is_disk_full(&*source);
        Self { source: Some(source), is_disk_full, ..Self::new(message) }
    }

    /// The problem of a diagnostic, which will be shown at the whole instruction.
    pub fn from_diagnostic(diagnostic: &Diagnostic) -> Self {
        Self { help: diagnostic.help.clone(), ..Self::new(diagnostic.message.clone()) }
    }

    /// The same with advice.
    pub fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// The same of one word of the instruction, given as it is written there.
    pub fn about(self, word: impl Into<String>) -> Self {
        Self { word: self.word.or_else(|| Some(word.into())), ..self }
    }

    /// The problem of the instruction at `span`.
    pub fn at(self, span: Span) -> BuildError {
        let Self { message, help, source, word, is_disk_full } = self;
        let mut diagnostic = Diagnostic::error(span, message);
        let make_room =
            "the store's disk is full; `lbuild prune` removes what no image and no recent build uses";
        diagnostic.help = if is_disk_full { Some(make_room.to_owned()) } else { help };
        BuildError::Step { diagnostic: Box::new(diagnostic), source, word, is_disk_full }
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Problem {
    fn from(error: E) -> Self {
        let source = error.source().map(|cause| Box::new(Cause::of(cause)).into());
        Self { source, is_disk_full: is_disk_full(&error), ..Self::new(error.to_string()) }
    }
}

/// Whether the error, or one of its causes, is that there is no space left.
fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let mut causes = std::iter::successors(Some(error), |&error| error.source());
    causes.any(|cause| {
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        matches!(kind, Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    })
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

    #[test]
    fn a_full_disk_is_known_by_its_cause() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let write = crate::copy::CopyError::Write { path: "f".into(), source: full };
        let other = io::Error::from(io::ErrorKind::PermissionDenied);
        for (problem, expected) in [
            (Problem::from(write).about("a"), true),
            (Problem::from(other), false),
            (Problem::new("no space"), false),
        ] {
            let BuildError::Step { is_disk_full, .. } = problem.at(Span::default()) else { unreachable!() };
            assert_eq!(is_disk_full, expected);
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn every_cause_is_kept() {
        let error = Layer("top", Some(Box::new(Layer("middle", Some(Box::new(Layer("bottom", None)))))));
        let BuildError::Step { diagnostic, source, .. } = Problem::from(error).at(Span::default()) else {
            unreachable!()
        };
        let middle = source.unwrap();
        assert_eq!((diagnostic.message.as_str(), middle.to_string().as_str()), ("top", "middle"));
        assert_eq!(middle.source().unwrap().to_string(), "bottom");
    }
}
