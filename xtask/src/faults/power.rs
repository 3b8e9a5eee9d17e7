//! Power cuts: what a disk holds at one moment of a build, mounted afterwards.
//!
//! The backing file of a loop device is copied while the build writes. The copy takes a moment, during
//! which the disk is frozen as a disk without power is: nothing is written back that was not yet.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use super::bed::{Bed, succeeded};
use super::full_disk::{Mounted, make_disk};
use super::{Dice, Tried};
use crate::command::{Failure, command};

pub fn try_all(bed: &Bed, cuts: usize) -> Result<Tried, Failure> {
    let mut tried = Tried::new("power cuts");
    let mut dice = Dice::new();
    for _ in 0..cuts {
        let moment = Duration::from_millis(dice.below(3000));
        tried.add(&format!("after {moment:?}"), cut(bed, moment));
    }
    Ok(tried)
}

fn cut(bed: &Bed, moment: Duration) -> Result<(), String> {
    let (image, copy) = (bed.folder().join("power.img"), bed.folder().join("power-cut.img"));
    make_disk(&image, &[])?;
    let target = bed.folder().join("power");
    let mount = |image: &std::path::Path| {
        let image = image.to_owned();
        Mounted::new(target.clone(), move |target| {
            // Written back often, so that a cut finds half of things.
            succeeded(command("mount", ["-o", "loop,commit=1"]).arg(image).arg(target))
        })
    };
    let store = target.join("store");
    {
        let _disk = mount(&image)?;
        bed.load(&store)?;
        let mut build = bed.build_command(&store, &bed.folder().join("power.tar"));
        let started = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut build = started.map_err(|error| error.to_string())?;
        thread::sleep(moment);
        let copied = succeeded(command("cp", ["--sparse=always", "--reflink=never"]).arg(&image).arg(&copy));
        let ended = build.kill().and_then(|()| build.wait());
        copied.and_then(|_| ended.map(|_| ()).map_err(|error| error.to_string()))?;
    }
    let _disk = mount(&copy)?;
    bed.holds(&store)
}
