//! Disks and quotas that are full at every level.

use std::fs;
use std::path::{Path, PathBuf};

use super::Tried;
use super::bed::{Bed, succeeded};
use crate::command::{Failure, command};

/// The least and the most that a store gets, in KiB: the most is enough for all.
const LEAST: usize = 64;
const MOST: usize = 60 << 10;

pub fn try_all(bed: &Bed, levels: usize) -> Result<Tried, Failure> {
    let mut tried = Tried::new("full disks");
    for level in 0..levels {
        let size = LEAST + (MOST - LEAST) * level / levels.max(1);
        tried.add(&format!("tmpfs of {size} KiB"), on_memory(bed, size));
        tried.add(&format!("quota of {size} KiB"), with_quota(bed, size));
    }
    Ok(tried)
}

/// A small file system: the build fails or not; once it has grown, all is well.
fn on_memory(bed: &Bed, size: usize) -> Result<(), String> {
    let disk = Mounted::new(bed.folder().join("small"), |target| {
        succeeded(command("mount", ["-t", "tmpfs", "-o", &format!("size={size}k"), "small"]).arg(target))
    })?;
    let store = disk.0.join("store");
    attempt(bed, &store)?;
    succeeded(command("mount", ["-o", "remount,size=400m"]).arg(&disk.0))?;
    recovered(bed, &store)
}

/// A project quota on a disk with space enough.
fn with_quota(bed: &Bed, size: usize) -> Result<(), String> {
    let image = bed.folder().join("quota.img");
    make_disk(&image, &["-O", "quota,project"])?;
    let disk = Mounted::new(bed.folder().join("quota"), |target| {
        succeeded(command("mount", ["-o", "loop,prjquota"]).arg(&image).arg(target))
    })?;
    let store = disk.0.join("store");
    fs::create_dir(&store).map_err(|error| error.to_string())?;
    succeeded(command("chattr", ["-p", "7", "+P"]).arg(&store))?;
    let limit = |blocks: &str| {
        succeeded(command("setquota", ["-P", "7", "0", blocks, "0", "0"]).arg(&disk.0)).map(|_| ())
    };
    limit(&size.to_string())?;
    attempt(bed, &store)?;
    limit("0")?;
    recovered(bed, &store)
}

/// A load and a build that may fail for want of space, and for nothing else.
fn attempt(bed: &Bed, store: &Path) -> Result<(), String> {
    let done = bed.load(store).and_then(|()| bed.build(store)).map(|_| ());
    match done {
        Err(error) if !error.contains("space") && !error.contains("quota") => {
            Err(format!("failed without saying why: {error}"))
        }
        _ => Ok(()),
    }
}

fn recovered(bed: &Bed, store: &Path) -> Result<(), String> {
    bed.load(store)?;
    bed.holds(store)
}

/// An empty ext4 in a file.
pub fn make_disk(image: &Path, features: &[&str]) -> Result<(), String> {
    let made = fs::File::create(image).and_then(|file| file.set_len(400 << 20));
    made.map_err(|error| error.to_string())?;
    succeeded(command("mkfs.ext4", ["-q", "-F"]).args(features).arg(image)).map(|_| ())
}

/// A mount that ends with it.
pub struct Mounted(pub PathBuf);

impl Mounted {
    pub fn new(target: PathBuf, mount: impl FnOnce(&Path) -> Result<String, String>) -> Result<Self, String> {
        fs::create_dir_all(&target).map_err(|error| error.to_string())?;
        mount(&target)?;
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
