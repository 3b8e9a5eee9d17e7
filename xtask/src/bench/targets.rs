//! What is aimed at, and whether it was reached.

use crate::bench::builders::Compression;
use crate::bench::costs::{Costs, Measured};
use crate::bench::floor::Floor;
use crate::bench::peers::COMPRESSED;
use crate::bench::reasons;
use crate::bench::samples::Samples;

/// Steps of runs20.
const STEPS: f64 = 20.0;

/// Megabytes of memory.
const PEAK_GOAL: f64 = 64.0;

/// A figure that shall not be above its goal.
pub struct Target {
    /// What it is, in Markdown.
    pub what: String,
    /// What it is compared with.
    pub beside: String,
    /// The figure.
    pub figure: Samples,
    /// Digits behind the point that tell something.
    pub digits: usize,
    /// What is aimed at.
    pub goal: f64,
    /// Where the time or memory went, and what bounds it.
    pub why: String,
}

impl Target {
    /// Whether it was reached.
    pub fn is_met(&self) -> bool {
        self.figure.median() <= self.goal
    }
}

/// What lbuild is compared by.
pub struct Comparison {
    /// What is compared.
    pub name: &'static str,
    /// The seconds of a builder.
    pub seconds: fn(&Costs) -> Samples,
    /// Where they went.
    why: fn(&Costs) -> String,
}

/// What lbuild is compared by, in the order of a workload's goals.
pub const COMPARISONS: [Comparison; 3] = [
    Comparison { name: "sum", seconds: Costs::sum, why: reasons::sum },
    Comparison { name: "cached", seconds: Costs::cached, why: reasons::cached },
    Comparison { name: "change", seconds: Costs::change, why: reasons::change },
];

/// All targets for which there are figures.
pub fn targets(measured: &[Measured], floors: &[Floor]) -> Vec<Target> {
    let mut targets = Vec::new();
    for one in measured {
        for (comparison, goal) in COMPARISONS.iter().zip(one.workload.goals) {
            let fastest = one.fastest(comparison.seconds, |costs| costs.compression.is_none());
            let what = format!("{}, {}", one.workload.name, comparison.name);
            targets.extend(ratio(what, one.own(), fastest, comparison, goal).map(|target| {
                let floor = reasons::floor(one, comparison.name, floors);
                Target { why: target.why + &floor, ..target }
            }));
        }
    }
    if let Some(big) = measured.iter().find(|one| one.workload.name == COMPRESSED) {
        for (compression, goal) in [(Compression::Gzip, 0.5), (Compression::Zstd, 0.3)] {
            let own = big.costs.iter().find(|costs| costs.is_own && costs.compression == Some(compression));
            let peer = big.fastest(Costs::sum, |costs| {
                costs.builder.starts_with("BuildKit") && costs.compression.is_none()
            });
            let what = format!("{COMPRESSED}, sum with {}", compression.name());
            targets.extend(ratio(what, own, peer, &COMPARISONS[0], goal));
        }
        targets.extend(big.own().and_then(|own| above_floor(own, floors)));
    }
    targets
        .extend(measured.iter().find(|one| one.workload.name == "runs20").and_then(Measured::own).map(step));
    targets.extend(peak(measured));
    targets
}

/// lbuild's time divided by that of `peer`, run by run.
fn ratio(
    what: String,
    own: Option<&Costs>,
    peer: Option<&Costs>,
    comparison: &Comparison,
    goal: f64,
) -> Option<Target> {
    let (own, peer) = (own?, peer?);
    let Comparison { seconds, why, .. } = comparison;
    let figure = seconds(own).zip(&seconds(peer), |own, other| own / other);
    let why = why(own);
    (!figure.is_empty()).then(|| Target { what, beside: peer.label(), figure, digits: 2, goal, why })
}

/// A copy of many files beside what the machine needs for as many bytes.
fn above_floor(own: &Costs, floors: &[Floor]) -> Option<Target> {
    let floor = |name| floors.iter().find(|floor| floor.name == name).map(|floor| &floor.seconds);
    let least = floor("cp")?.zip(floor("pack")?, |copy, pack| copy + pack);
    Some(Target {
        what: format!("{COMPRESSED}, cold without export"),
        beside: "`cp -a` and `tar \\| sha256sum` of its tree".to_owned(),
        figure: own.cold().zip(&least, |cold, least| cold / least),
        digits: 2,
        goal: 1.5,
        why: reasons::cold(own),
    })
}

/// What a step costs: 20 of them, beside a build in which none is run.
fn step(own: &Costs) -> Target {
    Target {
        what: "ms a RUN, its own work included".to_owned(),
        beside: "runs20, cold less cached, divided by its steps".to_owned(),
        figure: own.cold().zip(&own.cached(), |cold, cached| (cold - cached) / STEPS * 1000.0),
        digits: 1,
        goal: 10.0,
        why: reasons::cold(own),
    }
}

/// The most memory of all workloads.
fn peak(measured: &[Measured]) -> Option<Target> {
    let own = measured.iter().flat_map(|one| &one.costs).filter(|costs| costs.is_own);
    let peak = own.filter_map(Costs::peak).max_by(f64::total_cmp)?;
    let figure = [peak].into_iter().collect();
    let what = "MB of memory at most".to_owned();
    let why = reasons::memory(measured);
    Some(Target { what, beside: "all workloads".to_owned(), figure, digits: 0, goal: PEAK_GOAL, why })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Cost;
    use crate::bench::workload::WORKLOADS;

    #[test]
    fn a_ratio_is_to_the_fastest_of_the_others_as_they_are_by_default() {
        let costs = |builder: &str, seconds: f64, compression| {
            let cost = vec![Cost { seconds, ..Cost::default() }];
            let is_own = builder == "lbuild";
            let all = [cost.clone(), cost.clone(), cost.clone(), cost];
            let [cold, export, cached, change] = all;
            Costs {
                builder: builder.to_owned(),
                is_own,
                compression,
                cold,
                export,
                cached,
                change,
                ..Costs::default()
            }
        };
        let costs = vec![
            costs("lbuild", 1.0, None),
            costs("a", 8.0, None),
            costs("b", 4.0, None),
            costs("b", 2.0, Some(Compression::Uncompressed)),
        ];
        let found = targets(&[Measured { workload: WORKLOADS[0], costs }], &[]);
        let first = &found[0];
        assert_eq!((first.beside.as_str(), first.figure.median(), first.is_met()), ("b", 0.25, false));
    }
}
