//! What an archive may cost its reader.

/// Bounds on what one archive may make its reader do.
///
/// The defaults are far above real images and far below what fills a disk or a memory by accident;
/// each can be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries, those that only carry metadata included.
    pub entries: u64,
    /// Bytes of content of all entries, holes of sparse files included.
    pub bytes: u64,
    /// Bytes of one path or link target.
    pub path: usize,
    /// Bytes of one PAX header or GNU long name.
    pub extension: usize,
    /// Extended attributes of one entry.
    pub xattrs: usize,
    /// Data regions of one sparse file.
    pub sparse_regions: usize,
    /// Bytes that come out of a compressed stream for each byte of it; see
    /// [`decompress`](crate::decompress).
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            bytes: 1 << 40,
            path: 4095,
            extension: 1 << 20,
            xattrs: 256,
            sparse_regions: 1 << 16,
            ratio: 10_000,
        }
    }
}
