//! Builds that are killed at any moment.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::bed::{Bed, succeeded};
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
    let archive = bed.folder().join("killed.tar");
    let whole = bed.time().as_micros() as u64;
    while tried.faults < kills {
        // Even a prune may be killed.
        let prune = || bed.command(&store, ["prune", "--all"]);
        kill(&mut tried, bed, &store, prune(), Duration::from_micros(dice.below(30_000)))?;
        succeeded(&mut prune()).map_err(Failure)?;
        for _ in 0..IN_A_ROW.min(kills.saturating_sub(tried.faults)) {
            // The more of the build is done, the less time is left to kill it in.
            let moment = dice.below(whole);
            let moment = Duration::from_micros(dice.below(moment));
            kill(&mut tried, bed, &store, bed.build_command(&store, &archive), moment)?;
        }
        tried.also("a build after kills", bed.holds(&store));
    }
    Ok(tried)
}

/// Kills a command after a time. It counts if it was still at work, and holds if nothing is damaged.
fn kill(
    tried: &mut Tried,
    bed: &Bed,
    store: &Path,
    mut victim: Command,
    moment: Duration,
) -> Result<(), Failure> {
    let started = victim.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let mut victim = started.map_err(Failure::of("cannot start a victim"))?;
    thread::sleep(moment);
    let has_ended = victim.try_wait().map_err(Failure::of("cannot watch a victim"))?.is_some();
    victim.kill().and_then(|()| victim.wait()).map_err(Failure::of("cannot kill a victim"))?;
    if !has_ended {
        tried.add(&format!("killed after {moment:?}"), bed.is_undamaged(store));
    }
    Ok(())
}
