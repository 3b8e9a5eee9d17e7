//! Builds that are killed at any moment.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use super::bed::Bed;
use super::{Dice, Tried};
use crate::command::Failure;

/// Kills are spread over so many builds from an empty cache; between them the build goes on from where the
/// last one was killed.
const IN_A_ROW: usize = 5;

pub fn try_all(bed: &Bed, kills: usize) -> Result<Tried, Failure> {
    let mut tried = Tried::new("kills");
    let mut dice = Dice::new();
    let store = bed.fresh("killed");
    bed.load(&store).map_err(Failure)?;
    let begun = Instant::now();
    bed.build(&store).map_err(Failure)?;
    let whole = begun.elapsed().as_micros() as u64;
    for kill in 0..kills {
        if kill % IN_A_ROW == 0 {
            let prune = bed.command(&store, ["prune", "--all"]).output();
            prune.map_err(Failure::of("cannot prune"))?;
        }
        let archive = bed.folder().join("killed.tar");
        let mut build = bed.build_command(&store, &archive);
        let started = build.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let mut build = started.map_err(Failure::of("cannot start a build"))?;
        let moment = Duration::from_micros(dice.below(whole));
        thread::sleep(moment);
        build.kill().and_then(|()| build.wait()).map_err(Failure::of("cannot kill a build"))?;
        let is_last = kill % IN_A_ROW == IN_A_ROW - 1 || kill + 1 == kills;
        let held = if is_last { bed.holds(&store) } else { Ok(()) };
        tried.add(&format!("killed after {moment:?}"), held);
    }
    Ok(tried)
}
