//! Why a target was missed: where the time or the memory went, and what the machine itself needs.

use crate::bench::costs::{Costs, Measured, Slowest};
use crate::bench::floor::Floor;
use crate::bench::peers::COMPRESSED;
use crate::bench::phases::longest;

/// Of a build without a cache and its archive.
pub fn sum(own: &Costs) -> String {
    let (cold, export) = (own.cold().median(), own.export().median());
    format!("{cold:.2} s are the build's and {export:.2} s the archive's; {}", cold_phases(own))
}

/// Of a build without a cache.
pub fn cold(own: &Costs) -> String {
    cold_phases(own)
}

/// Of a build where nothing changed.
pub fn cached(own: &Costs) -> String {
    slowest("cached build", &own.cached_phases)
}

/// Of a build where a late file changed, and its archive.
pub fn change(own: &Costs) -> String {
    slowest("build after the change, without the archive,", &own.change_phases)
}

/// The builds that take most.
pub fn memory(measured: &[Measured]) -> String {
    let mut peaks: Vec<(u64, String)> = Vec::new();
    for one in measured {
        for costs in one.costs.iter().filter(|costs| costs.is_own) {
            let kinds = [
                ("cold", &costs.cold),
                ("export", &costs.export),
                ("cached", &costs.cached),
                ("change", &costs.change),
            ];
            for (kind, measured) in kinds {
                let most = measured.iter().map(|cost| cost.peak).max().unwrap_or_default();
                peaks.push((most, format!("{}, {}, {kind}", one.workload.name, costs.label())));
            }
        }
    }
    peaks.sort_by(|one, two| two.cmp(one));
    let told = peaks.iter().take(4).map(|(bytes, what)| format!("{what}: {} MB", bytes / 1_000_000));
    format!("the most are {}.", told.collect::<Vec<_>>().join("; "))
}

/// What the bytes of a workload need without a builder, where that was measured, beside the fastest other one.
pub fn floor(measured: &Measured, comparison: &str, floors: &[Floor]) -> String {
    let seconds = |name| floors.iter().find(|floor| floor.name == name).map(|floor| floor.seconds.median());
    let (Some(kept), Some(tar)) = (seconds("kept"), seconds("tar")) else { return String::new() };
    let fastest = measured.fastest(Costs::sum, |costs| costs.compression.is_none());
    match fastest.filter(|_| measured.workload.name == COMPRESSED && comparison == "sum") {
        Some(peer) => format!(
            " `cp -a` of the same files, on disk, takes {kept:.2} s and `tar` of them to a file {tar:.2} s, without a \
             base image, a digest or a second step: {:.2} of what {} takes.",
            (kept + tar) / peer.sum().median(),
            peer.label()
        ),
        None => String::new(),
    }
}

fn cold_phases(own: &Costs) -> String {
    slowest("build without a cache", &own.cold_phases)
}

fn slowest(what: &str, slowest: &Slowest) -> String {
    let Slowest { seconds, phases } = slowest;
    format!("the slowest {what} took {seconds:.3} s: {}.", longest(phases))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Cost;
    use crate::bench::phases::Phase;
    use crate::bench::workload::WORKLOADS;

    #[test]
    fn the_slowest_build_is_told_with_its_phases() {
        let mut costs = Costs::default();
        for (seconds, name) in [(0.5, "sync"), (0.2, "plan")] {
            let phase = Phase { name: name.to_owned(), count: 2, seconds };
            costs.cached_phases.add(&Cost { seconds, ..Cost::default() }, vec![phase]);
        }
        assert_eq!(cached(&costs), "the slowest cached build took 0.500 s: sync (2 times) 0.500.");
    }

    #[test]
    fn the_builds_that_take_most_memory_come_first() {
        let cost = |peak| vec![Cost { peak, ..Cost::default() }];
        let costs = Costs {
            builder: "lbuild".to_owned(),
            is_own: true,
            cold: cost(9_000_000),
            export: cost(70_000_000),
            ..Costs::default()
        };
        let told = memory(&[Measured { workload: WORKLOADS[0], costs: vec![costs] }]);
        assert!(
            told.starts_with("the most are runs20, lbuild, export: 70 MB; runs20, lbuild, cold: 9 MB"),
            "{told}"
        );
    }
}
