//! Archives that no writer makes, and a place to unpack them.

// Each test binary uses some of this.
#![allow(dead_code, clippy::unwrap_used)]

pub mod python;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use lbuild_archive::{
    ArchiveError, ExtractOptions, ExtractReport, Header, Limits, Reader, extract, read_xattrs,
};
use lbuild_confined::Root;

const BLOCK: usize = 512;

/// A header block that says whatever it is told, with the right checksum.
pub struct Raw {
    block: [u8; BLOCK],
    content: Vec<u8>,
}

impl Raw {
    /// A ustar header of root's with mode 644.
    pub fn new(type_flag: u8, path: &str) -> Self {
        let mut raw = Self { block: [0; BLOCK], content: Vec::new() };
        raw.block[..path.len()].copy_from_slice(path.as_bytes());
        raw.block[156] = type_flag;
        raw.set(257, b"ustar\x0000").set(100, b"0000644").set(124, b"00000000000").set(136, b"00000000000")
    }

    /// A GNU header.
    pub fn gnu(type_flag: u8, path: &str) -> Self {
        Self::new(type_flag, path).set(257, b"ustar  \0")
    }

    /// A PAX header with these records.
    pub fn pax(type_flag: u8, records: &[(&str, &str)]) -> Self {
        Self::new(type_flag, "pax")
            .content(records.iter().map(|(key, value)| record(key, value)).collect::<String>())
    }

    /// Overwrites bytes at an offset.
    pub fn set(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.block[offset..offset + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub fn mode(self, mode: u32) -> Self {
        self.set(100, format!("{mode:07o}").as_bytes())
    }

    pub fn owner(self, uid: u32, gid: u32) -> Self {
        self.set(108, format!("{uid:07o}").as_bytes()).set(116, format!("{gid:07o}").as_bytes())
    }

    pub fn size(self, size: u64) -> Self {
        self.set(124, format!("{size:011o}").as_bytes())
    }

    pub fn mtime(self, mtime: u64) -> Self {
        self.set(136, format!("{mtime:011o}").as_bytes())
    }

    pub fn link(self, target: &str) -> Self {
        self.set(157, target.as_bytes())
    }

    /// Content, and its size.
    pub fn content(mut self, content: impl AsRef<[u8]>) -> Self {
        self.content = content.as_ref().to_vec();
        let size = self.content.len() as u64;
        self.size(size)
    }

    /// Content that the header's size says nothing of.
    pub fn hidden_content(mut self, content: impl AsRef<[u8]>) -> Self {
        self.content = content.as_ref().to_vec();
        self
    }

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

/// One PAX record.
pub fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let length = (1..).find(|length| length - length.to_string().len() == rest.len()).unwrap();
    format!("{length}{rest}")
}

/// The blocks with the archive's end after them.
pub fn archive(entries: impl IntoIterator<Item = Raw>) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.into_iter().flat_map(Raw::bytes).collect();
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

/// All headers of an archive and their contents.
pub fn read(bytes: &[u8]) -> Result<Vec<(Header, Vec<u8>)>, ArchiveError> {
    read_within(bytes, Limits::default())
}

/// [`read`] with other limits.
pub fn read_within(bytes: &[u8], limits: Limits) -> Result<Vec<(Header, Vec<u8>)>, ArchiveError> {
    let mut reader = Reader::new(bytes, limits);
    let mut entries = Vec::new();
    while let Some(mut entry) = reader.next()? {
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).map_err(ArchiveError::Read)?;
        entries.push((entry.header, content));
    }
    Ok(entries)
}

/// The paths of an archive's entries.
pub fn paths(bytes: &[u8]) -> Result<Vec<String>, ArchiveError> {
    let entries = read(bytes)?;
    Ok(entries.into_iter().map(|(header, _)| String::from_utf8_lossy(&header.path).into_owned()).collect())
}

/// A directory to unpack into, beside one that must stay as it is.
pub struct Bed {
    directory: tempfile::TempDir,
}

impl Bed {
    pub fn new() -> Self {
        let bed = Self { directory: tempfile::tempdir().unwrap() };
        std::fs::create_dir(bed.path("")).unwrap();
        std::fs::create_dir(bed.outside("")).unwrap();
        std::fs::write(bed.outside("sentinel"), "untouched").unwrap();
        bed
    }

    /// A path in the destination.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join("inside").join(path)
    }

    /// A path beside it.
    pub fn outside(&self, path: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join("outside").join(path)
    }

    pub fn extract(&self, archive: &[u8]) -> Result<ExtractReport, ArchiveError> {
        self.extract_with(archive, &ExtractOptions::default())
    }

    pub fn extract_with(
        &self,
        archive: &[u8],
        options: &ExtractOptions<'_>,
    ) -> Result<ExtractReport, ArchiveError> {
        let root = Root::open(self.directory.path()).unwrap();
        extract(&mut Reader::new(archive, Limits::default()), &root, Path::new("inside"), options)
    }

    /// What lies outside: every path with its mode, owner, time and content.
    pub fn surroundings(&self) -> Vec<String> {
        describe(&self.outside(""))
    }
}

/// A line for `directory` and everything in it, in order.
pub fn describe(directory: &Path) -> Vec<String> {
    describe_in(directory, directory)
}

fn describe_in(base: &Path, directory: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let stat = std::fs::symlink_metadata(directory).unwrap();
    let (mut content, mut xattrs) = (Vec::new(), BTreeMap::new());
    if stat.is_file() {
        content = std::fs::read(directory).unwrap();
        xattrs = read_xattrs(File::open(directory).unwrap(), |_| true).unwrap();
    }
    let mut lines = vec![format!(
        "{} {:o} {}:{} {} {xattrs:?} {}",
        directory.strip_prefix(base).unwrap().display(),
        stat.mode(),
        stat.uid(),
        stat.gid(),
        stat.mtime(),
        OsStr::from_bytes(&content).display(),
    )];
    if stat.is_dir() {
        let mut children: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        children.sort();
        lines.extend(children.iter().flat_map(|child| describe_in(base, child)));
    }
    lines
}
