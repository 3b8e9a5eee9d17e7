//! lbuild and other builders side by side: `cargo xtask bench`.

mod builders;
mod chart;
pub mod context;
mod costs;
mod floor;
pub mod growth;
pub mod isolation;
mod measure;
mod peers;
mod phases;
pub mod pull;
mod random;
mod reasons;
mod report;
mod request;
mod samples;
mod targets;
mod turns;
mod workload;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::bench::peers::{COMPRESSED, Peers};
use crate::bench::report::Report;
use crate::bench::request::Request;
use crate::bench::turns::Turns;
use crate::bench::workload::BASE;
use crate::command::{Failure, command, run_quietly};
use crate::{packages, rootfs, workspace};

/// Measures what `arguments` name and writes `REPORT.md` and `chart.svg`: into `bench/`, or below cargo's
/// target folder by `--quick`. They are written after each workload, so that an interrupted run leaves what
/// it measured.
pub fn run(arguments: &[String]) -> Result<(), Failure> {
    let request = Request::parse(arguments)?;
    packages::ensure(packages::BENCH_TOOLS.iter().chain(&packages::DOCKER))?;
    let lbuild = workspace::lbuild()?;
    let folder = workspace::target("bench")?;
    let rootfs = debian(&folder)?;
    let base = base_archive(&lbuild, &folder, &rootfs)?;
    let began = Instant::now();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let peers = Peers::start(&lbuild, &folder, request.is_quick);
    let written = if request.is_quick { folder.join("quick") } else { workspace::root().join("bench") };

    let mut report = Report {
        measured: Vec::new(),
        floors: Vec::new(),
        runs: request.runs,
        load,
        versions: peers.versions(request.workloads[0])?,
        missing: peers.missing.clone(),
    };
    for workload in request.workloads {
        let context = folder.join(workload.name);
        println!("making {}", workload.name);
        workload.generate(&context, &rootfs)?;
        let end = began + request.limit;
        let turns = Turns { workload, context: &context, base: &base, folder: &folder, end };
        report.measured.push(turns.measure(&peers.builders(workload)?, request.runs)?);
        if workload.name == COMPRESSED {
            report.floors = floor::floors(&context.join("tree"), &rootfs, &folder, request.runs)?;
        }
        remove(&context)?;
        report.write(&written)?;
    }
    for used in ["lbuild", "buildah"] {
        remove(&folder.join(used))?;
    }
    print!("\n{}", report.summary());
    println!("\nwritten in {:.1} minutes: {}", began.elapsed().as_secs_f64() / 60.0, written.display());
    Ok(())
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
