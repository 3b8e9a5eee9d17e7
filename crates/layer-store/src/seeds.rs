//! Makes up for whiteouts in the attribute form, where a store on an overlay has no other.
//!
//! The kernel (seen with Linux 6.18) does not recognise them when it looks whether a directory is
//! empty: removing a directory in which a lower layer deleted something fails with ENOTEMPTY. So a
//! step's upper directory begins with devices for them, which sealing removes again: below them,
//! there is nothing.

use std::ffi::{CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use lbuild_archive::{EntryKind, Header};
use lbuild_oci::{ChainId, DiffId, lock};
use rustix::fs::{self, AtFlags, FileType, OFlags};

use crate::error::OnPath;
use crate::hollow::Depth;
use crate::whiteout::Marks;
use crate::{Store, StoreError, content, directory};

impl Store {
    /// Puts what the snapshots of `layers` delete into the empty directory `upper`.
    pub(crate) fn seed(&self, upper: BorrowedFd<'_>, layers: &[DiffId]) -> Result<(), StoreError> {
        let mut whiteouts = Vec::new();
        // The bottom layer deletes nothing.
        for chain in self.snapshots.chains(layers).iter().skip(1) {
            whiteouts.push(self.whiteouts_of(chain)?);
        }
        if whiteouts.iter().all(|paths| paths.is_empty()) {
            return Ok(());
        }
        let Some(tree) = self.tree(layers, Depth::Whole)? else { return Ok(()) };
        // Devices are what the memory takes and the disk does not.
        let marks = Marks::new(self.options.userxattr, false);
        for path in whiteouts.iter().flat_map(|paths| paths.iter()) {
            seed_one(upper, tree.as_fd(), marks, path)
                .map_err(|error| directory::error("prepare", path, error))?;
        }
        Ok(())
    }

    fn whiteouts_of(&self, chain: &ChainId) -> Result<Arc<[Vec<u8>]>, StoreError> {
        if let Some(paths) = lock(&self.whiteouts).get(chain) {
            return Ok(Arc::clone(paths));
        }
        let (opened, path) = {
            let known = self.snapshots.known();
            let path = known.path(chain).unwrap_or(Path::new(""));
            (directory::open(path).on("open", path)?, path.to_owned())
        };
        let found: Arc<[Vec<u8>]> = find(opened.as_fd(), self.marks).on("read", path)?.into();
        lock(&self.whiteouts).insert(*chain, Arc::clone(&found));
        Ok(found)
    }
}

/// The paths of all whiteouts in the snapshot `root`.
fn find(root: BorrowedFd<'_>, marks: Marks) -> rustix::io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut pending = vec![Vec::new()];
    while let Some(path) = pending.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let Some(directory) = directory::open_beneath(root, &path, flags)? else { continue };
        let mark = marks.directory(&directory)?;
        for name in directory::names(directory.as_fd())? {
            let stat = fs::statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            let inner = directory::join(&path, name.to_bytes());
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                pending.push(inner);
            } else if marks.is_whiteout(directory.as_fd(), &name, &stat, mark)? {
                found.push(inner);
            }
        }
    }
    Ok(found)
}

/// Deletes `path` in `upper` too, unless a layer made it again or removed its directory.
fn seed_one(upper: BorrowedFd<'_>, tree: BorrowedFd<'_>, marks: Marks, path: &[u8]) -> std::io::Result<()> {
    let Some(slash) = path.iter().rposition(|&byte| byte == b'/') else {
        // The root is never removed.
        return Ok(());
    };
    let (parent, name) = (&path[..slash], CString::new(&path[slash + 1..])?);
    let is_gone = directory::open_beneath(tree, parent, OFlags::PATH | OFlags::DIRECTORY)?.is_none();
    if is_gone || directory::open_beneath(tree, path, OFlags::PATH)?.is_some() {
        return Ok(());
    }
    let mut ends: Vec<usize> = (0..slash).filter(|&at| path[at] == b'/').collect();
    ends.push(slash);
    for &end in &ends {
        copy_directory(upper, tree, &path[..end])?;
    }
    let Some(holder) = directory::open_beneath(upper, parent, OFlags::RDONLY | OFlags::DIRECTORY)? else {
        return Ok(());
    };
    match marks.create(holder.as_fd(), &name) {
        Err(rustix::io::Errno::EXIST) => {}
        result => result?,
    }
    for &end in &ends {
        restore_times(upper, tree, &path[..end])?;
    }
    Ok(())
}

/// Makes the directory `path` of `upper` as it is in `tree`, if it is not there.
fn copy_directory(upper: BorrowedFd<'_>, tree: BorrowedFd<'_>, path: &[u8]) -> std::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let Some(model) = directory::open_beneath(tree, path, flags)? else { return Ok(()) };
    if directory::open_beneath(upper, path, flags)?.is_some() {
        return Ok(());
    }
    let (parent, name) = match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b""[..], path),
    };
    let Some(parent) = directory::open_beneath(upper, parent, flags)? else { return Ok(()) };
    let stat = fs::fstat(&model)?;
    let mut header = Header::new(path, EntryKind::Directory, stat.st_mode & 0o7777);
    (header.uid, header.gid) = (stat.st_uid, stat.st_gid);
    let capability = content::capability(model.as_fd())?;
    header.xattrs.extend(capability.map(|value| (content::CAPABILITY.to_bytes().to_vec(), value)));
    lbuild_archive::place(parent, OsStr::from_bytes(name), &header, &mut std::io::empty())?;
    Ok(())
}

fn restore_times(upper: BorrowedFd<'_>, tree: BorrowedFd<'_>, path: &[u8]) -> std::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let model = directory::open_beneath(tree, path, flags)?;
    let copy = directory::open_beneath(upper, path, flags)?;
    if let Some((model, copy)) = model.zip(copy) {
        directory::restore_times(copy, &fs::fstat(model)?)?;
    }
    Ok(())
}
