//! The names in a directory.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, RawDir};

/// As much of a directory as is read at once.
const DIRECTORY_BYTES: usize = 64 << 10;

/// Names of a directory, sorted as bytes, without an allocation for each.
#[derive(Debug)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    places: Vec<Place>,
    next: usize,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    start: usize,
    length: u32,
    is_directory: bool,
}

impl Names {
    /// The names in an open directory.
    ///
    /// # Errors
    /// As getdents64(2).
    pub(crate) fn sorted(directory: impl AsFd) -> io::Result<Self> {
        let mut names = Self { bytes: Vec::new(), places: Vec::new(), next: 0 };
        let mut buffer = Vec::with_capacity(DIRECTORY_BYTES);
        let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let (start, length) = (names.bytes.len(), u32::try_from(name.len()).unwrap_or(0));
                let is_directory = entry.file_type() == FileType::Directory;
                names.bytes.extend_from_slice(name);
                names.places.push(Place { start, length, is_directory });
            }
        }
        let Self { bytes, places, .. } = &mut names;
        places.sort_unstable_by_key(|place| name_at(bytes, *place));
        Ok(names)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// One of the names, by its number.
    pub(crate) fn get(&self, index: usize) -> Option<&OsStr> {
        Some(OsStr::from_bytes(name_at(&self.bytes, *self.places.get(index)?)))
    }

    /// Whether a name was a directory's when it was read, as far as the file system tells.
    pub(crate) fn is_directory(&self, index: usize) -> bool {
        self.places.get(index).is_some_and(|place| place.is_directory)
    }

    /// The number of the name that comes next.
    pub(crate) fn position(&self) -> usize {
        self.next
    }
}

impl Iterator for Names {
    type Item = OsString;

    fn next(&mut self) -> Option<OsString> {
        let name = self.get(self.next)?.to_owned();
        self.next += 1;
        Some(name)
    }
}

fn name_at(bytes: &[u8], place: Place) -> &[u8] {
    bytes.get(place.start..place.start + place.length as usize).unwrap_or_default()
}
