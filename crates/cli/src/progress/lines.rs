//! Cuts the output of steps, which comes in any pieces, into lines.

use std::collections::BTreeMap;

use lbuild_builder::{StepId, Stream};

/// A line longer than this, in bytes, is shown in pieces, so that memory stays bounded.
const LONGEST: usize = 16 << 10;

/// The beginnings of lines that are not complete yet.
#[derive(Default)]
pub struct Lines {
    partial: BTreeMap<StepId, [Vec<u8>; 2]>,
}

impl Lines {
    /// Adds output; returns the lines that are now complete, without their ends.
    pub fn push(&mut self, step: StepId, stream: Stream, bytes: &[u8]) -> Vec<Vec<u8>> {
        let partial = &mut self.partial.entry(step).or_default()[index(stream)];
        let mut complete = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            match piece.strip_suffix(b"\n") {
                Some(end) => {
                    partial.extend_from_slice(end);
                    complete.push(std::mem::take(partial));
                }
                None => partial.extend_from_slice(piece),
            }
            while partial.len() > LONGEST {
                let rest = partial.split_off(LONGEST);
                complete.push(std::mem::replace(partial, rest));
            }
        }
        complete
    }

    /// Ends a step; returns its lines that had no end, each with its stream.
    pub fn end(&mut self, step: StepId) -> Vec<(Stream, Vec<u8>)> {
        let [stdout, stderr] = self.partial.remove(&step).unwrap_or_default();
        [(Stream::Stdout, stdout), (Stream::Stderr, stderr)]
            .into_iter()
            .filter(|(_, line)| !line.is_empty())
            .collect()
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_become_lines() {
        let mut lines = Lines::default();
        let step = StepId(1);
        let none: Vec<Vec<u8>> = Vec::new();
        assert_eq!(lines.push(step, Stream::Stdout, b"a"), none);
        assert_eq!(lines.push(step, Stream::Stderr, b"x"), none);
        assert_eq!(lines.push(StepId(2), Stream::Stdout, b"other\n"), [b"other"]);
        assert_eq!(lines.push(step, Stream::Stdout, b"b\n\nc"), [&b"ab"[..], b""]);
        assert_eq!(lines.end(step), [(Stream::Stdout, b"c".to_vec()), (Stream::Stderr, b"x".to_vec())]);
        assert_eq!(lines.end(step), []);
    }

    #[test]
    fn a_line_without_end_does_not_grow_without_bound() {
        let mut lines = Lines::default();
        let pieces = lines.push(StepId(1), Stream::Stdout, &vec![b'x'; 3 * LONGEST + 1]);
        assert_eq!(pieces.iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST; 3]);
        assert_eq!(lines.end(StepId(1)), [(Stream::Stdout, b"x".to_vec())]);
    }
}
