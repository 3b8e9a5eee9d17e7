//! The owners that an image's root directory notes of what lies in it.
//!
//! In a store with [`Ownership::Noted`](crate::Ownership::Noted), a directory notes the owners of its links,
//! FIFOs and sockets, which can have no attributes. An overlay takes a directory's attributes along when it
//! copies it up; but its root is there from the start.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::{XattrFlags, fsetxattr, getxattr};
use rustix::io::Errno;

use crate::StoreError;
use crate::error::OnPath;

/// Written by the keeper of owners, in `runner`.
const OWNERS: &CStr = c"user.lbuild.owners";

/// The size of an attribute's value can be no greater.
const MAX_VALUE: usize = 1 << 16;

/// Has the directory `root` note what the one at `below` notes.
pub(crate) fn carry(below: &Path, root: BorrowedFd<'_>) -> Result<(), StoreError> {
    let mut value = vec![0; MAX_VALUE];
    let length = match getxattr(below, OWNERS, &mut *value) {
        Ok(length) => length,
        Err(Errno::NODATA | Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error).on("read the noted owners of", below),
    };
    fsetxattr(root, OWNERS, &value[..length], XattrFlags::empty()).on("note the owners of", below)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::directory;

    #[test]
    fn a_root_notes_what_the_one_below_it_notes() {
        let folder = tempfile::tempdir().unwrap();
        let [below, root] = ["below", "root"].map(|name| folder.path().join(name));
        for directory in [&below, &root] {
            directory::create(directory).unwrap();
        }
        let opened = directory::open(&root).unwrap();
        carry(&below, opened.as_fd()).unwrap();
        let mut value = [0; 100];
        assert_eq!(getxattr(&root, OWNERS, &mut value), Err(Errno::NODATA));
        fsetxattr(directory::open(&below).unwrap(), OWNERS, b"7:8:link\0", XattrFlags::empty()).unwrap();
        carry(&below, opened.as_fd()).unwrap();
        let length = getxattr(&root, OWNERS, &mut value).unwrap();
        assert_eq!(&value[..length], b"7:8:link\0");
    }
}
