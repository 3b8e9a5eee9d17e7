//! How a shared cache scales: `cargo xtask scale`.
//!
//! Eight workers, each with a store and a network namespace of its own, build the same monorepo of 20
//! images at once against one registry; a ninth with an empty store then gets all of it. The figures of
//! docs/scale.md come from here.

mod network;
mod registry;
mod tree;
mod worker;

use std::collections::BTreeMap;
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
use worker::{Steps, Worker};

const WORKERS: usize = 8;

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
    let results: Vec<Result<Steps, Failure>> = thread::scope(|scope| {
        let running: Vec<_> =
            eight.iter().map(|worker| scope.spawn(|| worker.build_all(&tree, false))).collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Failure("a worker panicked".to_owned()))))
            .collect()
    });
    let took = began.elapsed();
    let mut executed: Steps = BTreeMap::new();
    for result in results {
        for (step, count) in result? {
            *executed.entry(step).or_default() += count;
        }
    }
    let during = registry.traffic()?;
    let began = Instant::now();
    let ninth_executed: usize = ninth.build_all(&tree, true)?.values().sum();
    let ninth_took = began.elapsed();
    let after = registry.traffic()?;

    report(&executed, took, &during);
    println!(
        "\nThe ninth worker, with an empty store: {} images, {ninth_executed} steps run, {}",
        IMAGES,
        seconds(ninth_took)
    );
    after.since(&during).print();
    let most = executed.values().copied().max().unwrap_or_default();
    let is_good = ninth_executed == 0 && most <= 2 && executed.len() == STEPS;
    println!("\n{}", if is_good { "as it should be" } else { "NOT as it should be" });
    drop(registry);
    if is_good {
        Ok(true)
    } else {
        Err(Failure("a step ran too often, or the ninth worker ran some".to_owned()))
    }
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
