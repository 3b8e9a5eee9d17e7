//! Why a COPY or ADD failed, with what helps.

use lbuild_archive::ArchiveError;
use lbuild_build_context::ContextError;
use lbuild_parser::Span;

use super::Transfer;
use super::words::Words;
use crate::BuildError;
use crate::copy::CopyError;
use crate::plan::Origin;
use crate::problem::Problem;

/// The error at its place in the Dockerfile.
pub(super) fn failed(error: CopyError, transfer: &Transfer, span: Span) -> BuildError {
    let help = match &error {
        CopyError::Interrupted => return BuildError::Interrupted,
        CopyError::FileOverDirectory { .. } => {
            Some("end the destination with / to copy into the directory".to_owned())
        }
        CopyError::DirectoryOverFile { .. } => {
            Some("choose another destination, or remove the file first".to_owned())
        }
        CopyError::Archive { source: ArchiveError::Limit { .. }, .. } => {
            Some("if you trust the archive, raise the limit with --archive-limit".to_owned())
        }
        CopyError::Source(_) => Some(match &transfer.origin {
            Origin::Context => {
                "sources are paths inside the build context, without what .dockerignore excludes".to_owned()
            }
            _ => "sources are paths inside what --from names".to_owned(),
        }),
        _ => None,
    };
    let word = concerned(&error, &transfer.words).map(str::to_owned);
    let mut problem = Problem::from(error);
    if let Some(help) = help {
        problem = problem.help(help);
    }
    if let Some(word) = word {
        problem = problem.about(word);
    }
    problem.at(span)
}

/// The word that an error is about.
fn concerned<'a>(error: &CopyError, words: &'a Words) -> Option<&'a str> {
    match error {
        CopyError::Source(
            ContextError::NotFound { pattern, .. } | ContextError::Wildcards { pattern, .. },
        ) => words.sources.get(pattern).map(String::as_str),
        CopyError::Archive { name, .. } => words.sources.get(name).map(String::as_str),
        CopyError::FileOverDirectory { .. } | CopyError::DirectoryOverFile { .. } => Some(&words.destination),
        _ => None,
    }
}
