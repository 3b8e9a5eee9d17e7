//! How a shared cache scales: `cargo xtask scale`.
//!
//! Eight workers, each with a store and a network namespace of its own, build the same monorepo of 20
//! images at once against one registry; a ninth with an empty store then gets all of it, executing
//! nothing. The figures of docs/scale.md come from here.

mod network;
mod registry;
mod tree;
mod worker;

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{Failure, command, run};
use crate::packages;
use crate::workspace;
use network::Network;
use registry::Registry;
use tree::{IMAGES, STEPS, Tree};
use worker::{Steps, Work, Worker};

const WORKERS: usize = 8;

/// How often a step may run in all: machines that come to it at the same moment may both run it.
const MOST_RUNS: usize = 2;

/// Says to the process that it is in the namespaces already.
const INSIDE: &str = "LBUILD_SCALE_INSIDE";

/// Runs the simulation, in a network namespace that ends with it, and prints its figures.
pub fn simulate() -> Result<bool, Failure> {
    if std::env::var_os(INSIDE).is_none() {
        packages::ensure(&packages::SCALE)?;
        let lbuild = workspace::build_release()?;
        let program = std::env::current_exe().map_err(Failure::of("cannot find this program"))?;
        let mut again = command("unshare", ["--net", "--mount", "--fork", "--kill-child"]);
        run(again.arg(program).arg("scale").env(INSIDE, lbuild))?;
        return Ok(true);
    }
    let lbuild = PathBuf::from(std::env::var_os(INSIDE).unwrap_or_default());
    let folder = workspace::target("scale")?;
    let _ = fs::remove_dir_all(&folder);
    let folder = workspace::target("scale")?;
    let network = Network::new()?;
    let registry = Registry::start(&folder, &network)?;
    let tree = Tree::write(&folder.join("tree"))?;
    let workers = (0..=WORKERS)
        .map(|number| Worker::new(number, &folder, &network, &lbuild, &registry))
        .collect::<Result<Vec<_>, _>>()?;
    let (ninth, eight) = workers.split_last().ok_or_else(|| Failure("there are no workers".to_owned()))?;

    let began = Instant::now();
    let together = build_together(eight, &tree)?;
    let took = began.elapsed();
    let during = registry.traffic()?;
    report(&together.steps, took, &during);

    let began = Instant::now();
    let alone = ninth.build_all(&tree, true)?;
    println!("\nThe ninth worker, with an empty store: {IMAGES} images, {}", seconds(began.elapsed()));
    println!("steps run in all      {:>8}", alone.steps.values().sum::<usize>());
    let after = registry.traffic()?;
    after.since(&during).print();
    // It has them in truth, although no layer came until now.
    ninth.save("service-0", &folder.join("service-0.tar"))?;
    println!("\nThe ninth worker writes one of them as an archive:");
    registry.traffic()?.since(&after).print();

    judge(&together, &alone)
}

/// All `workers` build all images at the same time; what they did in all.
fn build_together(workers: &[Worker], tree: &Tree) -> Result<Work, Failure> {
    let results: Vec<Result<Work, Failure>> = thread::scope(|scope| {
        let running: Vec<_> =
            workers.iter().map(|worker| scope.spawn(|| worker.build_all(tree, false))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Failure("a worker panicked".to_owned()))))
            .collect()
    });
    let mut together = Work::default();
    for result in results {
        let work = result?;
        for (step, count) in work.steps {
            *together.steps.entry(step).or_default() += count;
        }
        for (service, image) in work.images {
            let first = together.images.entry(service.clone()).or_insert_with(|| image.clone());
            if *first != image {
                return Err(Failure(format!("workers made two different images {service}")));
            }
        }
    }
    Ok(together)
}

/// Whether the figures are what the cache is for.
fn judge(together: &Work, alone: &Work) -> Result<bool, Failure> {
    let most = together.steps.values().copied().max().unwrap_or_default();
    if together.steps.len() != STEPS || most > MOST_RUNS {
        return Err(Failure(format!(
            "{} of {STEPS} steps ran, one of them {most} times",
            together.steps.len()
        )));
    }
    if !alone.steps.is_empty() || alone.images != together.images {
        return Err(Failure("the ninth worker ran steps or made other images".to_owned()));
    }
    println!("\nas it should be: no step ran more than {MOST_RUNS} times, and all made the same images");
    Ok(true)
}

fn report(executed: &Steps, took: Duration, traffic: &registry::Traffic) {
    let sum: usize = executed.values().sum();
    let twice = executed.values().filter(|count| **count > 1).count();
    let most = executed.values().copied().max().unwrap_or_default();
    println!("{WORKERS} workers, {IMAGES} images, {STEPS} different steps, {}", seconds(took));
    println!("builds                {:>8}", WORKERS * IMAGES);
    println!("different steps run   {:>8}", executed.len());
    println!("steps run in all      {sum:>8}");
    println!("steps run twice       {twice:>8}");
    println!("most runs of one step {most:>8}");
    traffic.print();
}

fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
