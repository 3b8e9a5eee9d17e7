//! Disk space: how much a tree takes, and giving it back.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::StoreError;
use crate::error::OnPath;

/// Disk space that trees take.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes on disk, a file with several names counted once.
    pub bytes: u64,
    /// Trees or files.
    pub count: u64,
}

impl Usage {
    pub fn add(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.count += other.count;
    }
}

/// The disk space that the file or tree `path` takes. What cannot be read counts as nothing.
pub(crate) fn of(path: &Path) -> Usage {
    let mut seen = HashSet::new();
    Usage { bytes: bytes(path, &mut seen), count: 1 }
}

/// Removes the file or tree `path`, if it is there.
pub(crate) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", path),
        _ => Ok(()),
    }
}

fn bytes(path: &Path, seen: &mut HashSet<(u64, u64)>) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        let is_first = metadata.nlink() == 1 || seen.insert((metadata.dev(), metadata.ino()));
        return if is_first { metadata.blocks() * 512 } else { 0 };
    }
    let children = fs::read_dir(path).into_iter().flatten().flatten();
    let below: u64 = children.map(|child| bytes(&child.path(), seen)).sum();
    metadata.blocks() * 512 + below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_count_once_and_holes_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let empty = of(path).bytes;
        fs::write(path.join("a"), vec![1; 8192]).unwrap();
        fs::hard_link(path.join("a"), path.join("b")).unwrap();
        fs::File::create(path.join("hole")).unwrap().set_len(1 << 30).unwrap();
        assert_eq!(of(path).bytes - empty, 8192);
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let directory = tempfile::tempdir().unwrap();
        remove_tree(&directory.path().join("absent")).unwrap();
    }
}
