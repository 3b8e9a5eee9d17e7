//! The content of the current entry.

use std::io::{self, Read};

use crate::ArchiveError;
use crate::block::BLOCK;
use crate::blocks::Blocks;
use crate::sparse::{Region, SparseMap};

/// What is left to read of an entry.
#[derive(Debug, Default)]
pub(crate) struct Content {
    /// Bytes in the archive.
    stored: u64,
    /// Bytes after them that fill the last block.
    padding: u64,
    /// Of a sparse file.
    sparse: Option<Sparse>,
}

#[derive(Debug)]
struct Sparse {
    /// How far the file is read, holes included.
    position: u64,
    size: u64,
    /// Those not yet read, the last one first.
    regions: Vec<Region>,
}

impl Content {
    /// Content of `stored` bytes, if there can be that many.
    pub fn new(stored: u64) -> Result<Self, &'static str> {
        if i64::try_from(stored).is_err() {
            return Err("the size is not valid");
        }
        Ok(Self { stored, padding: stored.wrapping_neg() % BLOCK as u64, sparse: None })
    }

    /// Bytes in the archive that are left.
    pub fn stored(&self) -> u64 {
        self.stored
    }

    /// Spreads what is left over a sparse file.
    pub fn spread(&mut self, map: SparseMap) {
        let SparseMap { mut regions, size } = map;
        regions.reverse();
        self.sparse = Some(Sparse { position: 0, size, regions });
    }

    /// Takes a whole block.
    pub fn read_block(&mut self, blocks: &mut Blocks<impl Read>) -> Result<[u8; BLOCK], ArchiveError> {
        let truncated = ArchiveError::Truncated { offset: blocks.offset() };
        self.stored = self.stored.checked_sub(BLOCK as u64).ok_or(truncated)?;
        blocks.read_more()
    }

    /// Takes all that is left, which the caller knows to be little.
    pub fn read_all(&mut self, blocks: &mut Blocks<impl Read>) -> Result<Vec<u8>, ArchiveError> {
        let mut content = vec![0; self.stored as usize];
        blocks.fill(&mut content)?;
        self.stored = 0;
        Ok(content)
    }

    /// Passes over what is left.
    pub fn skip(&mut self, blocks: &mut Blocks<impl Read>) -> Result<(), ArchiveError> {
        let Self { stored, padding, .. } = std::mem::take(self);
        blocks.skip(stored, padding)
    }

    /// Reads the file as it was, holes as zeros.
    pub fn read(&mut self, blocks: &mut Blocks<impl Read>, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(sparse) = &mut self.sparse else { return self.read_stored(blocks, buffer) };
        let (is_hole, length) = sparse.next_run();
        let wanted = at_most(buffer.len(), length);
        let count = if is_hole {
            buffer[..wanted].fill(0);
            wanted
        } else {
            self.read_stored(blocks, &mut buffer[..wanted])?
        };
        if let Some(sparse) = &mut self.sparse {
            sparse.position += count as u64;
        }
        Ok(count)
    }

    fn read_stored(&mut self, blocks: &mut Blocks<impl Read>, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = at_most(buffer.len(), self.stored);
        if wanted == 0 {
            return Ok(0);
        }
        let count = blocks.read_content(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is truncated"));
        }
        self.stored -= count as u64;
        Ok(count)
    }
}

impl Sparse {
    /// Whether a hole comes next, and how many bytes of hole or data.
    fn next_run(&mut self) -> (bool, u64) {
        while self.regions.last().is_some_and(|region| region.end() <= self.position) {
            self.regions.pop();
        }
        match self.regions.last() {
            Some(region) if region.offset <= self.position => (false, region.end() - self.position),
            Some(region) => (true, region.offset - self.position),
            None => (true, self.size - self.position),
        }
    }
}

fn at_most(length: usize, rest: u64) -> usize {
    length.min(usize::try_from(rest).unwrap_or(usize::MAX))
}
