//! Sixteen builders and a prune loop on one store.

use std::thread;
use std::time::{Duration, Instant};

use super::Tried;
use super::bed::{Bed, VARIANTS, succeeded};
use crate::command::Failure;

const BUILDERS: usize = 16;

pub fn try_all(bed: &Bed, time: Duration) -> Result<Tried, Failure> {
    let mut tried = Tried::new("crowd");
    let store = bed.fresh("crowd");
    bed.load(&store).map_err(Failure)?;
    let end = Instant::now() + time;
    let (builds, prunes) = thread::scope(|scope| {
        let builders: Vec<_> = (0..BUILDERS)
            .map(|number| {
                scope.spawn({
                    let store = &store;
                    // Some steps are the same for all, and some for a few.
                    move || repeat(end, || bed.build_is_right(store, number % VARIANTS, &number.to_string()))
                })
            })
            .collect();
        let prunes = scope.spawn(|| {
            repeat(end, || {
                thread::sleep(Duration::from_millis(100));
                succeeded(&mut bed.command(&store, ["prune", "--all"])).map(|_| ())
            })
        });
        let builds: Vec<_> =
            builders.into_iter().flat_map(|builder| builder.join().unwrap_or_default()).collect();
        (builds, prunes.join().unwrap_or_default())
    });
    println!("crowd: {} builds and {} prunes", builds.len(), prunes.len());
    for (what, results) in [("a build", builds), ("a prune", prunes)] {
        results.into_iter().for_each(|result| tried.add(what, result));
    }
    tried.also("the store afterwards", bed.is_undamaged(&store));
    tried.also("a build afterwards", bed.holds(&store));
    Ok(tried)
}

fn repeat(end: Instant, mut work: impl FnMut() -> Result<(), String>) -> Vec<Result<(), String>> {
    let mut results = Vec::new();
    while Instant::now() < end {
        results.push(work());
    }
    results
}
