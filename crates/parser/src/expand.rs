//! Expansion of variables, quotes and escapes in a word.
//!
//! Words are those of BuildKit's shell lexer, which is close to POSIX sh without being it: no
//! command substitution, no arithmetic, no globbing; `${name#pattern}`, `${name/pattern/text}`
//! and their kin work on `*` and `?` only.
//!
//! | Where | How |
//! |---|---|
//! | ADD, ARG, COPY, ENV, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR, FROM, mounts | [`Expander::word`] |
//! | EXPOSE | [`Expander::words`] |
//! | heredocs of ADD and COPY | [`Expander::heredoc`], then [`Expander::word`] |
//! | what the progress shows | [`Expander::raw_quotes`], [`Expander::keep_unset`], then [`Expander::word`] |
//!
//! Source: <https://docs.docker.com/reference/dockerfile/#environment-replacement> and BuildKit's
//! behaviour.

mod lexer;
mod pattern;
mod words;

use std::collections::BTreeSet;

/// The longest text that an expansion may give, in bytes: `ENV A=$A$A` doubles with every line.
pub const MAX_EXPANDED_LEN: usize = 16 << 20;

/// What the expanded texts of one stage, or of the ARGs before the first FROM, may have together, in bytes:
/// each may be as long as one may be.
pub const MAX_TEXTS_LEN: usize = 16 << 20;

/// How deep `${a:-${b:-…}}` may nest.
const MAX_DEPTH: usize = 100;

/// Replaces variables, quotes and escapes in words.
#[derive(Clone, Copy)]
pub struct Expander<'a> {
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
    raw_quotes: bool,
    raw_escapes: bool,
    plain_quotes: bool,
    keep_unset: bool,
}

/// What a word became.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// Names that were looked up and are set.
    pub used: BTreeSet<String>,
    /// Names that were looked up and are not set.
    pub unmatched: BTreeSet<String>,
}

/// Why a word cannot be expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A `'` or `"` without its partner.
    #[error("the quote {0} is not closed")]
    UnclosedQuote(char),
    /// `${name` without `}`.
    #[error("`${{` is not closed by `}}`")]
    UnclosedBrace,
    /// `${name/pattern` without the second `/`.
    #[error("`${{name/pattern/text}}` lacks its second `/`")]
    MissingSlash,
    /// `${}` and the like.
    #[error("`${{` must be followed by a name")]
    BadSubstitution,
    /// A character behind the name that means nothing.
    #[error("`{0}` is not supported in `${{name{0}…}}`")]
    UnsupportedModifier(String),
    /// `${name?message}` of a name that is not set.
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The text behind `?`, or what is not allowed.
        message: String,
    },
    /// A pattern that cannot be read.
    #[error("the pattern `{pattern}` is invalid: {reason}")]
    InvalidPattern {
        /// The pattern as it stands after expansion.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `${a:-${b:-…}}` nested more than a hundred times.
    #[error("`${{…}}` is nested too deeply")]
    TooDeep,
    /// More than [`MAX_EXPANDED_LEN`] bytes.
    #[error("the expanded text would be longer than {} MiB", MAX_EXPANDED_LEN >> 20)]
    TooLong,
    /// More than [`MAX_TEXTS_LEN`] bytes in all.
    #[error("the expanded texts up to here are longer than {} MiB together", MAX_TEXTS_LEN >> 20)]
    TooMuch,
}

/// Adds the length of an expanded text to that of those before it.
///
/// # Errors
/// [`ExpandError::TooMuch`].
pub fn add_text(length: &mut usize, text: &str) -> Result<(), ExpandError> {
    *length = length.saturating_add(text.len());
    if *length > MAX_TEXTS_LEN { Err(ExpandError::TooMuch) } else { Ok(()) }
}

impl<'a> Expander<'a> {
    /// An expander for a Dockerfile with this escape character; `lookup` gives a variable's value.
    pub fn new(escape: char, lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { escape, lookup, raw_quotes: false, raw_escapes: false, plain_quotes: false, keep_unset: false }
    }

    /// An expander for the body of a heredoc: quotes mean nothing there, and `\` escapes, whatever
    /// the Dockerfile's escape character is.
    pub fn heredoc(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { plain_quotes: true, ..Self::new('\\', lookup) }
    }

    /// The same, but quotes stay in the text.
    pub fn raw_quotes(self) -> Self {
        Self { raw_quotes: true, ..self }
    }

    /// The same, but escape characters stay in the text.
    pub fn raw_escapes(self) -> Self {
        Self { raw_escapes: true, ..self }
    }

    /// The same, but a variable that is not set stays as it is written.
    pub fn keep_unset(self) -> Self {
        Self { keep_unset: true, ..self }
    }

    /// Expands `word` to one text.
    ///
    /// # Errors
    /// Any [`ExpandError`].
    pub fn word(&self, word: &str) -> Result<Expanded, ExpandError> {
        let mut lexer = lexer::Lexer::new(self, word);
        let text = lexer.all()?.0;
        Ok(lexer.finish(text))
    }

    /// Expands `word` and splits the result at white space that is not quoted; values of variables
    /// are split too. As in BuildKit, what stands right before `${name:-operand}` is lost.
    ///
    /// # Errors
    /// Any [`ExpandError`].
    pub fn words(&self, word: &str) -> Result<Vec<String>, ExpandError> {
        Ok(lexer::Lexer::new(self, word).all()?.1)
    }
}

#[cfg(test)]
mod tests;
