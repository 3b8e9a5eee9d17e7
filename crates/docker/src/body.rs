//! The body of an answer, in whichever form it comes.

use std::io::{self, BufRead, Read};

use crate::http::{MAX_CHUNK_LINE, malformed, read_line, silent};

/// How an answer tells where its body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    Chunked,
    Length(u64),
    ToTheEnd,
}

/// Reads a body; ends with `UnexpectedEof` where the connection ended before it.
#[derive(Debug)]
pub struct BodyReader<R> {
    inner: R,
    framing: Framing,
    /// Bytes of the body, or of the chunk, that are to come.
    left: u64,
    is_at_first_chunk: bool,
    is_over: bool,
}

impl<R: BufRead> BodyReader<R> {
    pub(crate) fn new(inner: R, framing: Framing) -> Self {
        let left = if let Framing::Length(length) = framing { length } else { 0 };
        Self { inner, framing, left, is_at_first_chunk: true, is_over: framing == Framing::Length(0) }
    }

    /// Reads up to the next chunk's bytes.
    fn next_chunk(&mut self) -> io::Result<()> {
        if !self.is_at_first_chunk {
            read_line(&mut self.inner)?;
        }
        self.is_at_first_chunk = false;
        let line = read_line(&mut self.inner.by_ref().take(MAX_CHUNK_LINE))?;
        let digits = line.split(';').next().unwrap_or_default().trim();
        self.left = u64::from_str_radix(digits, 16).map_err(|_| malformed("a chunk has no length"))?;
        self.is_over = self.left == 0;
        Ok(())
    }
}

impl<R: BufRead> Read for BodyReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() || self.is_over {
            return Ok(0);
        }
        if self.framing == Framing::ToTheEnd {
            return self.inner.read(buffer).map_err(silent);
        }
        if self.left == 0 {
            self.next_chunk().map_err(silent)?;
            if self.is_over {
                return Ok(0);
            }
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most]).map_err(silent)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.is_over = self.left == 0 && self.framing != Framing::Chunked;
        Ok(count)
    }
}
