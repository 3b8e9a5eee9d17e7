//! What an archive may cost its reader.

/// Bounds on what one archive may make its reader do.
///
/// The defaults are far above real images and far below what fills a disk or a memory by accident;
/// each can be raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Headers: entries, and those that extend the next one.
    pub entries: u64,
    /// Bytes of content of all entries, holes of sparse files included.
    pub bytes: u64,
    /// Bytes of one path or link target.
    pub path: usize,
    /// Bytes of one PAX header, GNU long name or map of a sparse file.
    pub extension: usize,
    /// Extended attributes of one entry.
    pub xattrs: usize,
    /// Regions of one sparse file.
    pub sparse_regions: usize,
    /// Bytes that may come out for each byte of a compressed stream, or of an archive with sparse
    /// files. The first 4 GiB that come out are free.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 10_000_000,
            bytes: 1 << 40,
            // The kernel takes no longer ones, with a NUL at the end.
            path: 4095,
            extension: 1 << 20,
            xattrs: 256,
            sparse_regions: 1 << 16,
            ratio: 250,
        }
    }
}
