//! Disks made of files, that a fault may have for itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::bed::succeeded;
use crate::command::command;

/// The size of a disk; its file takes only what is written to it.
const SIZE: u64 = 4 << 30;

/// A mount that ends with it.
pub struct Mounted(pub PathBuf);

impl Mounted {
    /// A file system in memory of `size` KiB.
    pub fn memory(target: PathBuf, size: usize) -> Result<Self, String> {
        Self::new(target, command("mount", ["-t", "tmpfs", "-o", &format!("size={size}k"), "small"]))
    }

    /// The disk in the file `image`, with further options.
    pub fn disk(image: &Path, target: PathBuf, options: &str) -> Result<Self, String> {
        let mut mount = command("mount", ["-o", options]);
        mount.arg(image);
        Self::new(target, mount)
    }

    /// A new btrfs in the file `image`. It has quotas without help of the rest of the kernel, and copies a
    /// file as it was at one moment.
    pub fn btrfs(image: &Path, target: PathBuf) -> Result<Self, String> {
        make(image, command("mkfs.btrfs", ["-q", "-f"]))?;
        Self::disk(image, target, "loop")
    }

    fn new(target: PathBuf, mut mount: std::process::Command) -> Result<Self, String> {
        fs::create_dir_all(&target).map_err(|error| error.to_string())?;
        succeeded(mount.arg(&target))?;
        Ok(Self(target))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A mount that stays is found by whoever looks for leftovers; its loop device goes with it.
        if let Err(error) = succeeded(command("umount", [&self.0]).arg("--lazy")) {
            eprintln!("cannot unmount {}: {error}", self.0.display());
        }
    }
}

/// An empty ext4 in the file `image`.
pub fn make_ext4(image: &Path) -> Result<(), String> {
    make(image, command("mkfs.ext4", ["-q", "-F"]))
}

fn make(image: &Path, mut mkfs: std::process::Command) -> Result<(), String> {
    let made = fs::File::create(image).and_then(|file| file.set_len(SIZE));
    made.map_err(|error| format!("cannot make {}: {error}", image.display()))?;
    succeeded(mkfs.arg(image)).map(|_| ())
}
