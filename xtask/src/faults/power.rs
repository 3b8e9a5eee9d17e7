//! Power cuts: what a disk holds at one moment of a build, mounted afterwards.
//!
//! The disk is a loop device on a file on btrfs. Cloning that file gives what was on the disk at one moment,
//! while the build writes on: what was not yet written back is lost, as it is without power.

use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use super::bed::{Bed, succeeded};
use super::disk::{Mounted, make_ext4};
use super::{Dice, Tried};
use crate::command::command;

pub fn try_all(bed: &Bed, cuts: usize) -> Tried {
    let mut tried = Tried::new("power cuts");
    let mut dice = Dice::new();
    let below = match Mounted::btrfs(&bed.folder().join("power.img"), bed.folder().join("disks")) {
        Ok(below) => below,
        Err(reason) => return tried.not_run(&format!("no file system that clones files: {reason}")),
    };
    for _ in 0..cuts {
        // A disk is slower than the memory in which the build was timed.
        let moment = Duration::from_micros(dice.below(2 * bed.time().as_micros() as u64));
        tried.add(&format!("after {moment:?}"), cut(bed, &below.0, moment));
    }
    tried
}

fn cut(bed: &Bed, disks: &Path, moment: Duration) -> Result<(), String> {
    let (image, copy) = (disks.join("disk"), disks.join("disk-without-power"));
    make_ext4(&image)?;
    let target = bed.folder().join("power");
    let store = target.join("store");
    {
        // Written back often, so that a cut finds half of things.
        let _disk = Mounted::disk(&image, target.clone(), "loop,commit=1")?;
        bed.load(&store)?;
        let mut build = bed.build_command(&store, &bed.folder().join("power.tar"));
        let started = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut build = started.map_err(|error| error.to_string())?;
        thread::sleep(moment);
        let copied = succeeded(command("cp", ["--reflink=always"]).arg(&image).arg(&copy));
        let ended = build.kill().and_then(|()| build.wait());
        copied.and_then(|_| ended.map(|_| ()).map_err(|error| error.to_string()))?;
    }
    let _disk = Mounted::disk(&copy, target, "loop")?;
    bed.holds(&store)
}
