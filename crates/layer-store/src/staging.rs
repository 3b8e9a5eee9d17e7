//! What a process has made and not yet named.
//!
//! Each process has one directory in the store's `tmp/`, and holds the lock of the file of the same
//! name with `.lock` added as long as it lives; the file holds its lease ([`crate::lock`]). A directory whose lock can be taken is a dead
//! process's and is cleared by whoever opens the store next. The lock file is made before the
//! directory and removed after it, so a directory without one is dead as well.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use lbuild_oci::Digest;

use crate::error::OnPath;
use crate::lock;
use crate::usage::{self, Usage};
use crate::{StoreError, directory};

const LOCK_SUFFIX: &str = ".lock";

/// This process's directory in `tmp/`; removed with its content when dropped.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    lock_path: PathBuf,
    next: AtomicU64,
    /// Held until the directory is gone.
    lock: Arc<File>,
}

impl Staging {
    /// Makes a new directory in `tmp`, which is made if it is missing.
    pub fn create(tmp: &Path) -> Result<Self, StoreError> {
        fs::create_dir_all(tmp).on("create", tmp)?;
        loop {
            let path = tmp.join(unique_name());
            let lock_path = lock_of(&path);
            let lock = match OpenOptions::new().write(true).create_new(true).open(&lock_path) {
                Ok(lock) => lock,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(error).on("create", lock_path),
            };
            lock.lock().on("lock", &lock_path)?;
            // Whoever clears the dead may have taken the file before it was locked.
            if lock.metadata().on("read", &lock_path)?.nlink() == 0 {
                continue;
            }
            fs::create_dir(&path).on("create", &path)?;
            return Ok(Self { path, lock_path, next: AtomicU64::new(0), lock: Arc::new(lock) });
        }
    }

    /// Removes what dead processes left in `tmp`, and tells how much that was.
    pub fn clear_dead(tmp: &Path, dry_run: bool) -> Result<Usage, StoreError> {
        let mut freed = Usage::default();
        for entry in fs::read_dir(tmp).on("read", tmp)? {
            let path = entry.on("read", tmp)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let directory = match name.strip_suffix(LOCK_SUFFIX) {
                Some(name) => tmp.join(name),
                None if !lock_of(&path).exists() => path.clone(),
                None => continue,
            };
            let lock = match File::open(lock_of(&directory)) {
                Ok(lock) => match lock.try_lock() {
                    Ok(()) => Some(lock),
                    Err(TryLockError::WouldBlock) => continue,
                    Err(TryLockError::Error(error)) => return Err(error).on("lock", path),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error).on("open", path),
            };
            if directory.exists() {
                freed.add(&usage::of(&directory));
            }
            if !dry_run {
                usage::remove_tree(&directory)?;
                remove_file(&lock_of(&directory))?;
            }
            drop(lock);
        }
        Ok(freed)
    }

    /// What the living processes but this one hold.
    pub fn leases_of_others(&self, tmp: &Path) -> Result<HashSet<Digest>, StoreError> {
        let mut held = HashSet::new();
        for entry in fs::read_dir(tmp).on("read", tmp)? {
            let path = entry.on("read", tmp)?.path();
            if path == self.lock_path
                || !path.as_os_str().as_encoded_bytes().ends_with(LOCK_SUFFIX.as_bytes())
            {
                continue;
            }
            let is_alive = File::open(&path).is_ok_and(|lock| lock.try_lock().is_err());
            if is_alive {
                held.extend(lock::read_lease(&path));
            }
        }
        Ok(held)
    }

    /// The file of this process's lease.
    pub fn lease(&self) -> Arc<File> {
        Arc::clone(&self.lock)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A new, empty directory, mode 755.
    pub fn directory(self: &Arc<Self>) -> Result<Scratch, StoreError> {
        let path = self.next_path();
        directory::create(&path).on("create", &path)?;
        Ok(Scratch { path, is_kept: false, _staging: Arc::clone(self) })
    }

    /// A new, empty file, open to be written.
    pub fn file(&self) -> Result<(File, PathBuf), StoreError> {
        let path = self.next_path();
        let file = OpenOptions::new().write(true).create_new(true).open(&path).on("create", &path)?;
        Ok((file, path))
    }

    fn next_path(&self) -> PathBuf {
        self.path.join(self.next.fetch_add(1, Ordering::Relaxed).to_string())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is cleared when the store is opened next.
        if usage::remove_tree(&self.path).is_ok() {
            let _ = remove_file(&self.lock_path);
        }
    }
}

/// A directory in a [`Staging`] area; removed with its content when dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    is_kept: bool,
    _staging: Arc<Staging>,
}

impl Scratch {
    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves the directory where it is, until it is renamed or the staging area ends.
    pub fn keep(mut self) -> PathBuf {
        self.is_kept = true;
        self.path.clone()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed now goes with the staging area.
            let _ = usage::remove_tree(&self.path);
        }
    }
}

/// A name that no other process and no other call gives.
pub(crate) fn unique_name() -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("{}-{:x}-{count}", std::process::id(), now.as_nanos())
}

fn lock_of(directory: &Path) -> PathBuf {
    let mut name = directory.as_os_str().to_owned();
    name.push(LOCK_SUFFIX);
    PathBuf::from(name)
}

/// Removes a file that need not be there.
pub(crate) fn remove_file(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error).on("remove", path),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_staging_area_goes_with_its_owner() {
        let tmp = tempfile::tempdir().unwrap();
        let staging = Staging::create(tmp.path()).unwrap();
        let (_, file) = staging.file().unwrap();
        assert!(file.exists());
        drop(staging);
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_the_dead_are_cleared() {
        let tmp = tempfile::tempdir().unwrap();
        let alive = Staging::create(tmp.path()).unwrap();
        let (_, kept) = alive.file().unwrap();
        let dead = tmp.path().join("1-dead");
        fs::create_dir_all(dead.join("work/work")).unwrap();
        fs::write(dead.join("file"), vec![1; 100_000]).unwrap();
        fs::set_permissions(dead.join("work/work"), fs::Permissions::from_mode(0o000)).unwrap();
        fs::write(tmp.path().join("1-dead.lock"), "").unwrap();
        fs::create_dir(tmp.path().join("2-without-a-lock")).unwrap();

        let counted = Staging::clear_dead(tmp.path(), true).unwrap();
        assert!(dead.exists());
        let freed = Staging::clear_dead(tmp.path(), false).unwrap();
        assert_eq!(counted, freed);
        assert!(freed.bytes >= 100_000);
        assert!(kept.exists());
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_dropped_scratch_directory_is_removed_and_a_kept_one_stays() {
        let tmp = tempfile::tempdir().unwrap();
        let staging = Arc::new(Staging::create(tmp.path()).unwrap());
        let scratch = staging.directory().unwrap();
        let path = scratch.path().to_owned();
        fs::write(path.join("file"), "").unwrap();
        drop(scratch);
        assert!(!path.exists());
        assert!(staging.directory().unwrap().keep().exists());
    }
}
