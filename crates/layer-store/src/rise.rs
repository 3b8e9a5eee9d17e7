//! A stack of layers that is unpacked, several layers at the same time.
//!
//! Layers are begun from the lowest to the highest, and one ends when those below it have ended. So the
//! lowest that is in work never waits for another one.
//!
//! Two who unpack the same stack do it once: whoever unpacks holds a lock for each snapshot that he makes,
//! taken from the lowest up. A stack's snapshots have no others below them than its own, so nobody waits for
//! one who waits for him.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use lbuild_confined::Root;
use lbuild_oci::{ChainId, DiffId, lock};
use rustix::fs::Stat;

use crate::ground::Beneath;
use crate::hollow::Depth;
use crate::staging::Scratch;
use crate::step_lock::StepLock;
use crate::{Ownership, Store, StoreError};

/// Layers that are in work at the same time.
const AT_ONCE: usize = 4;

/// One layer of a stack that is unpacked.
pub struct Place<'a> {
    pub(crate) store: &'a Store,
    /// The stack up to this layer.
    pub(crate) layers: &'a [DiffId],
    pub(crate) chain: &'a ChainId,
    progress: &'a Progress,
}

/// How far a stack is.
#[derive(Default)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// For each layer that was begun, whether it is done.
    done: Vec<bool>,
    has_failed: bool,
}

/// Has nobody wait for a layer whose thread panicked.
struct FailureOnPanic<'a>(&'a Progress);

impl Drop for FailureOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.fail();
        }
    }
}

impl Store {
    /// Calls `work` for each layer of a stack, by several threads, the lowest first: to unpack it, with
    /// [`Place::receive`] or [`Place::unpack`], if it is not. What fails first ends the others.
    ///
    /// Other processes that want the same wait until the locks that this returns are dropped: after a
    /// [`Store::flush`], so that they find the result.
    ///
    /// # Errors
    /// That of the `work` that failed first; those of locking.
    pub fn unpack_each<E: From<StoreError> + Send>(
        &self,
        layers: &[DiffId],
        work: &(dyn Fn(&Place<'_>) -> Result<(), E> + Sync),
    ) -> Result<Vec<StepLock>, E> {
        let chains = self.snapshots.chains(layers);
        let missing = self.without_snapshot(&chains)?;
        let alone: Vec<_> = missing.iter().map(|chain| self.snapshots.unpacking(chain)).collect();
        let _alone: Vec<_> = alone.iter().map(|mutex| lock(mutex)).collect();
        let locks = self.lock_chains(&missing)?;
        let progress = Progress::default();
        let (next, failure) = (AtomicUsize::new(0), Mutex::new(None));
        let run = || {
            let _failing = FailureOnPanic(&progress);
            while let Some(index) = progress.begin(&next, layers.len()) {
                let layers = &layers[..=index];
                let place = Place { store: self, layers, chain: &chains[index], progress: &progress };
                match work(&place) {
                    Ok(()) => progress.end(index),
                    Err(error) => {
                        // The first failure tells why; those that it ends do not.
                        lock(&failure).get_or_insert(error);
                        progress.fail();
                    }
                }
            }
        };
        thread::scope(|scope| (0..AT_ONCE.min(layers.len())).for_each(|_| drop(scope.spawn(run))));
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(locks),
        }
    }

    /// Those of `chains` that have no snapshot.
    pub(crate) fn without_snapshot<'c>(&self, chains: &'c [ChainId]) -> Result<Vec<&'c ChainId>, StoreError> {
        let mut missing = Vec::new();
        for chain in chains {
            if !self.has_snapshot(chain)? {
                missing.push(chain);
            }
        }
        Ok(missing)
    }

    /// Takes the locks of `chains`, from the lowest up; none of those that another process unpacked
    /// meanwhile.
    fn lock_chains(&self, chains: &[&ChainId]) -> Result<Vec<StepLock>, StoreError> {
        let mut locks = Vec::new();
        for chain in chains {
            if self.has_snapshot(chain)? {
                continue;
            }
            let lock = self.lock_step(chain.digest(), &|| self.is_cancelled(), &|| self.tell_waiting())?;
            let lock = lock.ok_or(StoreError::Interrupted)?;
            if !self.has_snapshot(chain)? {
                locks.push(lock);
            }
        }
        Ok(locks)
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.fetcher.get().is_some_and(|fetcher| fetcher.is_cancelled())
    }

    fn tell_waiting(&self) {
        if let Some(fetcher) = self.fetcher.get() {
            fetcher.waits();
        }
    }
}

impl Place<'_> {
    /// Which layer of the stack it is, from 0.
    pub fn index(&self) -> usize {
        self.layers.len() - 1
    }

    /// The layer.
    pub fn diff_id(&self) -> &DiffId {
        &self.layers[self.index()]
    }

    /// Whether there is no sense in going on: another layer failed, or the user ended it all.
    ///
    /// # Errors
    /// [`StoreError::Interrupted`].
    pub fn check(&self) -> Result<(), StoreError> {
        match self.progress.has_failed() || self.store.is_cancelled() {
            true => Err(StoreError::Interrupted),
            false => Ok(()),
        }
    }

    /// Takes a finished directory as the layer's snapshot, once those below have theirs.
    pub(crate) fn stage(&self, directory: Scratch) -> Result<(), StoreError> {
        self.progress.wait(self.index())?;
        self.store.hold([self.chain.digest()])?;
        self.store.snapshots.stage(&self.store.layout, *self.chain, directory);
        Ok(())
    }

    fn below(&self) -> &[DiffId] {
        &self.layers[..self.index()]
    }
}

impl Beneath for Place<'_> {
    fn tree(&self) -> Result<Option<Root>, StoreError> {
        self.progress.wait(self.index())?;
        self.store.tree(self.below(), Depth::Whole)
    }

    fn root(&self) -> Result<Stat, StoreError> {
        self.progress.wait(self.index())?;
        self.store.root_stat(self.below())
    }

    fn carry_notes(&self, root: BorrowedFd<'_>) -> Result<(), StoreError> {
        match self.store.options.ownership {
            Ownership::Noted => {
                self.progress.wait(self.index())?;
                self.store.carry_notes(self.below(), root)
            }
            Ownership::Real => Ok(()),
        }
    }
}

impl Progress {
    /// Takes the next of `count` layers, if there is one and none has failed.
    fn begin(&self, next: &AtomicUsize, count: usize) -> Option<usize> {
        let index = next.fetch_add(1, Ordering::Relaxed);
        (index < count && !self.has_failed()).then_some(index)
    }

    fn end(&self, index: usize) {
        let mut state = lock(&self.state);
        if state.done.len() <= index {
            state.done.resize(index + 1, false);
        }
        state.done[index] = true;
        self.changed.notify_all();
    }

    fn fail(&self) {
        lock(&self.state).has_failed = true;
        self.changed.notify_all();
    }

    fn has_failed(&self) -> bool {
        lock(&self.state).has_failed
    }

    /// Waits until the lowest `count` layers are done.
    fn wait(&self, count: usize) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        loop {
            if state.has_failed {
                return Err(StoreError::Interrupted);
            }
            if state.done.iter().take_while(|done| **done).count() >= count {
                return Ok(());
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
