//! What kills, full disks, damage, power cuts and crowds do to a store: `cargo xtask faults`.
//!
//! After each fault the same must hold: the next build gives the image that a fresh store gives, byte for
//! byte, `lbuild store check --repair` leaves nothing damaged, and nothing is mounted or running.

mod bed;
mod crowd;
mod damage;
mod full_disk;
mod kills;
mod power;

use std::time::Duration;

use crate::command::Failure;
use crate::workspace;
use bed::Bed;

/// How much of everything is done.
#[derive(Debug, Clone, Copy)]
pub struct Amount {
    kills: usize,
    full_disks: usize,
    bits: usize,
    power_cuts: usize,
    crowd: Duration,
}

impl Amount {
    /// What a release is tried with; about half an hour.
    pub fn full(kills: usize) -> Self {
        Self { kills, full_disks: 40, bits: 12, power_cuts: 40, crowd: Duration::from_secs(600) }
    }

    /// Less than a minute, for every change.
    pub fn short() -> Self {
        Self { kills: 12, full_disks: 4, bits: 1, power_cuts: 3, crowd: Duration::from_secs(10) }
    }
}

/// Tries everything; returns whether all held.
pub fn run(amount: Amount) -> Result<bool, Failure> {
    let lbuild = workspace::build_release()?;
    let bed = Bed::new(lbuild)?;
    let tried = [
        kills::try_all(&bed, amount.kills)?,
        full_disk::try_all(&bed, amount.full_disks)?,
        damage::try_all(&bed, amount.bits)?,
        power::try_all(&bed, amount.power_cuts)?,
        crowd::try_all(&bed, amount.crowd)?,
    ];
    let mut is_sound = true;
    for Tried { what, faults, held, broken } in &tried {
        println!("{what:<12} {faults:>5} faults, {held:>5} held, {:>3} broken", broken.len());
        is_sound &= broken.is_empty();
        broken.iter().for_each(|text| println!("    {text}"));
    }
    Ok(is_sound)
}

/// The outcome of one kind of fault.
struct Tried {
    what: &'static str,
    faults: usize,
    held: usize,
    /// What did not hold, one text each.
    broken: Vec<String>,
}

impl Tried {
    fn new(what: &'static str) -> Self {
        Self { what, faults: 0, held: 0, broken: Vec::new() }
    }

    fn add(&mut self, fault: &str, held: Result<(), String>) {
        self.faults += 1;
        match held {
            Ok(()) => self.held += 1,
            Err(reason) => self.broken.push(format!("{fault}: {reason}")),
        }
    }
}

/// A cheap source of numbers that differ from run to run.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Self(now.as_nanos() as u64 | 1)
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        // Xorshift, Marsaglia 2003.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit.max(1)
    }
}
