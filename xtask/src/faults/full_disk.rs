//! Disks and quotas that are full at every level.

use std::path::Path;

use super::Tried;
use super::bed::{Bed, succeeded};
use super::disk::Mounted;
use crate::command::command;

/// The least and the most that a store gets, in KiB: the most is enough for all.
const LEAST: usize = 64;
const MOST: usize = 60 << 10;

/// File systems in memory that are too small: writes fail with ENOSPC.
pub fn try_disks(bed: &Bed, levels: usize) -> Tried {
    let mut tried = Tried::new("full disks");
    for size in sizes(levels) {
        tried.add(&format!("tmpfs of {size} KiB"), on_memory(bed, size));
    }
    tried
}

/// Quotas that are too small, on a disk with space enough: writes fail with EDQUOT.
pub fn try_quotas(bed: &Bed, levels: usize) -> Tried {
    let mut tried = Tried::new("quotas");
    let disk = match disk_with_quotas(bed) {
        Ok(disk) => disk,
        Err(reason) => return tried.not_run(&format!("no btrfs with quotas: {reason}")),
    };
    for size in sizes(levels) {
        tried.add(&format!("quota of {size} KiB"), with_quota(bed, &disk.0, size));
    }
    tried
}

fn sizes(levels: usize) -> impl Iterator<Item = usize> {
    (0..levels).map(move |level| LEAST + (MOST - LEAST) * level / levels)
}

/// A small file system: the build fails or not; once it has grown, all is well.
fn on_memory(bed: &Bed, size: usize) -> Result<(), String> {
    let disk = Mounted::memory(bed.folder().join("small"), size)?;
    let store = disk.0.join("store");
    attempt(bed, &store)?;
    succeeded(command("mount", ["-o", "remount,size=400m"]).arg(&disk.0))?;
    recovered(bed, &store)
}

fn disk_with_quotas(bed: &Bed) -> Result<Mounted, String> {
    let disk = Mounted::btrfs(&bed.folder().join("quota.img"), bed.folder().join("quota"))?;
    succeeded(command("btrfs", ["quota", "enable"]).arg(&disk.0))?;
    Ok(disk)
}

/// A store with a quota, which is lifted afterwards.
fn with_quota(bed: &Bed, disk: &Path, size: usize) -> Result<(), String> {
    let store = disk.join("store");
    succeeded(command("btrfs", ["subvolume", "create"]).arg(&store))?;
    let limit = |limit: &str| succeeded(command("btrfs", ["qgroup", "limit", limit]).arg(&store));
    let held = limit(&format!("{size}K"))
        .and_then(|_| attempt(bed, &store))
        .and_then(|()| limit("none"))
        .and_then(|_| recovered(bed, &store));
    succeeded(command("btrfs", ["subvolume", "delete"]).arg(&store))?;
    held
}

/// A load and a build that may fail for want of space, and for nothing else.
fn attempt(bed: &Bed, store: &Path) -> Result<(), String> {
    let done = bed.load(store).and_then(|()| bed.build(store)).map(|_| ());
    match done {
        Err(error) if !["space", "quota"].iter().any(|word| error.to_lowercase().contains(word)) => {
            Err(format!("failed without saying why: {error}"))
        }
        _ => Ok(()),
    }
}

fn recovered(bed: &Bed, store: &Path) -> Result<(), String> {
    bed.load(store)?;
    bed.holds(store)
}
