//! Disk space: how much a tree takes, and giving it back.

use std::collections::HashSet;
use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use crate::error::OnPath;
use crate::{StoreError, directory};

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
    Usage { bytes: bytes(path), count: 1 }
}

/// When `path` was changed last; long ago if it is not there.
pub(crate) fn last_modified(path: &Path) -> SystemTime {
    fs::metadata(path).and_then(|metadata| metadata.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Removes the file or tree `path`, if it is there.
pub(crate) fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let result = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path).or_else(|_| remove_deep(path)),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", path),
        _ => Ok(()),
    }
}

/// Removes a tree however deep it is nested, which needs a descriptor for each level otherwise: what
/// directories hold is moved beside the tree first.
fn remove_deep(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = directory::open(parent)?;
    let mut pending = vec![CString::new(name.as_bytes())?];
    let mut moved = 0_u64;
    while let Some(tree) = pending.pop() {
        let Some(opened) = directory::open_at(&parent, &tree)? else { continue };
        for inner in directory::names(opened.as_fd())? {
            match rustix::fs::unlinkat(&opened, &inner, AtFlags::empty()) {
                Err(Errno::ISDIR | Errno::PERM) => {
                    moved += 1;
                    let beside = CString::new([name.as_bytes(), format!(".{moved}").as_bytes()].concat())?;
                    rustix::fs::renameat(&opened, &inner, &parent, &beside)?;
                    pending.push(beside);
                }
                result => result?,
            }
        }
        rustix::fs::unlinkat(&parent, &tree, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Without recursion, since a tree may be nested deeper than a thread's stack.
fn bytes(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    let mut sum = metadata.blocks() * 512;
    let Ok(root) = directory::open(path) else { return sum };
    let mut seen = HashSet::new();
    let mut pending = vec![Vec::new()];
    while let Some(path) = pending.pop() {
        let opened = directory::open_beneath(root.as_fd(), &path, OFlags::RDONLY | OFlags::DIRECTORY);
        let Ok(Some(opened)) = opened else { continue };
        for name in directory::names(opened.as_fd()).unwrap_or_default() {
            let Ok(stat) = rustix::fs::statat(&opened, &name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if is_directory || stat.st_nlink == 1 || seen.insert((stat.st_dev, stat.st_ino)) {
                sum += stat.st_blocks.unsigned_abs() * 512;
            }
            if is_directory {
                pending.push(directory::join(&path, name.to_bytes()));
            }
        }
    }
    sum
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
