//! The wildcards of a COPY or ADD source.
//!
//! Source: Go's `filepath.Match`, <https://pkg.go.dev/path/filepath#Match>

use crate::program::{DoubleStar, Program, SyntaxError};

/// A pattern as Go's `filepath.Match` reads it: `*` and `?` stay within one path component, and `**`
/// is no more than `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    program: Program,
}

impl Glob {
    /// Compiles `pattern`.
    ///
    /// # Errors
    /// [`SyntaxError`] where Go has `ErrBadPattern`.
    pub fn new(pattern: &str) -> Result<Self, SyntaxError> {
        Ok(Self { program: Program::compile(pattern, DoubleStar::IsStar)? })
    }

    /// Whether the pattern matches all of `path`.
    pub fn matches(&self, path: impl AsRef<[u8]>) -> bool {
        self.program.matches(path.as_ref())
    }
}

/// Whether a text has an unescaped `*`, `?` or `[`.
pub fn has_wildcards(text: &str) -> bool {
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_go() {
        for (pattern, path, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("**/*.txt", "d/a.txt", true),
            ("**/*.txt", "a.txt", false),
            ("**/*.txt", "d/e/a.txt", false),
            ("d/*", "d/a", true),
            ("d/*", "d/", true),
            ("a?c", "aéc", true),
            ("a?c", "a/c", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "/x", true),
            ("[\\]]", "]", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a*b*c*d", "axxbxxcxxd", true),
            ("a*b*c*d", "axxbxxcxx", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(Glob::new(pattern).unwrap().matches(path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for (pattern, expected) in [
            ("[", SyntaxError::UnclosedClass),
            ("[a", SyntaxError::UnclosedClass),
            ("[]a]", SyntaxError::BadClass),
            ("[-a]", SyntaxError::BadClass),
            ("[a-]", SyntaxError::BadClass),
            ("[b-a]", SyntaxError::BackwardRange('b', 'a')),
            ("a\\", SyntaxError::TrailingBackslash),
        ] {
            assert_eq!(Glob::new(pattern).unwrap_err(), expected, "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(40);
        assert!(!Glob::new(&pattern).unwrap().matches("a".repeat(2000) + "b"));
    }

    #[test]
    fn wildcards_are_recognised_unless_escaped() {
        for (text, expected) in [("a*", true), ("a?", true), ("[a]", true), ("a\\*", false), ("a]", false)] {
            assert_eq!(has_wildcards(text), expected, "{text}");
        }
    }
}
