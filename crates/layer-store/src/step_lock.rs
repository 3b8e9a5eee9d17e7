//! Keeps two processes from making the same thing at the same time.
//!
//! Whoever makes it holds the file `locks/<key>` locked until the result is durable; the lock ends with
//! the process. Whoever waits writes into the file, so that its holder makes the result durable soon.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lbuild_oci::Digest;

use crate::error::OnPath;
use crate::layout::Layout;
use crate::{Store, StoreError};

/// How often a lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// The lock of one key; dropping it lets others look at the result.
#[derive(Debug)]
pub struct StepLock {
    file: File,
    path: PathBuf,
}

impl StepLock {
    /// Whether another process waits for it.
    pub fn is_wanted(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.len() > 0)
    }
}

impl Drop for StepLock {
    fn drop(&mut self) {
        // Those who wait see that the file has no name any more. One that stays does no harm.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// Takes the lock of `key`; `None` if `cancelled` was true before another process let it go.
    /// `waiting` is called once if there is one. Afterwards the result may be there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn lock_step(
        &self,
        key: &Digest,
        cancelled: &dyn Fn() -> bool,
        waiting: &dyn Fn(),
    ) -> Result<Option<StepLock>, StoreError> {
        let path = self.layout.step_lock(key);
        let mut has_waited = false;
        loop {
            let mut file = open(&path)?;
            match file.try_lock() {
                // Its last holder may have removed it meanwhile.
                Ok(()) if file.metadata().on("read", &path)?.nlink() > 0 => {
                    file.set_len(0).on("write", &path)?;
                    return Ok(Some(StepLock { file, path }));
                }
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error).on("lock", path),
            }
            if !has_waited {
                has_waited = true;
                waiting();
            }
            // On a full disk its holder takes longer.
            let _ = file.write_all(b"w");
            if cancelled() {
                return Ok(None);
            }
            thread::sleep(RETRY);
        }
    }
}

/// Removes the lock files of dead processes.
pub(crate) fn clear_dead(layout: &Layout) {
    for entry in fs::read_dir(layout.step_locks()).into_iter().flatten().flatten() {
        let path = entry.path();
        if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            // What cannot be removed is in nobody's way.
            let _ = fs::remove_file(path);
        }
    }
}

fn open(path: &Path) -> Result<File, StoreError> {
    let open = || OpenOptions::new().write(true).create(true).truncate(false).open(path);
    let opened = open().or_else(|error| match (error.kind(), path.parent()) {
        (io::ErrorKind::NotFound, Some(parent)) => fs::create_dir_all(parent).and_then(|()| open()),
        _ => Err(error),
    });
    opened.on("create", path)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::StoreOptions;

    #[test]
    fn who_comes_second_waits_and_is_heard() {
        let folder = tempfile::tempdir().unwrap();
        let [one, two] = [(); 2].map(|()| Store::open(folder.path(), StoreOptions::default()).unwrap());
        let key = Digest::of("step");
        let waited = AtomicUsize::new(0);
        let lock = |store: &Store, is_cancelled: bool| {
            store.lock_step(&key, &|| is_cancelled, &|| _ = waited.fetch_add(1, Ordering::Relaxed)).unwrap()
        };
        let held = lock(&one, false).unwrap();
        assert!(!held.is_wanted());
        assert!(lock(&two, true).is_none());
        assert!(held.is_wanted());
        thread::scope(|scope| {
            let second = scope.spawn(|| lock(&two, false).is_some());
            while waited.load(Ordering::Relaxed) < 2 {
                thread::sleep(Duration::from_millis(1));
            }
            drop(held);
            assert!(second.join().unwrap());
        });
        assert_eq!(fs::read_dir(one.layout.step_locks()).unwrap().count(), 0);
    }

    #[test]
    fn a_dead_processs_lock_holds_nobody_and_is_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
        let (dead, alive) = (Digest::of("dead"), Digest::of("alive"));
        let held = store.lock_step(&alive, &|| false, &|| ()).unwrap().unwrap();
        fs::write(store.layout.step_lock(&dead), "w").unwrap();
        clear_dead(&store.layout);
        assert!(held.path.exists() && !store.layout.step_lock(&dead).exists());
        fs::write(store.layout.step_lock(&dead), "w").unwrap();
        let taken = store.lock_step(&dead, &|| true, &|| panic!("nobody has it")).unwrap().unwrap();
        assert!(!taken.is_wanted());
    }
}
