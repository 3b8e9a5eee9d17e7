//! `COPY --link`: a layer that does not depend on the files below it.
//!
//! The copy is made in an empty tree, so that its layer serves on any base. What it needs to know of
//! the base is only where the destination is once symbolic links are followed, and how the directories
//! on the way look: they are made alike, so that `COPY --link x /tmp/` leaves /tmp as it is.

use std::io;
use std::path::Path;

use lbuild_confined::Root;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, chmodat, chownat};
use serde::Serialize;

use crate::path::absolute;

/// Where a linked copy lands, as far as the base decides it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Landing {
    /// Absolute, links followed; ends in `/` if the instruction's does.
    pub destination: String,
    /// The directories on the way that the base has, outermost first.
    directories: Vec<Directory>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Directory {
    path: String,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Landing {
    /// Finds `destination`, as written below `workdir`, in the base.
    ///
    /// # Errors
    /// Symbolic links that lead in a circle or to a name that is no UTF-8, or the base cannot be read.
    pub fn find(base: &Root, workdir: &str, destination: &str) -> io::Result<Self> {
        let resolved = base.resolve(absolute(workdir, destination))?;
        let not_text = || {
            io::Error::new(
                io::ErrorKind::InvalidFilename,
                "a symbolic link leads to a name that is not UTF-8",
            )
        };
        let mut path = resolved.to_str().ok_or_else(not_text)?.to_owned();
        let mut directories = Vec::new();
        let mut ancestors: Vec<&str> = resolved.ancestors().filter_map(Path::to_str).collect();
        ancestors.reverse();
        for path in ancestors.into_iter().skip(1) {
            match base.lstat(path) {
                Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    directories.push(Directory {
                        path: path.to_owned(),
                        mode: stat.st_mode & 0o7777,
                        uid: stat.st_uid,
                        gid: stat.st_gid,
                    });
                }
                _ => break,
            }
        }
        if destination.ends_with('/') || destination.ends_with("/.") || destination == "." {
            path.push('/');
        }
        Ok(Self { destination: path, directories })
    }

    /// Makes the directories in an empty tree.
    ///
    /// # Errors
    /// As mkdir(2) and chown(2).
    pub fn prepare(&self, root: &Root) -> io::Result<()> {
        for directory in &self.directories {
            root.create_dir_all(&directory.path, Mode::from(0o755))?;
            let handle = root.handle(&directory.path)?;
            let (uid, gid) = (Uid::from_raw(directory.uid), Gid::from_raw(directory.gid));
            chownat(&handle, ".", Some(uid), Some(gid), AtFlags::empty())?;
            chmodat(&handle, ".", Mode::from_raw_mode(directory.mode), AtFlags::empty())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn directories_on_the_way_look_as_in_the_base() {
        let (base, empty) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(base.path().join("var/tmp")).unwrap();
        fs::set_permissions(base.path().join("var/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        symlink("/var/tmp", base.path().join("t")).unwrap();
        let landing = Landing::find(&Root::open(base.path()).unwrap(), "/", "t/new/").unwrap();
        assert_eq!(landing.destination, "/var/tmp/new/");
        landing.prepare(&Root::open(empty.path()).unwrap()).unwrap();
        let made = fs::metadata(empty.path().join("var/tmp")).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, 0o1777);
        assert!(!empty.path().join("var/tmp/new").exists());
    }

    #[test]
    fn a_link_to_a_name_that_is_no_text_is_an_error() {
        use std::os::unix::ffi::OsStrExt;

        let base = tempfile::tempdir().unwrap();
        symlink(std::ffi::OsStr::from_bytes(b"/b\xff"), base.path().join("link")).unwrap();
        assert!(Landing::find(&Root::open(base.path()).unwrap(), "/", "/link/").is_err());
    }

    #[test]
    fn nothing_is_known_of_what_the_base_lacks() {
        let base = tempfile::tempdir().unwrap();
        let landing = Landing::find(&Root::open(base.path()).unwrap(), "/srv", "x").unwrap();
        assert_eq!(landing, Landing { destination: "/srv/x".into(), directories: Vec::new() });
    }
}
