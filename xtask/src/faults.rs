//! What kills, full disks, damage, power cuts and crowds do to a store: `cargo xtask faults`.
//!
//! After each fault the same must hold: the next build gives the image that a fresh store gives, byte for
//! byte, `lbuild store check --repair` leaves nothing damaged, and nothing is mounted or running.

mod bed;
mod crowd;
mod damage;
mod disk;
mod full_disk;
mod kills;
mod power;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::command::Failure;
use crate::counts::Counts;
use crate::packages;
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

/// What came of it all.
pub struct Outcome {
    /// How many faults held and how many broke something.
    pub counts: Counts,
    /// What could not be tried here, and why.
    pub not_run: Vec<String>,
}

/// A kind of faults by its name, and how it is tried.
type Kind = (&'static str, fn(&Bed, &Amount) -> Result<Tried, Failure>);

const KINDS: [Kind; 6] = [
    ("kills", |bed, amount| kills::try_all(bed, amount.kills)),
    ("disks", |bed, amount| Ok(full_disk::try_disks(bed, amount.full_disks))),
    ("quotas", |bed, amount| Ok(full_disk::try_quotas(bed, amount.full_disks))),
    ("damage", |bed, amount| damage::try_all(bed, amount.bits)),
    ("power", |bed, amount| Ok(power::try_all(bed, amount.power_cuts))),
    ("crowd", |bed, amount| crowd::try_all(bed, amount.crowd)),
];

/// Tries the kinds of faults that are named, or all if none is, and prints what came of it.
pub fn run(lbuild: PathBuf, amount: Amount, kinds: &[&str]) -> Result<Outcome, Failure> {
    let is_known = |name: &&&str| KINDS.iter().any(|(known, _)| known == *name);
    if let Some(unknown) = kinds.iter().find(|name| !is_known(name)) {
        let known = KINDS.map(|(name, _)| name).join(", ");
        return Err(Failure(format!("there are no faults {unknown:?}; there are {known}")));
    }
    packages::ensure(&packages::FAULTS)?;
    let bed = Bed::new(lbuild)?;
    let mut outcome = Outcome { counts: Counts::default(), not_run: Vec::new() };
    let mut done = |tried: Tried| {
        tried.print();
        outcome.counts += Counts { passed: tried.held, failed: tried.broken.len() };
        outcome.not_run.extend(tried.not_run.iter().map(|reason| format!("{}: {reason}", tried.what)));
    };
    for (name, try_all) in KINDS {
        if kinds.is_empty() || kinds.contains(&name) {
            done(try_all(&bed, &amount)?);
        }
    }
    Ok(outcome)
}

/// The outcome of one kind of fault.
struct Tried {
    what: &'static str,
    faults: usize,
    held: usize,
    /// What did not hold, one text each.
    broken: Vec<String>,
    /// What could not be tried.
    not_run: Vec<String>,
    begun: Instant,
}

impl Tried {
    fn new(what: &'static str) -> Self {
        Self { what, faults: 0, held: 0, broken: Vec::new(), not_run: Vec::new(), begun: Instant::now() }
    }

    fn add(&mut self, fault: &str, held: Result<(), String>) {
        self.faults += 1;
        match held {
            Ok(()) => self.held += 1,
            Err(reason) => self.broken.push(format!("{fault}: {reason}")),
        }
    }

    /// What must hold besides, and is no fault.
    fn also(&mut self, what: &str, held: Result<(), String>) {
        self.broken.extend(held.err().map(|reason| format!("{what}: {reason}")));
    }

    fn not_run(mut self, reason: &str) -> Self {
        self.not_run.push(reason.to_owned());
        self
    }

    fn print(&self) {
        let (what, faults, held, broken) = (self.what, self.faults, self.held, self.broken.len());
        let seconds = self.begun.elapsed().as_secs();
        println!("{what:<12} {faults:>5} faults, {held:>5} held, {broken:>3} broken, in {seconds} s");
        self.broken.iter().for_each(|text| println!("    {text}"));
        self.not_run.iter().for_each(|reason| println!("    NOT RUN: {reason}"));
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
