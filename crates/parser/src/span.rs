//! A place in a Dockerfile.

use std::ops::Range;

/// A range of bytes of the source text, from the first byte to the one behind the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last one.
    pub end: usize,
}

impl Span {
    /// The span of `range`.
    pub fn new(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }

    /// The span as a range.
    pub fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The line, from 1, in which the span begins.
    pub fn line(self, source: &str) -> usize {
        1 + source.as_bytes()[..self.start.min(source.len())].iter().filter(|byte| **byte == b'\n').count()
    }

    /// The column, from 1 and in characters, at which the span begins.
    pub fn column(self, source: &str) -> usize {
        let before = &source[..source.floor_char_boundary(self.start.min(source.len()))];
        1 + before.chars().rev().take_while(|c| *c != '\n').count()
    }
}
