//! A look at an image that other programs share: a mount at a path.
//!
//! Such a mount outlives the process, so it carries the image's identity as its source, by which
//! removal and prune know that the image is in use.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use lbuild_oci::Digest;
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, UnmountFlags};

use crate::error::OnPath;
use crate::{Store, StoreError};

const MOUNTS: &str = "/proc/self/mountinfo";
const SOURCE_PREFIX: &str = "lbuild:";

impl Store {
    /// Attaches a read-only tree of an image's files to the directory `target`, until
    /// [`Store::unmount`].
    ///
    /// # Errors
    /// [`StoreError::UnknownImage`], [`StoreError::Io`] for `target`, and as [`Store::view`].
    pub fn mount(&self, image: &Digest, target: &Path) -> Result<(), StoreError> {
        let layers = self.image(image)?.ok_or(StoreError::UnknownImage(*image))?.layers;
        // What is mounted must not lie in this process's staging area.
        self.unpack_missing(&layers)?;
        self.flush()?;
        let mount = self.named_tree(&layers, &format!("{SOURCE_PREFIX}{image}"))?;
        rustix::mount::move_mount(mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .on("mount on", target)
    }

    /// Ends [`Store::mount`].
    ///
    /// # Errors
    /// [`StoreError::NotMounted`] if `target` is something else; [`StoreError::Io`] if it is in use.
    pub fn unmount(&self, target: &Path) -> Result<(), StoreError> {
        let target = target.canonicalize().on("unmount", target)?;
        if !mounts()?.iter().any(|mount| mount.target == target) {
            return Err(StoreError::NotMounted { path: target });
        }
        rustix::mount::unmount(&target, UnmountFlags::NOFOLLOW).on("unmount", target)
    }

    /// The images that [`Store::mount`] shows somewhere.
    pub(crate) fn mounted_images(&self) -> Result<HashSet<Digest>, StoreError> {
        Ok(mounts()?.into_iter().map(|mount| mount.image).collect())
    }
}

struct Mounted {
    image: Digest,
    target: PathBuf,
}

fn mounts() -> Result<Vec<Mounted>, StoreError> {
    let table = fs::read(MOUNTS).on("read", MOUNTS)?;
    Ok(String::from_utf8_lossy(&table).lines().filter_map(parse).collect())
}

/// Reads one line, `… ROOT TARGET OPTIONS [TAGS] - TYPE SOURCE …`, see proc_pid_mountinfo(5).
fn parse(line: &str) -> Option<Mounted> {
    let (left, right) = line.split_once(" - ")?;
    let source = right.split(' ').nth(1)?;
    let image = source.strip_prefix(SOURCE_PREFIX)?.parse().ok()?;
    Some(Mounted { image, target: unescape(left.split(' ').nth(4)?) })
}

/// Spaces and the like are written as a backslash and three octal digits.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits =
            after.get(..3).filter(|_| first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[3..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_mounts_are_recognised() {
        let id = Digest::of("image");
        let ours =
            format!("36 35 0:44 / /mnt/a\\040b\\134 ro,relatime - overlay lbuild:{id} ro,lowerdir+=/x");
        let found = parse(&ours).unwrap();
        assert_eq!((found.image, found.target), (id, PathBuf::from("/mnt/a b\\")));
        for other in ["", "1 2 0:1 / / rw - ext4 /dev/vda rw", "1 2 0:1 / /m rw - overlay lbuild:x rw"] {
            assert!(parse(other).is_none(), "{other}");
        }
    }
}
