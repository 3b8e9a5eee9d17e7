//! Keeps prune and the users of a store apart, without either waiting for the other to end.
//!
//! Whoever looks something up holds the lock file's shared lock while he looks, and before he lets go
//! he notes what he found in his process's lease: the file `tmp/<process>.lock`, which the process
//! keeps locked as long as it lives. Prune holds the exclusive lock while it reads the leases and takes
//! names away. So what a living process has found stays, and neither waits longer than that takes.
//!
//! A lease is a list of digests, 32 bytes each; of what kind they are does not matter.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lbuild_oci::{Digest, lock};

use crate::StoreError;
use crate::error::OnPath;

/// How long whoever takes names away waits for those who look something up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

const POLL: Duration = Duration::from_millis(5);
const DIGEST_BYTES: usize = 32;

/// The lock of one user of a store, and his lease.
#[derive(Debug)]
pub(crate) struct StoreLock {
    file: File,
    path: PathBuf,
    lease: Arc<File>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// How many threads look something up.
    lookers: usize,
    /// What the lease has, or gets when the last of them is done.
    held: HashSet<Digest>,
    /// What the lease does not have yet.
    found: Vec<u8>,
}

/// The shared lock; what is found while it is held stays until the process ends.
#[derive(Debug)]
pub(crate) struct Looking<'a>(&'a StoreLock);

/// The exclusive lock.
#[derive(Debug)]
pub(crate) struct Exclusive {
    _file: File,
}

impl StoreLock {
    /// Opens the lock file `path` for a process whose lease is `lease`.
    pub fn open(path: PathBuf, lease: Arc<File>) -> Result<Self, StoreError> {
        let file = open(&path)?;
        Ok(Self { file, path, lease, state: Mutex::default() })
    }

    /// Takes the shared lock; waits while another process takes names away.
    pub fn look(&self) -> Result<Looking<'_>, StoreError> {
        let mut state = lock(&self.state);
        if state.lookers == 0 {
            self.file.lock_shared().on("lock", &self.path)?;
        }
        state.lookers += 1;
        Ok(Looking(self))
    }

    /// Whether the lease has, or is about to have, a digest.
    pub fn holds(&self, digest: &Digest) -> bool {
        lock(&self.state).held.contains(digest)
    }

    /// Takes the exclusive lock; waits for those who look at most `patience`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if they do not end in time, as one that was stopped, or an earlier lbuild.
    pub fn exclusive(&self, store: &Path, patience: Duration) -> Result<Exclusive, StoreError> {
        exclusive(&self.path, store, patience)
    }
}

impl Looking<'_> {
    /// Lets `digest` stay as long as this process lives.
    pub fn hold(&self, digest: &Digest) {
        let mut state = lock(&self.0.state);
        if state.held.insert(*digest) {
            state.found.extend_from_slice(digest.as_bytes());
        }
    }
}

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.lookers -= 1;
        if state.lookers > 0 {
            return;
        }
        let found = std::mem::take(&mut state.found);
        if !found.is_empty() && (&*self.0.lease).write_all(&found).is_err() {
            // On a full disk the lock is the lease: it stays until the process ends.
            state.lookers += 1;
            return;
        }
        // If it fails, the lock stays, which is safe.
        let _ = self.0.file.unlock();
    }
}

/// [`StoreLock::exclusive`] for who has no lease yet.
pub(crate) fn exclusive(path: &Path, store: &Path, patience: Duration) -> Result<Exclusive, StoreError> {
    // An opening of its own, since this process may have the shared lock.
    let file = open(path)?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Exclusive { _file: file }),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(POLL),
            Err(TryLockError::WouldBlock) => return Err(StoreError::Busy { path: store.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(error).on("lock", path),
        }
    }
}

/// What the lease in the file `path` holds. One that is gone holds nothing.
pub(crate) fn read_lease(path: &Path) -> HashSet<Digest> {
    let content = fs::read(path).unwrap_or_default();
    let (digests, _) = content.as_chunks::<DIGEST_BYTES>();
    digests.iter().map(|digest| Digest::from_bytes(*digest)).collect()
}

fn open(path: &Path) -> Result<File, StoreError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).open(path).on("open", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(directory: &Path, name: &str) -> (StoreLock, PathBuf) {
        let lease = directory.join(name);
        let file = Arc::new(File::create(&lease).unwrap());
        (StoreLock::open(directory.join("lock"), file).unwrap(), lease)
    }

    #[test]
    fn prune_waits_for_who_looks_and_not_for_who_has_found() {
        let directory = tempfile::tempdir().unwrap();
        let (one, lease) = user(directory.path(), "lease");
        let found = Digest::of("found");
        let looking = one.look().unwrap();
        looking.hold(&found);
        let refused = one.exclusive(directory.path(), Duration::from_millis(20));
        assert!(matches!(refused, Err(StoreError::Busy { .. })));
        drop(looking);
        let held = one.exclusive(directory.path(), Duration::ZERO).unwrap();
        assert_eq!(read_lease(&lease), HashSet::from([found]));
        let probe = File::open(directory.path().join("lock")).unwrap();
        assert!(matches!(probe.try_lock_shared(), Err(TryLockError::WouldBlock)));
        drop(held);
        probe.try_lock_shared().unwrap();
    }

    #[test]
    fn the_last_of_several_who_look_lets_go_and_nothing_is_noted_twice() {
        let directory = tempfile::tempdir().unwrap();
        let (one, lease) = user(directory.path(), "lease");
        let (first, second) = (one.look().unwrap(), one.look().unwrap());
        first.hold(&Digest::of("a"));
        second.hold(&Digest::of("a"));
        second.hold(&Digest::of("b"));
        drop(first);
        assert!(one.exclusive(directory.path(), Duration::ZERO).is_err());
        drop(second);
        drop(one.exclusive(directory.path(), Duration::ZERO).unwrap());
        one.look().unwrap().hold(&Digest::of("b"));
        assert_eq!(fs::read(&lease).unwrap().len(), 2 * DIGEST_BYTES);
    }

    #[test]
    fn where_a_lease_cannot_be_written_the_lock_stays() {
        let directory = tempfile::tempdir().unwrap();
        let lease = Arc::new(File::options().write(true).open("/dev/full").unwrap());
        let one = StoreLock::open(directory.path().join("lock"), lease).unwrap();
        one.look().unwrap().hold(&Digest::of("a"));
        assert!(one.exclusive(directory.path(), Duration::ZERO).is_err());
        drop(one);
        drop(exclusive(&directory.path().join("lock"), directory.path(), Duration::ZERO).unwrap());
    }
}
