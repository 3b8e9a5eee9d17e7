//! What was measured, as `bench/REPORT.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::bench::builders::Compression;
use crate::bench::chart;
use crate::bench::costs::{Costs, Measured};
use crate::bench::floor::Floor;
use crate::bench::phases;
use crate::bench::targets::targets;
use crate::bench::workload::Workload;
use crate::command::Failure;

/// All measurements of one run of the command.
pub struct Report {
    /// The workloads.
    pub measured: Vec<Measured>,
    /// What the machine needs without a builder; empty if that was not measured.
    pub floors: Vec<Floor>,
    /// How often each was measured, if it was worth it.
    pub runs: usize,
    /// `/proc/loadavg` before.
    pub load: String,
    /// The builders, as they call themselves.
    pub versions: Vec<String>,
    /// Builders that could not be had, and why.
    pub missing: Vec<String>,
}

impl Report {
    /// Writes the report and the chart into `folder`.
    pub fn write(&self, folder: &Path) -> Result<(), Failure> {
        let write = |name: &str, content: String| {
            let file = folder.join(name);
            fs::create_dir_all(folder)
                .and_then(|()| fs::write(&file, content))
                .map_err(Failure::of(format!("cannot write {}", file.display())))
        };
        write("chart.svg", chart::draw(&self.measured))?;
        write("REPORT.md", self.text())
    }

    /// The targets, and whether they were reached.
    pub fn summary(&self) -> String {
        let mut text = String::from(
            "## Targets\n\nRatios of times are to the fastest other builder: 0.20 is a fifth of its time. In \
             brackets the smallest and the largest of a run.\n\n\
             | what | beside | measured | goal | |\n|---|---|---|---|---|\n",
        );
        for target in targets(&self.measured, &self.floors) {
            let mark = if target.is_met() { "met" } else { "**missed**" };
            let (figure, goal, digits) = (target.figure.shown(target.digits), target.goal, target.digits);
            let _ = writeln!(
                text,
                "| {} | {} | {figure} | ≤ {goal:.digits$} | {mark} |",
                target.what, target.beside
            );
        }
        text.push('\n');
        text
    }

    /// Of each target that was missed, where the time or memory went and what bounds it.
    fn reasons(&self) -> String {
        let targets = targets(&self.measured, &self.floors);
        let missed = targets.iter().filter(|target| !target.is_met());
        let reasons: Vec<String> =
            missed.map(|target| format!("- **{}**: {}\n", target.what, target.why)).collect();
        if reasons.is_empty() {
            return String::new();
        }
        format!("Why those were missed:\n\n{}\n", reasons.concat())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "# lbuild beside other builders\n\n\
             Written by `cargo xtask bench`, which makes the workloads, installs the builders and lets them take \
             turns. Runs: {}; one, where a builder took more than twice the time of the fastest other one. A \
             cell is the median and, in brackets, the smallest and the largest.\n\n\
             Machine: {}. Load before: {}. Builders: {}.\n\n",
            self.runs,
            machine(),
            self.load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            self.versions.join(", "),
        );
        for missing in &self.missing {
            let _ = writeln!(text, "Not measured: {}.\n", one_line(missing));
        }
        text += "![seconds of each builder](chart.svg)\n\n\
                 - cold: nothing in the cache, the base image there and unpacked\n\
                 - export: an archive for `docker load`; BuildKit's layers are compressed by gzip unless it is \
                 told otherwise, lbuild's, `docker save`'s and Buildah's are not\n\
                 - sum: both\n\
                 - cached: nothing changed\n\
                 - change: a late file changed, with the export\n\
                 - memory: the largest single process at any time, daemons included\n\
                 - written: what the cold build and the export had written to disk\n\n";
        text += &self.summary();
        text += &self.reasons();
        text += &self.uncompressed();
        for measured in &self.measured {
            text += &table(measured);
        }
        text += &self.bounds();
        text
    }

    /// lbuild beside a BuildKit that does not compress either.
    fn uncompressed(&self) -> String {
        let ratio = |measured: &Measured, seconds: fn(&Costs) -> _| {
            let peer = measured.fastest(seconds, |costs| costs.compression != Some(Compression::Gzip));
            let own = measured.own().map(seconds);
            own.zip(peer.map(seconds)).map(|(own, peer)| own.zip(&peer, |own, peer| own / peer))
        };
        let mut text = String::from(
            "Where BuildKit is told not to compress, as lbuild does not, the ratios to the fastest other builder \
             are:\n\n| workload | sum | change |\n|---|---|---|\n",
        );
        for measured in &self.measured {
            let shown = |seconds| ratio(measured, seconds).map_or("–".to_owned(), |ratio| ratio.shown(2));
            let (sum, change) = (shown(Costs::sum), shown(Costs::change));
            let _ = writeln!(text, "| {} | {sum} | {change} |", measured.workload.name);
        }
        text.push('\n');
        text
    }

    /// What the machine needs itself.
    fn bounds(&self) -> String {
        if self.floors.is_empty() {
            return String::new();
        }
        let mut text =
            String::from("## The floor\n\nThe same bytes without a builder.\n\n| | seconds |\n|---|---|\n");
        for floor in &self.floors {
            let _ = writeln!(text, "| {} | {} |", floor.what, floor.seconds.shown(4));
        }
        text
    }
}

fn table(measured: &Measured) -> String {
    let Workload { name, shows, .. } = measured.workload;
    let mut text = format!(
        "## {name}\n\n{shows}\n\n\
         | builder | cold s | export s | sum s | cached s | change s | memory MB | written MB |\n\
         |---|---|---|---|---|---|---|---|\n"
    );
    for costs in &measured.costs {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            costs.label(),
            costs.cold().shown(2),
            costs.export().shown(2),
            costs.sum().shown(2),
            costs.cached().shown(3),
            costs.change().shown(2),
            costs.peak().map_or("–".to_owned(), |peak| format!("{peak:.0}")),
            costs.written().shown_short(),
        );
    }
    text.push('\n');
    for costs in &measured.costs {
        if let Some(failure) = &costs.failure {
            let _ = writeln!(text, "{} failed: {}\n", costs.label(), one_line(failure));
        }
    }
    text + &cold_phases(measured)
}

/// Where the time of lbuild's build without a cache went.
fn cold_phases(measured: &Measured) -> String {
    match measured.own().map(|own| phases::longest(&own.cold_phases.phases)) {
        Some(list) if !list.is_empty() => {
            format!("Seconds of lbuild's slowest cold build, by `--timings`: {list}.\n\n")
        }
        _ => String::new(),
    }
}

/// The beginning of a message, for a line of Markdown.
fn one_line(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    let mut line: String = words.join(" ").chars().take(400).collect();
    line = line.replace('|', "\\|");
    line
}

/// Processors and kernel.
pub fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown model", |(_, model)| model).to_owned();
    let kernel = read("/proc/sys/kernel/osrelease");
    // What follows the version is the distribution's, or whoever's built it.
    let kernel = kernel.trim().split('-').next().unwrap_or_default();
    format!("{processors} processors ({model}), Linux {kernel}")
}
