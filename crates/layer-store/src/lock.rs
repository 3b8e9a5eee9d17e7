//! Keeps prune and the users of a store apart.
//!
//! Every open store holds the lock file's shared lock; prune takes the exclusive one.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::StoreError;
use crate::error::OnPath;

const POLL: Duration = Duration::from_millis(20);

/// The shared lock of one user of a store.
#[derive(Debug)]
pub(crate) struct StoreLock {
    file: File,
    path: PathBuf,
}

/// The exclusive lock; the shared one again when dropped.
#[derive(Debug)]
pub(crate) struct Exclusive<'a> {
    lock: &'a StoreLock,
}

impl StoreLock {
    /// Takes the shared lock; waits while another process prunes.
    pub fn shared(path: PathBuf) -> Result<Self, StoreError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .on("open", &path)?;
        file.lock_shared().on("lock", &path)?;
        Ok(Self { file, path })
    }

    /// Takes the exclusive lock; waits for other users at most `patience`.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if they do not end in time.
    pub fn exclusive(&self, store: &Path, patience: Duration) -> Result<Exclusive<'_>, StoreError> {
        let deadline = Instant::now() + patience;
        loop {
            // A failed attempt gives up the shared lock, which lets several that wait get on.
            match self.file.try_lock() {
                Ok(()) => return Ok(Exclusive { lock: self }),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(POLL),
                Err(error) => {
                    self.file.lock_shared().on("lock", &self.path)?;
                    return match error {
                        TryLockError::WouldBlock => Err(StoreError::Busy { path: store.to_owned() }),
                        TryLockError::Error(error) => Err(error).on("lock", &self.path),
                    };
                }
            }
        }
    }
}

impl Drop for Exclusive<'_> {
    fn drop(&mut self) {
        // Going from exclusive to shared needs nobody's consent; if it fails all the same, the
        // exclusive lock stays, which is safe.
        let _ = self.lock.file.lock_shared();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prune_waits_for_other_users_and_then_gives_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let one = StoreLock::shared(path.clone()).unwrap();
        let two = StoreLock::shared(path.clone()).unwrap();
        let refused = one.exclusive(directory.path(), Duration::from_millis(50));
        assert!(matches!(refused, Err(StoreError::Busy { .. })));

        let waiter = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(two);
        });
        let held = one.exclusive(directory.path(), Duration::from_secs(10)).unwrap();
        waiter.join().unwrap();
        let probe = File::open(&path).unwrap();
        assert!(matches!(probe.try_lock_shared(), Err(TryLockError::WouldBlock)));
        drop(held);
        probe.try_lock_shared().unwrap();
        assert!(matches!(probe.try_lock(), Err(TryLockError::WouldBlock)));
    }
}
