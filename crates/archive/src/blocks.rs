//! The stream under an archive, in blocks.

use std::io::{self, BufRead, BufReader, Read};

use crate::ArchiveError;
use crate::block::BLOCK;

const BUFFER_BYTES: usize = 64 << 10;
/// Bytes that may follow the end of an archive: writers fill their last record with zeros.
const MAX_AFTER_END: u64 = 1 << 30;

/// Reads blocks and contents, and knows how far it is.
#[derive(Debug)]
pub(crate) struct Blocks<R> {
    inner: BufReader<R>,
    offset: u64,
}

impl<R: Read> Blocks<R> {
    pub fn new(inner: R) -> Self {
        Self { inner: BufReader::with_capacity(BUFFER_BYTES, inner), offset: 0 }
    }

    /// Bytes read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next header block; `None` where the archive ends: with the stream, or with two blocks of
    /// zeros, the second of which may be missing.
    pub fn read_header(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let Some(block) = self.read()? else { return Ok(None) };
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        let offset = self.offset;
        match self.read()? {
            Some(block) if block != [0; BLOCK] => {
                Err(ArchiveError::Malformed { offset, reason: "after a single block of zeros" })
            }
            _ => Ok(None),
        }
    }

    /// A block that must be there.
    pub fn read_more(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        self.read()?.ok_or(ArchiveError::Truncated { offset: self.offset })
    }

    /// Fills the buffer.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<(), ArchiveError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_content(&mut buffer[filled..]) {
                Ok(0) => return Err(ArchiveError::Truncated { offset: self.offset }),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ArchiveError::Read(error)),
            }
        }
        Ok(())
    }

    /// What one read gives; 0 bytes at the end of the stream.
    pub fn read_content(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.offset += count as u64;
        Ok(count)
    }

    /// Skips content and the padding after it.
    pub fn skip(&mut self, stored: u64, padding: u64) -> Result<(), ArchiveError> {
        if self.discard(stored)? < stored {
            return Err(ArchiveError::Truncated { offset: self.offset });
        }
        // Some writers leave the archive's last block unfilled.
        self.discard(padding)?;
        Ok(())
    }

    /// Reads to the end and returns the stream.
    pub fn finish(self) -> Result<R, ArchiveError> {
        self.finish_within(MAX_AFTER_END)
    }

    fn finish_within(mut self, limit: u64) -> Result<R, ArchiveError> {
        if self.discard(limit + 1)? > limit {
            return Err(ArchiveError::Limit { what: "bytes after the end of an archive", limit });
        }
        Ok(self.inner.into_inner())
    }

    fn read(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        if self.inner.fill_buf().map_err(ArchiveError::Read)?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.fill(&mut block)?;
        Ok(Some(block))
    }

    fn discard(&mut self, count: u64) -> Result<u64, ArchiveError> {
        if count == 0 {
            return Ok(0);
        }
        let mut rest = self.inner.by_ref().take(count);
        let discarded = io::copy(&mut rest, &mut io::sink()).map_err(ArchiveError::Read)?;
        self.offset += discarded;
        Ok(discarded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_goes_on_after_the_archive_ends() {
        for (after, is_refused) in [(1000, false), (u64::MAX, true)] {
            let result = Blocks::new(io::repeat(0).take(after)).finish_within(1000);
            assert_eq!(matches!(result, Err(ArchiveError::Limit { .. })), is_refused, "{after}");
        }
    }
}
