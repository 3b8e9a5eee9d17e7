//! lbuild and other builders side by side: `cargo xtask bench`.

mod builders;
mod chart;
mod floor;
mod measure;
mod random;
mod report;
mod samples;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::bench::builders::{Buildah, Builder, Docker, Lbuild, reset};
use crate::bench::measure::{Cost, measure};
use crate::bench::report::Report;
use crate::bench::samples::Samples;
use crate::bench::workload::{BASE, WORKLOADS, Workload};
use crate::command::{Failure, command, run_quietly};
use crate::dockerd::Dockerd;
use crate::{packages, rootfs, workspace};

const DEFAULT_RUNS: usize = 3;

/// The workload that is also exported with compressed layers, and whose tree gives the floor.
const COMPRESSED: &str = "copybig";

/// What is asked for.
#[derive(Debug)]
struct Request {
    workloads: Vec<Workload>,
    runs: usize,
}

/// What the builds of a workload cost one builder, run by run.
#[derive(Debug, Default)]
pub struct Costs {
    /// The builder's name.
    pub builder: String,
    cold: Vec<Cost>,
    export: Vec<Cost>,
    cached: Vec<Cost>,
    change: Vec<Cost>,
}

/// The costs of a workload.
pub struct Measured {
    /// The workload.
    pub workload: Workload,
    /// lbuild first.
    pub costs: Vec<Costs>,
}

/// Measures what `arguments` name and writes `bench/REPORT.md` and `bench/chart.svg`.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let Request { workloads, runs } = parse(arguments)?;
    packages::ensure(packages::BENCH_TOOLS.iter().chain(&packages::DOCKER))?;
    let lbuild = workspace::build_release()?;
    let folder = workspace::target("bench")?;
    let rootfs = debian(&folder)?;
    let base = base_archive(&lbuild, &folder, &rootfs)?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let docker = Dockerd::start()?;

    let mut measured = Vec::new();
    let mut floors = Vec::new();
    for workload in workloads {
        let context = folder.join(workload.name);
        println!("making {}", workload.name);
        workload.generate(&context, &rootfs)?;
        let builders = builders(&lbuild, &folder, &docker, workload)?;
        let bench = Bench { workload, context: &context, base: &base, folder: &folder };
        measured.push(bench.measure(&builders, runs)?);
        if workload.name == COMPRESSED {
            floors = floor::floors(&context.join("tree"), &rootfs, &folder, runs)?;
        }
        remove(&context)?;
    }
    let versions = builders(&lbuild, &folder, &docker, WORKLOADS[0])?
        .iter()
        .map(|builder| builder.version())
        .collect::<Result<_, _>>()?;
    for used in ["lbuild", "buildah"] {
        remove(&folder.join(used))?;
    }
    let report = Report { measured, floors, runs, load, versions };
    report.write(&workspace::root().join("bench"))
}

/// The workloads and the number of runs.
fn parse(arguments: &[String]) -> Result<Request, Failure> {
    let (mut workloads, mut runs) = (Vec::new(), DEFAULT_RUNS);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--runs" {
            let number = words.next().and_then(|number| number.parse().ok()).filter(|&number| number > 0);
            runs = number.ok_or_else(|| Failure("--runs needs a number".to_owned()))?;
            continue;
        }
        workloads.push(Workload::named(word).ok_or_else(|| {
            let known = WORKLOADS.map(|workload| workload.name).join(", ");
            Failure(format!("there is no workload {word:?}: {known}"))
        })?);
    }
    if workloads.is_empty() {
        workloads = WORKLOADS.to_vec();
    }
    Ok(Request { workloads, runs })
}

/// All builders that `workload` is measured with, lbuild first.
fn builders(
    lbuild: &Path,
    folder: &Path,
    docker: &Dockerd,
    workload: Workload,
) -> Result<Vec<Box<dyn Builder>>, Failure> {
    let mut builders: Vec<Box<dyn Builder>> = vec![
        Box::new(Lbuild::new(lbuild, folder, None)),
        Box::new(Docker::new(docker, true)),
        Box::new(Docker::new(docker, false)),
        Box::new(Buildah::new(folder)?),
    ];
    if workload.name == COMPRESSED {
        for compression in ["gzip", "zstd"] {
            builders.push(Box::new(Lbuild::new(lbuild, folder, Some(compression))));
        }
    }
    Ok(builders)
}

/// One workload, ready to be built.
struct Bench<'a> {
    workload: Workload,
    context: &'a Path,
    base: &'a Path,
    folder: &'a Path,
}

impl Bench<'_> {
    /// Lets the builders take turns.
    fn measure(&self, builders: &[Box<dyn Builder>], runs: usize) -> Result<Measured, Failure> {
        let mut costs: Vec<Costs> =
            builders.iter().map(|builder| Costs { builder: builder.name(), ..Costs::default() }).collect();
        for run in 1..=runs {
            for (builder, costs) in builders.iter().zip(&mut costs) {
                println!("{}, run {run} of {runs}: {}", self.workload.name, builder.name());
                self.once(builder.as_ref(), costs)?;
                builder.clear()?;
            }
        }
        Ok(Measured { workload: self.workload, costs })
    }

    fn once(&self, builder: &dyn Builder, costs: &mut Costs) -> Result<(), Failure> {
        let base = self.workload.has_base.then_some(self.base);
        reset(builder, base, &self.folder.join("first"))?;
        let archive = self.folder.join("image.tar");
        let cost = |command: Command| measure(&command, builder.daemon());
        let build = || cost(builder.build(self.context));
        let export = || {
            let exported = cost(builder.export(self.context, &archive));
            remove(&archive).and(exported)
        };

        self.touch("0")?;
        costs.cold.push(build()?);
        costs.export.push(export()?);
        costs.cached.push(build()?);
        self.touch("1")?;
        costs.change.push(build()?.then(export()?));
        Ok(())
    }

    fn touch(&self, content: &str) -> Result<(), Failure> {
        let file = self.context.join(self.workload.touched);
        fs::write(&file, format!("{content}\n"))
            .map_err(Failure::of(format!("cannot write {}", file.display())))
    }
}

impl Costs {
    /// Seconds of a build without a cache.
    pub fn cold(&self) -> Samples {
        seconds(&self.cold)
    }

    /// Seconds of writing the archive.
    pub fn export(&self) -> Samples {
        seconds(&self.export)
    }

    /// Seconds of a build without a cache and its archive.
    pub fn sum(&self) -> Samples {
        self.cold().zip(&self.export(), |cold, export| cold + export)
    }

    /// Seconds of a build where nothing changed.
    pub fn cached(&self) -> Samples {
        seconds(&self.cached)
    }

    /// Seconds of a build where a late file changed, and its archive.
    pub fn change(&self) -> Samples {
        seconds(&self.change)
    }

    /// Megabytes of memory that its largest process had at any time.
    pub fn peak(&self) -> f64 {
        let all = [&self.cold, &self.export, &self.cached, &self.change];
        all.into_iter().flatten().map(|cost| cost.peak).max().unwrap_or(0) as f64 / 1e6
    }

    /// Megabytes that the build without a cache and its archive had written to disk.
    pub fn written(&self) -> Samples {
        self.cold
            .iter()
            .zip(&self.export)
            .map(|(cold, export)| (cold.written + export.written) as f64 / 1e6)
            .collect()
    }
}

impl Cost {
    /// This and afterwards `next`.
    fn then(self, next: Self) -> Self {
        Self {
            seconds: self.seconds + next.seconds,
            peak: self.peak.max(next.peak),
            written: self.written + next.written,
        }
    }
}

fn seconds(costs: &[Cost]) -> Samples {
    costs.iter().map(|cost| cost.seconds).collect()
}

/// A gzipped tar of a Debian, made once.
fn debian(folder: &Path) -> Result<PathBuf, Failure> {
    let archive = folder.join("rootfs.tar.gz");
    if !archive.exists() {
        rootfs::debian(&archive)?;
    }
    Ok(archive)
}

/// A docker archive of the base image.
fn base_archive(lbuild: &Path, folder: &Path, rootfs: &Path) -> Result<PathBuf, Failure> {
    let (context, store) = (folder.join("base"), folder.join("base-store"));
    let archive = folder.join("base.tar");
    for used in [&context, &store] {
        remove(used)?;
    }
    fs::create_dir_all(&context)
        .and_then(|()| fs::copy(rootfs, context.join("rootfs.tar.gz")))
        .and_then(|_| {
            fs::write(context.join("Dockerfile"), "FROM scratch\nADD rootfs.tar.gz /\nCMD [\"/bin/sh\"]\n")
        })
        .map_err(Failure::of(format!("cannot write {}", context.display())))?;
    let output = format!("type=docker,dest={}", archive.display());
    let mut build = command(lbuild, ["build", "--quiet", "--tag", BASE, "--output", &output]);
    run_quietly(build.arg(&context).env("LBUILD_ROOT", &store).env("SOURCE_DATE_EPOCH", "1700000000"))?;
    for used in [&context, &store] {
        remove(used)?;
    }
    Ok(archive)
}

/// Removes a file or a folder, if it is there.
fn remove(path: &Path) -> Result<(), Failure> {
    run_quietly(command("rm", ["-rf"]).arg(path)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workloads_and_runs_are_read() {
        let words = |words: &[&str]| parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        for (given, first, count, runs) in
            [(&[][..], "runs20", WORKLOADS.len(), DEFAULT_RUNS), (&["seed", "--runs", "7"], "seed", 1, 7)]
        {
            let request = words(given).unwrap();
            let found = (request.workloads[0].name, request.workloads.len(), request.runs);
            assert_eq!(found, (first, count, runs), "{given:?}");
        }
        for wrong in [&["sed"][..], &["--runs"], &["--runs", "0"]] {
            assert!(words(wrong).is_err(), "{wrong:?}");
        }
    }
}
