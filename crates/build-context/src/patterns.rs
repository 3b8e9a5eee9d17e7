//! A list of patterns, of which the last that matches decides.

use crate::pattern::{Pattern, PatternError};

/// Patterns in the order in which they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns {
    list: Vec<Pattern>,
}

/// Which patterns of a list match a directory or one above it: what a walk carries down so as not
/// to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hits(Vec<bool>);

impl Patterns {
    /// Reads patterns; blank ones are left out.
    ///
    /// # Errors
    /// [`PatternError`] for the first bad one.
    pub fn parse<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, PatternError> {
        let list = patterns.into_iter().filter_map(|text| Pattern::parse(text).transpose());
        Ok(Self { list: list.collect::<Result<_, _>>()? })
    }

    /// Whether there is no pattern.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether one of the patterns is an exception.
    pub fn has_exceptions(&self) -> bool {
        self.list.iter().any(Pattern::is_exception)
    }

    /// The patterns in order.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.list.iter()
    }

    /// Whether the list selects `path` (slash-separated, relative): the last pattern that matches it
    /// or a directory above it is no exception.
    pub fn matches(&self, path: &[u8]) -> bool {
        self.deciding(path).is_some_and(|index| !self.list[index].is_exception())
    }

    /// The index of the pattern that decides about `path`: the last that matches it or a directory
    /// above it.
    pub(crate) fn deciding(&self, path: &[u8]) -> Option<usize> {
        self.list.iter().rposition(|pattern| with_parents(path).any(|path| pattern.matches(path)))
    }

    /// What matches the top of a tree: nothing.
    pub fn top(&self) -> Hits {
        Hits(vec![false; self.list.len()])
    }

    /// [`Patterns::matches`] for a `path` right below a directory with these `hits`.
    pub fn matches_in(&self, path: &[u8], hits: &Hits) -> bool {
        let decides = |(pattern, hit): &(&Pattern, &bool)| **hit || pattern.matches(path);
        self.list.iter().zip(&hits.0).rev().find(decides).is_some_and(|(pattern, _)| !pattern.is_exception())
    }

    /// The hits of the directory `path` right below one with these `hits`.
    pub fn descend(&self, path: &[u8], hits: &Hits) -> Hits {
        let below = |(pattern, hit): (&Pattern, &bool)| *hit || pattern.matches(path);
        Hits(self.list.iter().zip(&hits.0).map(below).collect())
    }

    /// Whether a path below the directory `path` could be selected, though `path` itself is not.
    ///
    /// Never wrong when it says no.
    pub fn may_match_below(&self, path: &[u8]) -> bool {
        self.list.iter().any(|pattern| !pattern.is_exception() && pattern.may_match_below(path))
    }
}

impl FromIterator<Pattern> for Patterns {
    fn from_iter<T: IntoIterator<Item = Pattern>>(patterns: T) -> Self {
        Self { list: patterns.into_iter().collect() }
    }
}

/// `path` and the directories above it, innermost first.
fn with_parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| {
        path.iter().rposition(|byte| *byte == b'/').map(|slash| &path[..slash])
    })
}
