//! Maps of sparse files: where the bytes that an archive stores stand in the file.

use std::io::Read;

use crate::block::Block;
use crate::blocks::Blocks;
use crate::content::Content;
use crate::pax::SparseRecords;
use crate::{ArchiveError, Limits, number};

const BAD_MAP: &str = "the map of a sparse file is not valid";

/// Bytes of the map in a block that goes on with one of GNU's old form, and the byte that tells
/// whether another follows.
const EXTENSION_MAP: usize = 504;
const EXTENSION_IS_EXTENDED: usize = 504;

/// A run of stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub offset: u64,
    pub length: u64,
}

impl Region {
    /// Where it ends; [`SparseMap::new`] has made sure that it does.
    pub fn end(&self) -> u64 {
        self.offset + self.length
    }
}

/// The stored regions of one file, in order and apart from each other, and its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SparseMap {
    pub regions: Vec<Region>,
    pub size: u64,
}

impl SparseMap {
    /// Reads the map of the entry whose header is `block`, which may stand before its content or in
    /// it; `None` if the file is not sparse.
    ///
    /// `start` is where the header begins, for errors.
    pub fn read(
        block: &Block,
        records: &SparseRecords,
        content: &mut Content,
        blocks: &mut Blocks<impl Read>,
        limits: &Limits,
        start: u64,
    ) -> Result<Option<Self>, ArchiveError> {
        let malformed = |reason| ArchiveError::Malformed { offset: start, reason };
        let (regions, size) = if block.type_flag() == b'S' {
            read_old(block, blocks, limits, start)?
        } else if *records == SparseRecords::default() {
            return Ok(None);
        } else {
            let regions = match records.version {
                (Some(1), Some(0)) => read_stored(content, blocks, limits, start)?,
                (Some(0), Some(0 | 1)) | (None, None) => recorded(records).map_err(malformed)?,
                _ => return Err(malformed("a sparse file has a form that is not known")),
            };
            (regions, records.real_size.ok_or_else(|| malformed("a sparse file has no size"))?)
        };
        check_count(regions.len() as u64, limits)?;
        Self::new(regions, size, content.stored()).map(Some).map_err(malformed)
    }

    /// Checks that the regions are in order, inside the file, and together as long as what is stored.
    fn new(regions: Vec<Region>, size: u64, stored: u64) -> Result<Self, &'static str> {
        if i64::try_from(size).is_err() {
            return Err("the size of a sparse file is not valid");
        }
        let (mut end, mut total) = (0u64, 0u64);
        for region in &regions {
            if region.offset < end {
                return Err("the regions of a sparse file overlap");
            }
            end = region.offset.checked_add(region.length).ok_or(BAD_MAP)?;
            if end > size {
                return Err("a region of a sparse file lies outside it");
            }
            total += region.length;
        }
        if total != stored {
            return Err("the regions of a sparse file do not add up to what is stored");
        }
        Ok(Self { regions, size })
    }
}

/// The regions of GNU's old form, in the header block and those that follow it, and the file's size.
fn read_old(
    block: &Block,
    blocks: &mut Blocks<impl Read>,
    limits: &Limits,
    start: u64,
) -> Result<(Vec<Region>, u64), ArchiveError> {
    let malformed = |reason| ArchiveError::Malformed { offset: start, reason };
    let mut regions = Vec::new();
    let (map, mut is_extended, size) = block.gnu_sparse().map_err(malformed)?;
    append_old(map, &mut regions).map_err(malformed)?;
    while is_extended {
        // Blocks may hold no region at all, so they count, too.
        check_count(regions.len() as u64 + 1, limits)?;
        let bytes = blocks.read_more()?;
        let known = regions.len();
        append_old(&bytes[..EXTENSION_MAP], &mut regions).map_err(malformed)?;
        if regions.len() == known {
            return Err(malformed(BAD_MAP));
        }
        is_extended = bytes[EXTENSION_IS_EXTENDED] != 0;
    }
    Ok((regions, size))
}

/// Appends pairs of 12-byte numbers, up to the first empty one.
fn append_old(map: &[u8], regions: &mut Vec<Region>) -> Result<(), &'static str> {
    let number = |field| number::parse(field).and_then(|value| u64::try_from(value).ok()).ok_or(BAD_MAP);
    for pair in map.chunks_exact(24).take_while(|pair| pair[0] != 0) {
        regions.push(Region { offset: number(&pair[..12])?, length: number(&pair[12..])? });
    }
    Ok(())
}

/// The regions of form 1.0, before the content: how many, then offset and length of each, every number
/// on a line, filled up to a whole block.
fn read_stored(
    content: &mut Content,
    blocks: &mut Blocks<impl Read>,
    limits: &Limits,
    start: u64,
) -> Result<Vec<Region>, ArchiveError> {
    let malformed = || ArchiveError::Malformed { offset: start, reason: BAD_MAP };
    let mut numbers = Vec::new();
    let mut line = Vec::new();
    let mut expected = 1;
    while numbers.len() < expected {
        for byte in content.read_block(blocks)? {
            if byte != b'\n' {
                line.push(byte);
                // No 64-bit number has more digits.
                if line.len() > 20 && numbers.len() < expected {
                    return Err(malformed());
                }
                continue;
            }
            if numbers.len() < expected {
                numbers.push(number::parse_decimal(&line).ok_or_else(malformed)?);
            }
            line.clear();
            if let [count] = numbers[..] {
                check_count(count, limits)?;
                expected = 1 + 2 * usize::try_from(count).map_err(|_| malformed())?;
            }
        }
    }
    Ok(pairs(&numbers[1..]))
}

/// The regions in PAX records of forms 0.0 and 0.1.
fn recorded(records: &SparseRecords) -> Result<Vec<Region>, &'static str> {
    let regions = pairs(&records.map);
    let count = records.regions.unwrap_or(regions.len() as u64);
    if records.map.len() != 2 * regions.len() || count != regions.len() as u64 {
        return Err(BAD_MAP);
    }
    Ok(regions)
}

fn pairs(numbers: &[u64]) -> Vec<Region> {
    numbers.chunks_exact(2).map(|pair| Region { offset: pair[0], length: pair[1] }).collect()
}

fn check_count(count: u64, limits: &Limits) -> Result<(), ArchiveError> {
    let limit = limits.sparse_regions as u64;
    if count > limit {
        return Err(ArchiveError::Limit { what: "regions of a sparse file", limit });
    }
    Ok(())
}
