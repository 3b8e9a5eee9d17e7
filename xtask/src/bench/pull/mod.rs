//! Pulls of one image from a registry on this machine: `cargo xtask bench pull`.

mod puller;
mod registry;
mod report;

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::measure::{Cost, measure};
use crate::bench::random::Random;
use crate::bench::{debian, remove, workload};
use crate::command::{Failure, command, run_quietly};
use crate::dockerd::Dockerd;
use crate::{packages, workspace};
use puller::{Kind, Puller};
use registry::{IMAGE, Registry};
use report::{Measured, Report};

/// Rounds, unless the command line says how many.
const RUNS: u64 = 5;

/// Measures and writes `bench/PULL.md`; returns whether lbuild was faster than each of the others that
/// unpack.
pub fn run(runs: Option<u64>) -> Result<bool, Failure> {
    packages::ensure(packages::PULL_BENCH_TOOLS.iter().chain(&packages::DOCKER))?;
    let lbuild = workspace::lbuild()?;
    let folder = workspace::target("bench")?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let docker = Dockerd::start()?;
    let registry = Registry::start(&folder.join("pull-registry"), docker.pid())?;
    let bytes = push_image(&lbuild, &folder, &registry)?;
    let mut report = Report::new(load, bytes);
    report.measured = Puller::all(&lbuild, &folder, &docker).into_iter().map(Measured::new).collect();
    for measured in &mut report.measured {
        measured.version = measured.puller.version()?;
    }
    for round in 1..=runs.unwrap_or(RUNS) {
        for measured in &mut report.measured {
            println!("run {round}: {}", measured.puller.name());
            let cost = once(&measured.puller, &registry)?;
            println!("    {:.2} s, {} MB of memory", cost.seconds, cost.peak / 1_000_000);
            measured.costs.push(cost);
        }
    }
    remove(&folder.join("pull-registry"))?;
    let file = workspace::root().join("bench/PULL.md");
    let text = report.text();
    fs::write(&file, &text).map_err(Failure::of(format!("cannot write {}", file.display())))?;
    print!("{text}");
    Ok(report.is_goal_met())
}

/// One pull into an empty store.
fn once(puller: &Puller, registry: &Registry) -> Result<Cost, Failure> {
    puller.clear()?;
    let daemon = puller.daemon();
    let cost = measure(&registry.reach(puller.pull()), daemon.as_ref())?;
    puller.clear()?;
    Ok(cost)
}

/// Builds an image of a Debian, many small files and some large ones, and pushes it as Docker does: gzip of
/// the usual level, Docker's media types. Returns the bytes of its layers.
fn push_image(lbuild: &Path, folder: &Path, registry: &Registry) -> Result<u64, Failure> {
    let (context, store) = (folder.join("pull-context"), folder.join("pull-store"));
    for used in [&context, &store] {
        remove(used)?;
    }
    println!("making the image");
    let rootfs = debian(folder)?;
    let failed = || Failure::of(format!("cannot write {}", context.display()));
    write_context(&context, &rootfs).map_err(failed())?;
    let output =
        format!("type=registry,name={IMAGE},compression=gzip,compression-level=6,oci-mediatypes=false");
    let mut build = Command::new(lbuild);
    build.args(["build", "--quiet", "--output", &output]).arg(&context).env("LBUILD_ROOT", &store);
    run_quietly(&mut registry.reach(build))?;
    for used in [&context, &store] {
        remove(used)?;
    }
    let size = run_quietly(command("du", ["--bytes", "--summarize"]).arg(registry.blobs()))?;
    let size = size.split_whitespace().next().and_then(|size| size.parse().ok());
    size.ok_or_else(|| Failure("du does not tell a size".to_owned()))
}

fn write_context(context: &Path, rootfs: &Path) -> std::io::Result<()> {
    fs::create_dir_all(context)?;
    fs::copy(rootfs, context.join("rootfs.tar.gz"))?;
    fs::write(
        context.join("Dockerfile"),
        "FROM scratch
ADD rootfs.tar.gz /
COPY files /srv/files
COPY large /srv/large
COPY mixed /srv/mixed
RUN rm -r /srv/files/d0* && chmod 0600 /srv/mixed/d00/s0/*
COPY late.txt /srv/late.txt
CMD [\"/bin/sh\"]
",
    )?;
    fs::write(context.join("late.txt"), "0\n")?;
    let mut random = Random::new(7);
    workload::small_files(&mut random, &context.join("files"), 12_000)?;
    workload::large_files(&mut random, &context.join("large"), 5)?;
    workload::small_files(&mut random, &context.join("mixed"), 4_000)?;
    workload::large_files(&mut random, &context.join("mixed/large"), 3)
}

impl Measured {
    /// Nothing is measured yet.
    fn new(puller: Puller) -> Self {
        Self { puller, version: String::new(), costs: Vec::new() }
    }

    fn is_own(&self) -> bool {
        self.puller.kind == Kind::Lbuild
    }
}
