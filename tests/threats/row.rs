//! One row of the threats: an advisory or a class of attacks, and the attacks that stand for it.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use libtest_mimic::{Failed, Trial};

/// As whom lbuild is attacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// As root.
    Root,
    /// As an ordinary user with subordinate ids.
    Rootless,
}

/// Carries out an attack and panics unless it fails.
pub type Attack = fn(Mode);

/// Whether a row's attacks exist without root.
#[derive(Debug, Clone, Copy)]
pub enum Rootless {
    /// They do.
    Applies,
    /// They do not, for this reason.
    No(&'static str),
}

/// A row.
pub struct Row {
    /// The mechanism, in a few words.
    pub name: &'static str,
    /// The advisories that it is known by; empty for one that has none.
    pub advisories: &'static str,
    /// Whether it is run without root too.
    pub rootless: Rootless,
    /// The attacks, by the names of their functions.
    pub attacks: Vec<(&'static str, Attack)>,
}

/// Which attacks held, by row and mode; `true` as long as none succeeded.
#[derive(Clone, Default)]
pub struct Outcomes(Arc<Mutex<BTreeMap<(&'static str, Mode), bool>>>);

impl Row {
    /// A trial for each attack in each mode that applies, which notes its outcome.
    pub fn trials(&self, outcomes: &Outcomes) -> Vec<Trial> {
        let modes: &[Mode] = match self.rootless {
            Rootless::Applies => &[Mode::Root, Mode::Rootless],
            Rootless::No(_) => &[Mode::Root],
        };
        let attacks = self.attacks.iter().flat_map(|attack| modes.iter().map(move |mode| (attack, *mode)));
        attacks.map(|(&(name, attack), mode)| self.trial(name, attack, mode, outcomes.clone())).collect()
    }

    fn trial(&self, attack_name: &str, attack: Attack, mode: Mode, outcomes: Outcomes) -> Trial {
        let row = self.name;
        Trial::test(format!("{mode}: {row}: {attack_name}"), move || {
            let result = catch_unwind(AssertUnwindSafe(|| attack(mode)));
            outcomes.note(row, mode, result.is_ok());
            result.map_err(|panic| resume_unwind(panic)).map_err(|never: Failed| never)
        })
    }

    /// The row's line of the report.
    pub fn line(&self, outcomes: &Outcomes) -> String {
        let rootless = match self.rootless {
            Rootless::No(reason) => format!("not applicable: {reason}"),
            Rootless::Applies => outcomes.of(self.name, Mode::Rootless).to_owned(),
        };
        let advisories = match self.advisories {
            "" => String::new(),
            advisories => format!(" ({advisories})"),
        };
        let root = outcomes.of(self.name, Mode::Root);
        format!("threat: {}{advisories}: root: {root}, rootless: {rootless}", self.name)
    }
}

impl Outcomes {
    fn note(&self, row: &'static str, mode: Mode, held: bool) {
        let mut outcomes = self.0.lock().unwrap();
        *outcomes.entry((row, mode)).or_insert(true) &= held;
    }

    fn of(&self, row: &'static str, mode: Mode) -> &'static str {
        match self.0.lock().unwrap().get(&(row, mode)) {
            Some(true) => "held",
            Some(false) => "NOT HELD",
            None => "NOT RUN",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Rootless => "rootless",
        })
    }
}
