//! Text that knows where it stands in the source.

use std::borrow::Cow;
use std::ops::{Deref, Range};

use crate::Span;

/// The text of a Dockerfile: without the byte order mark, and with U+FFFD for bytes that are not
/// UTF-8. All [`Span`]s refer to it.
pub fn text(source: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(source.strip_prefix("\u{feff}".as_bytes()).unwrap_or(source))
}

/// A text put together from parts of the source.
///
/// Continuation lines are joined, and quotes and escapes may be gone, yet each byte remembers the
/// place it came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Text {
    text: String,
    /// Never empty, sorted by `at`.
    pieces: Vec<Piece>,
    /// For a text that does not stand in the source byte for byte: where it comes from.
    opaque: Option<Span>,
}

/// From byte `at` of the text on, bytes stand at `source` and behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Piece {
    at: usize,
    source: usize,
}

impl Text {
    /// An empty text at byte `source` of the source.
    pub(crate) fn at(source: usize) -> Self {
        Self { text: String::new(), pieces: vec![Piece { at: 0, source }], opaque: None }
    }

    /// A text that the source writes in another way, such as a JSON string with escapes.
    pub(crate) fn opaque(text: String, span: Span) -> Self {
        Self { text, pieces: vec![Piece { at: 0, source: span.start }], opaque: Some(span) }
    }

    /// A text that stands at `span`, byte for byte if the lengths agree.
    pub(crate) fn verbatim(text: &str, span: Span) -> Self {
        if span.end.saturating_sub(span.start) != text.len() {
            return Self::opaque(text.to_owned(), span);
        }
        let mut verbatim = Self::at(span.start);
        verbatim.push(text, span.start);
        verbatim
    }

    /// Appends `text`, which stands at byte `source` of the source.
    pub(crate) fn push(&mut self, text: &str, source: usize) {
        let at = self.text.len();
        match self.pieces.last_mut() {
            Some(last) if last.source + (at - last.at) == source => {}
            Some(last) if last.at == at => last.source = source,
            _ => self.pieces.push(Piece { at, source }),
        }
        self.text.push_str(text);
    }

    /// The bytes of `range`, which must lie on character boundaries.
    pub(crate) fn slice(&self, range: Range<usize>) -> Self {
        let text = self.text[range.clone()].to_owned();
        if let Some(span) = self.opaque {
            return Self::opaque(text, span);
        }
        let first = self.piece(range.start);
        let pieces = self.pieces[first..]
            .iter()
            .take_while(|piece| piece.at < range.end.max(range.start + 1))
            .map(|piece| Piece {
                at: piece.at.saturating_sub(range.start),
                source: piece.source + range.start.saturating_sub(piece.at),
            })
            .collect();
        Self { text, pieces, opaque: None }
    }

    /// From byte `start` to the end.
    pub(crate) fn tail(&self, start: usize) -> Self {
        self.slice(start..self.text.len())
    }

    /// The same without the bytes outside `range`.
    pub(crate) fn cut(self, range: Range<usize>) -> Self {
        if range == (0..self.text.len()) { self } else { self.slice(range) }
    }

    /// The bytes that are left without white space at both ends.
    pub(crate) fn trimmed_range(&self) -> Range<usize> {
        let start = self.text.len() - self.text.trim_start().len();
        start..start + self.text.trim().len()
    }

    /// Where the text stands.
    pub(crate) fn span(&self) -> Span {
        self.part(0..self.text.len())
    }

    /// Where the bytes of `range` stand.
    pub(crate) fn part(&self, range: Range<usize>) -> Span {
        if let Some(span) = self.opaque {
            return span;
        }
        let start = self.source(range.start);
        let end = if range.is_empty() { start } else { self.source(range.end - 1) + 1 };
        Span { start, end }
    }

    /// The text alone.
    pub(crate) fn into_string(self) -> String {
        self.text
    }

    fn source(&self, at: usize) -> usize {
        let piece = self.pieces[self.piece(at)];
        piece.source + (at - piece.at)
    }

    /// The index of the piece that holds byte `at`.
    fn piece(&self, at: usize) -> usize {
        self.pieces.partition_point(|piece| piece.at <= at).saturating_sub(1)
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined() -> Text {
        // RUN a \
        //   b
        let mut text = Text::at(0);
        text.push("RUN a ", 0);
        text.push("  b", 8);
        text
    }

    #[test]
    fn parts_are_found_in_the_source() {
        let text = joined();
        assert_eq!(&*text, "RUN a   b");
        for (range, start, end) in [(0..3, 0, 3), (4..5, 4, 5), (8..9, 10, 11), (4..9, 4, 11), (9..9, 11, 11)]
        {
            assert_eq!(text.part(range.clone()), Span { start, end }, "{range:?}");
        }
    }

    #[test]
    fn slices_stay_where_they_are() {
        let text = joined();
        for range in [0..9, 4..9, 6..8, 7..9, 9..9, 0..0] {
            let slice = text.slice(range.clone());
            assert_eq!(&*slice, &text[range.clone()]);
            assert_eq!(slice.span(), text.part(range.clone()), "{range:?}");
        }
        let trimmed = |text: Text| text.clone().cut(text.trimmed_range());
        assert_eq!(trimmed(text.slice(3..9)).span(), text.part(4..9));
        assert_eq!(trimmed(text.slice(5..8)).len(), 0);
    }

    #[test]
    fn the_byte_order_mark_and_broken_bytes_are_replaced() {
        assert_eq!(text(b"\xef\xbb\xbfFROM \xff\n"), "FROM \u{fffd}\n");
    }
}
