//! Archives that no writer makes: each header says whatever it is told.

const BLOCK: usize = 512;

/// An archive in the making.
#[derive(Default, Clone)]
pub struct RawTar {
    bytes: Vec<u8>,
}

/// A header and its content.
#[derive(Clone)]
pub struct Raw {
    block: [u8; BLOCK],
    content: Vec<u8>,
}

impl RawTar {
    /// Adds an entry.
    pub fn add(mut self, entry: Raw) -> Self {
        self.bytes.extend(entry.bytes());
        self
    }

    /// Adds a directory.
    pub fn directory(self, path: &str) -> Self {
        self.add(Raw::new(b'5', path).mode(0o777))
    }

    /// Adds a file.
    pub fn file(self, path: &str, content: &str) -> Self {
        self.add(Raw::new(b'0', path).content(content))
    }

    /// Adds a symbolic link.
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.add(Raw::new(b'2', path).target(target))
    }

    /// Adds a hard link.
    pub fn hard_link(self, path: &str, target: &str) -> Self {
        self.add(Raw::new(b'1', path).target(target))
    }

    /// Adds a PAX header for the next entry.
    pub fn pax(self, records: &[(&str, &str)]) -> Self {
        let records: String = records.iter().map(|(key, value)| record(key, value)).collect();
        self.add(Raw::new(b'x', "pax").content(records))
    }

    /// The whole archive.
    pub fn end(mut self) -> Vec<u8> {
        self.bytes.resize(self.bytes.len() + 2 * BLOCK, 0);
        self.bytes
    }
}

impl Raw {
    /// A ustar header of root's with mode 644, for a path (or the name of a long path's entry) that fits.
    pub fn new(type_flag: u8, path: impl AsRef<[u8]>) -> Self {
        let mut raw = Self { block: [0; BLOCK], content: Vec::new() };
        raw.block[156] = type_flag;
        raw.set(0, path.as_ref())
            .set(257, b"ustar\x0000")
            .mode(0o644)
            .set(108, b"0000000")
            .set(116, b"0000000")
            .set(124, b"00000000000")
            .set(136, b"14000000000")
    }

    /// Overwrites bytes at an offset.
    pub fn set(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.block[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Permission bits.
    pub fn mode(self, mode: u32) -> Self {
        self.set(100, format!("{mode:07o}").as_bytes())
    }

    /// The size that the header claims, in bytes.
    pub fn size(self, size: u64) -> Self {
        self.set(124, format!("{size:011o}").as_bytes())
    }

    /// A link's target.
    pub fn target(self, target: &str) -> Self {
        self.set(157, target.as_bytes())
    }

    /// Content, and its size.
    pub fn content(self, content: impl AsRef<[u8]>) -> Self {
        let size = content.as_ref().len() as u64;
        self.hidden_content(content).size(size)
    }

    /// Content that the header's size says nothing of.
    pub fn hidden_content(mut self, content: impl AsRef<[u8]>) -> Self {
        self.content = content.as_ref().to_vec();
        self
    }

    /// The header with its checksum, and the content in whole blocks.
    pub fn bytes(mut self) -> Vec<u8> {
        self.block[148..156].fill(b' ');
        let sum: u32 = self.block.iter().map(|&byte| u32::from(byte)).sum();
        self.block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let mut bytes = self.block.to_vec();
        bytes.extend_from_slice(&self.content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }
}

fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length = (1..).find(|length: &usize| length - length.to_string().len() == rest.len()).unwrap();
    format!("{length}{rest}")
}
