//! Makes finished steps durable while other steps run.
//!
//! A flush costs a sync of the disk, so it comes some seconds after a step, unless another build waits
//! for the result: what a lock of the step's key tells.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lbuild_layer_store::{StepLock, Store, StoreError};

/// Steps become durable at least this soon, so that little is lost when the process is killed.
const INTERVAL: Duration = Duration::from_secs(5);
/// How often it is seen whether another build waits.
const POLL: Duration = Duration::from_millis(50);

/// The finished steps of one build.
#[derive(Debug)]
pub(crate) struct Finished {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    /// Stages that have not ended.
    running: usize,
    /// Since when a step waits to become durable.
    oldest: Option<Instant>,
    locks: Vec<StepLock>,
}

impl Finished {
    /// None yet, of a build of so many stages.
    pub fn new(stages: usize) -> Self {
        let state = State { running: stages, oldest: None, locks: Vec::new() };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// A step's result is in the store. Its lock is let go when that is durable.
    pub fn step(&self, lock: Option<StepLock>) {
        let mut state = self.lock();
        state.oldest.get_or_insert_with(Instant::now);
        state.locks.extend(lock);
        self.changed.notify_all();
    }

    /// A stage has ended, however it did.
    pub fn stage(&self) {
        self.lock().running -= 1;
        self.changed.notify_all();
    }

    /// Flushes `store` when it is time, until all stages have ended. What is left is for the caller to
    /// flush, with the locks that he gets.
    ///
    /// # Errors
    /// The last flush's, which left the steps to the next one.
    pub fn keep(&self, store: &Store) -> (Result<(), StoreError>, Vec<StepLock>) {
        let mut result = Ok(());
        let mut state = self.lock();
        while state.running > 0 {
            let Some(oldest) = state.oldest else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            if oldest.elapsed() < INTERVAL && !state.locks.iter().any(StepLock::is_wanted) {
                let waited = self.changed.wait_timeout(state, POLL);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.oldest = None;
            let locks = std::mem::take(&mut state.locks);
            drop(state);
            result = store.flush();
            drop(locks);
            state = self.lock();
        }
        (result, std::mem::take(&mut state.locks))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use lbuild_layer_store::StoreOptions;
    use lbuild_oci::Digest;

    use super::*;

    #[test]
    fn a_wanted_result_is_flushed_at_once_and_others_are_left_to_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let [store, other] = [(); 2].map(|()| Store::open(folder.path(), StoreOptions::default()).unwrap());
        let lock = |store: &Store, key: &Digest| store.lock_step(key, &|| false, &|| ()).unwrap();
        let (wanted, unwanted) = (Digest::of("wanted"), Digest::of("unwanted"));
        let finished = Finished::new(1);
        let held = lock(&store, &wanted);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                drop(lock(&other, &wanted));
                other.cache_get(&wanted)
            });
            let keeps = scope.spawn(|| finished.keep(&store));
            store.cache_put(&wanted, b"made".to_vec(), &[]);
            finished.step(held);
            assert_eq!(waits.join().unwrap().as_deref(), Some(&b"made"[..]));

            finished.step(lock(&store, &unwanted));
            finished.stage();
            let (result, locks) = keeps.join().unwrap();
            result.unwrap();
            assert_eq!(locks.len(), 1);
        });
    }
}
