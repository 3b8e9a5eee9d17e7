//! What was measured, as a page.

use std::fmt::Write as _;

use super::puller::{Kind, Puller};
use crate::bench::measure::Cost;
use crate::bench::samples::Samples;

/// One program's pulls.
pub struct Measured {
    /// The program.
    pub puller: Puller,
    /// Its version.
    pub version: String,
    /// Of each pull, in order.
    pub costs: Vec<Cost>,
}

/// All pulls.
pub struct Report {
    /// Of each program.
    pub measured: Vec<Measured>,
    /// `/proc/loadavg` before.
    load: String,
    /// Bytes of the image's blobs.
    bytes: u64,
}

impl Report {
    /// Nothing is measured yet.
    pub fn new(load: String, bytes: u64) -> Self {
        Self { measured: Vec::new(), load, bytes }
    }

    /// Whether lbuild took less time than each other program that unpacks the image.
    pub fn is_goal_met(&self) -> bool {
        let others = self.measured.iter().filter(|one| !one.is_own() && one.unpacks());
        others.map(|other| self.ratio(other)).all(|ratio| ratio.median() < 1.0)
    }

    /// The page.
    pub fn text(&self) -> String {
        let unpacking = self.measured.iter().filter(|one| one.unpacks());
        let versions: Vec<&str> = unpacking.map(|one| one.version.as_str()).collect();
        let load: Vec<&str> = self.load.split_whitespace().take(3).collect();
        let mut text = format!(
            "# Pulling an image\n\n\
             Written by `cargo xtask bench pull`. An image of six layers, about 550 MB and {} MB as gzip: a Debian, 16,000 small \
             files, 280 MB in eight large ones, a layer of deletions. It is in Debian's `docker-registry` on the \
             same machine, reached by loopback without TLS. The programs take turns, each into an empty store; \
             the disk is synced before each pull.\n\n\
             `lbuild pull`, `skopeo copy` to containers-storage and `docker pull` unpack the image, so that it can be \
             run. skopeo's layout holds the blobs only: it shows what the transfer costs.\n\n\
             Processors: {}. Load before: {}. {}.\n\n\
             A cell is the median and, in brackets, the smallest and the largest. A ratio is lbuild's time by the \
             other's, run by run. Memory is that of the largest process, the daemon included.\n\n\
             | | s | lbuild / it | memory MB | written MB |\n|---|---|---|---|---|\n",
            self.bytes / 1_000_000,
            std::thread::available_parallelism().map_or(1, usize::from),
            load.join(" "),
            versions.join("; "),
        );
        for one in &self.measured {
            let of = |figure: fn(&Cost) -> f64| one.costs.iter().map(figure).collect::<Samples>();
            let ratio = if one.is_own() { "–".to_owned() } else { self.ratio(one).shown(2) };
            let _ = writeln!(
                text,
                "| {} | {} | {ratio} | {} | {} |",
                one.puller.name(),
                of(|cost| cost.seconds).shown(2),
                of(|cost| cost.peak as f64 / 1e6).shown(0),
                of(|cost| cost.written as f64 / 1e6).shown_short(),
            );
        }
        let met = if self.is_goal_met() { "met" } else { "**missed**" };
        let _ = writeln!(text, "\nGoal: faster than both that unpack: {met}.");
        text
    }

    /// lbuild's time divided by that of `other`, run by run.
    fn ratio(&self, other: &Measured) -> Samples {
        let own = self.measured.iter().find(|one| one.is_own());
        let own = own.map(Measured::seconds).unwrap_or_default();
        own.zip(&other.seconds(), |own, other| own / other)
    }
}

impl Measured {
    fn seconds(&self) -> Samples {
        self.costs.iter().map(|cost| cost.seconds).collect()
    }

    fn unpacks(&self) -> bool {
        self.puller.kind != Kind::SkopeoLayout
    }
}
