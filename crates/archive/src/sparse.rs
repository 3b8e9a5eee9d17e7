//! Maps of sparse files: where the bytes that an archive stores stand in the file.

use crate::number;
use crate::pax::SparseRecords;

/// A run of stored bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub offset: u64,
    pub length: u64,
}

/// The stored regions of one file, in order and apart from each other, and its size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct SparseMap {
    pub regions: Vec<Region>,
    pub size: u64,
}

impl SparseMap {
    /// Checks that regions are in order, inside the file, and as long together as what is stored.
    pub fn new(regions: Vec<Region>, size: u64, stored: u64) -> Result<Self, &'static str> {
        let (mut end, mut total) = (0u64, 0u64);
        for region in &regions {
            if region.offset < end {
                return Err("the regions of a sparse file overlap");
            }
            end = region.offset.checked_add(region.length).ok_or("a region of a sparse file is too large")?;
            total += region.length;
        }
        if end > size {
            return Err("a region of a sparse file lies outside it");
        }
        if total != stored {
            return Err("the regions of a sparse file do not add up to what is stored");
        }
        Ok(Self { regions, size })
    }
}

/// Appends the regions of a map in GNU's old form: pairs of 12-byte numbers, up to the first empty.
pub(crate) fn read_old(field: &[u8], regions: &mut Vec<Region>) -> Result<(), &'static str> {
    for pair in field.chunks_exact(24) {
        if pair[0] == 0 {
            break;
        }
        let part = |field| {
            number::parse(field)
                .and_then(|value| u64::try_from(value).ok())
                .ok_or("a region of a sparse file is not valid")
        };
        regions.push(Region { offset: part(&pair[..12])?, length: part(&pair[12..])? });
    }
    Ok(())
}

/// The regions in PAX records of the forms 0.0 and 0.1.
pub(crate) fn from_records(records: &SparseRecords) -> Result<Vec<Region>, &'static str> {
    let count = records.regions.unwrap_or(records.map.len() as u64 / 2);
    if !records.map.len().is_multiple_of(2) || records.map.len() as u64 / 2 != count {
        return Err("the map of a sparse file has another length than announced");
    }
    Ok(records.map.chunks_exact(2).map(|pair| Region { offset: pair[0], length: pair[1] }).collect())
}
