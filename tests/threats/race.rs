//! Two names that trade places while a build looks at them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// As many swaps as make a race.
pub const SWAPS: u64 = 10_000;

/// A thread that swaps two names until it is told to end.
pub struct Swaps {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Swaps {
    /// Starts to swap `one` and `other`, which both exist and stay in place in the end.
    pub fn start(one: &Path, other: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (one, other, stopped) = (one.to_owned(), other.to_owned(), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut swaps = 0;
            while swaps < SWAPS || swaps % 2 == 1 || !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE).unwrap();
                swaps += 1;
                // So that each of the two is there for as long as a look-up takes.
                if swaps % 16 == 0 {
                    std::thread::yield_now();
                }
            }
            swaps
        });
        Self { stop, thread }
    }

    /// Ends it. There were at least [`SWAPS`].
    pub fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let swaps = self.thread.join().unwrap();
        assert!(swaps >= SWAPS, "only {swaps} swaps");
    }
}
