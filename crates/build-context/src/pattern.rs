//! One line of a `.dockerignore`, one `--exclude` and one `--parents` path.
//!
//! Source: <https://docs.docker.com/build/concepts/context/#syntax> and the matching rules of
//! moby/patternmatcher

use crate::clean;
use crate::program::{DoubleStar, Program, SyntaxError};

/// A pattern in which `**` crosses directories and a leading `!` makes an exception.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    is_exception: bool,
    rule: Rule,
}

/// Patterns without other wildcards have plain rules, which are not the same as what their program
/// would match: `dir**` is a prefix of whole paths, `**name` a suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Equals,
    StartsWith(String),
    EndsWith(String),
    Runs(Program),
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A `!` alone.
    #[error("`!` must be followed by a pattern")]
    EmptyException,
    /// The pattern has no meaning.
    #[error("bad pattern {pattern:?}: {source}")]
    Syntax {
        /// As it was written, but for spaces around it.
        pattern: String,
        /// What is wrong with it.
        source: SyntaxError,
    },
}

impl Pattern {
    /// Reads one pattern; `None` for one that is empty or blank.
    ///
    /// # Errors
    /// [`PatternError`] where moby reports an illegal or bad pattern.
    pub fn parse(text: &str) -> Result<Option<Self>, PatternError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(None);
        }
        let cleaned = clean::path(trimmed);
        let (is_exception, text) = match cleaned.strip_prefix('!') {
            Some("") => return Err(PatternError::EmptyException),
            Some(rest) => (true, rest.to_owned()),
            None => (false, cleaned),
        };
        let rule =
            Rule::of(&text).map_err(|source| PatternError::Syntax { pattern: trimmed.to_owned(), source })?;
        Ok(Some(Self { text, is_exception, rule }))
    }

    /// The pattern, cleaned, without its `!`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the pattern takes back what earlier ones match.
    pub fn is_exception(&self) -> bool {
        self.is_exception
    }

    /// Whether the pattern matches `path` itself; its parents are not looked at.
    pub fn matches(&self, path: &[u8]) -> bool {
        match &self.rule {
            Rule::Equals => path == self.text.as_bytes(),
            Rule::StartsWith(prefix) => path.starts_with(prefix.as_bytes()),
            Rule::EndsWith(suffix) => {
                path.ends_with(suffix.as_bytes())
                    || suffix.strip_prefix('/').is_some_and(|name| path == name.as_bytes())
            }
            Rule::Runs(program) => program.matches(path),
        }
    }

    /// Whether the pattern could match a path below the directory `path`.
    ///
    /// Never wrong when it says no.
    pub(crate) fn may_match_below(&self, path: &[u8]) -> bool {
        let fixed = self.text.find(['*', '?', '[', '\\']).unwrap_or(self.text.len());
        let fixed = &self.text.as_bytes()[..fixed];
        let below = [path, b"/"].concat();
        below.starts_with(fixed) || fixed.starts_with(&below)
    }
}

impl Rule {
    fn of(text: &str) -> Result<Self, SyntaxError> {
        // What is bad for Go's filepath.Match is refused, though `**` is then read otherwise.
        Program::compile(text, DoubleStar::IsStar)?;
        let is_plain = |text: &str| !text.contains(['*', '?', '[', ']', '\\']);
        if is_plain(text) {
            return Ok(Self::Equals);
        }
        if let Some(suffix) = text.strip_prefix("**").filter(|rest| is_plain(rest)) {
            return Ok(Self::EndsWith(suffix.to_owned()));
        }
        if let Some(prefix) = text.strip_suffix("**").filter(|rest| is_plain(rest)) {
            return Ok(Self::StartsWith(prefix.to_owned()));
        }
        Ok(Self::Runs(Program::compile(text, DoubleStar::CrossesDirectories)?))
    }
}
