//! What was measured, as `bench/REPORT.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::bench::floor::Floor;
use crate::bench::samples::Samples;
use crate::bench::workload::Workload;
use crate::bench::{Costs, Measured, chart};
use crate::command::Failure;

/// All measurements of one run of the command.
pub struct Report {
    /// The workloads.
    pub measured: Vec<Measured>,
    /// What the machine needs without a builder; empty if that was not measured.
    pub floors: Vec<Floor>,
    /// How often each was measured.
    pub runs: usize,
    /// `/proc/loadavg` before.
    pub load: String,
    /// The builders, as they call themselves.
    pub versions: Vec<String>,
}

/// What lbuild is compared by.
pub struct Comparison {
    /// What is compared.
    pub name: &'static str,
    /// The seconds of a builder.
    pub seconds: fn(&Costs) -> Samples,
}

/// What lbuild is compared by, in the order of [`Workload::goals`].
pub const COMPARISONS: [Comparison; 3] = [
    Comparison { name: "sum", seconds: Costs::sum },
    Comparison { name: "cached", seconds: Costs::cached },
    Comparison { name: "change", seconds: Costs::change },
];

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
        write("REPORT.md", self.text())?;
        print!("\n{}", self.ratios());
        println!("\nwritten: {}", folder.join("REPORT.md").display());
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "# lbuild beside other builders\n\n\
             Written by `cargo xtask bench`, which makes the workloads, installs the builders and lets them take \
             turns. Runs of each: {}; a \
             cell is the median and, in brackets, the smallest and the largest.\n\n\
             Machine: {}. Load before: {}. Builders: {}.\n\n\
             ![seconds of each builder](chart.svg)\n\n",
            self.runs,
            machine(),
            self.load.split_whitespace().take(3).collect::<Vec<_>>().join(" "),
            self.versions.join(", "),
        );
        text += "- cold: nothing in the cache, the base image there and unpacked\n\
                 - export: an archive for `docker load`\n\
                 - cached: nothing changed\n\
                 - change: a late file changed, with the export\n\
                 - memory: the largest single process at any time, daemons included\n\
                 - written: what the cold build and the export had written to disk\n\n";
        text += &self.ratios();
        for measured in &self.measured {
            text += &table(measured);
        }
        text += &self.bounds();
        text
    }

    /// lbuild against the fastest other builder, run by run.
    fn ratios(&self) -> String {
        let mut text = String::from(
            "## lbuild against the fastest other builder\n\nEach is a ratio of times: 0.20 is a fifth of the \
             time. In brackets the smallest and the largest ratio of a run; then the goal.\n\n\
             | workload | sum | cached | change |\n|---|---|---|---|\n",
        );
        for measured in &self.measured {
            let _ = write!(text, "| {} ", measured.workload.name);
            for (comparison, goal) in COMPARISONS.iter().zip(measured.workload.goals) {
                let ratio = ratio(measured, comparison.seconds);
                let mark = if ratio.median() <= goal { "✓" } else { "above" };
                let _ = write!(text, "| {} {mark} {goal:.2} ", ratio.shown(2));
            }
            text += "|\n";
        }
        text.push('\n');
        text
    }

    /// What the machine needs itself, and lbuild beside that.
    fn bounds(&self) -> String {
        let Some(cold) = self.floors.first().and(self.lbuild("copybig")).map(Costs::cold) else {
            return String::new();
        };
        let mut text =
            String::from("## The floor\n\nThe same bytes without a builder.\n\n| | seconds |\n|---|---|\n");
        for floor in &self.floors {
            let _ = writeln!(text, "| {} | {} |", floor.what, floor.seconds.shown(4));
        }
        let floor = |name| self.floors.iter().find(|floor| floor.name == name).map(|floor| &floor.seconds);
        if let (Some(copy), Some(pack)) = (floor("cp"), floor("pack")) {
            let least = copy.zip(pack, |copy, pack| copy + pack);
            let ratio = cold.zip(&least, |cold, least| cold / least);
            let _ = writeln!(
                text,
                "\ncopybig cold without export is {} of `cp -a` plus `tar | sha256sum` of its tree (goal 1.5).",
                ratio.shown(2)
            );
        }
        if let Some(runs) = self.lbuild("runs20") {
            let each: Samples = runs.cold().zip(&runs.cold(), |cold, _| cold / 20.0 * 1000.0);
            let _ = writeln!(
                text,
                "\nA step of runs20, with the start of lbuild shared out, takes {} ms (goal 10 over its own work).",
                each.shown(1)
            );
        }
        text
    }

    fn lbuild(&self, workload: &str) -> Option<&Costs> {
        let measured = self.measured.iter().find(|measured| measured.workload.name == workload)?;
        measured.costs.first()
    }
}

/// lbuild's time divided by that of the fastest other builder, run by run.
fn ratio(measured: &Measured, seconds: fn(&Costs) -> Samples) -> Samples {
    let others: Vec<Samples> =
        measured.costs.iter().filter(|costs| !costs.builder.starts_with("lbuild")).map(seconds).collect();
    let fastest = others.iter().min_by(|one, two| one.median().total_cmp(&two.median()));
    match (measured.costs.first(), fastest) {
        (Some(own), Some(fastest)) => seconds(own).zip(fastest, |own, other| own / other),
        _ => Samples::default(),
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
            "| {} | {} | {} | {} | {} | {} | {:.0} | {:.0} |",
            costs.builder,
            costs.cold().shown(2),
            costs.export().shown(2),
            costs.sum().shown(2),
            costs.cached().shown(3),
            costs.change().shown(2),
            costs.peak(),
            costs.written().median(),
        );
    }
    text.push('\n');
    text
}

/// Processors and kernel.
fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown model", |(_, model)| model).to_owned();
    format!("{processors} processors ({model}), Linux {}", read("/proc/sys/kernel/osrelease").trim())
}
