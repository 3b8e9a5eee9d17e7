//! Directories that outlive builds: what `RUN --mount=type=cache` writes to.
//!
//! `cache-mounts/<digest of the id>/` holds the file `id`, and for each copy that is in use at the
//! same time a directory `<n>` and a lock `<n>.lock`. An id is hashed and never a path. Locks end
//! with the process that holds them.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use lbuild_confined::Root;
use lbuild_oci::Digest;

use crate::image::file_names;
use crate::{Store, StoreError, record, usage};

/// Holds the id; its time is the last use.
pub(crate) const ID_FILE: &str = "id";
/// How often a lock that another process holds is tried again.
const RETRY: Duration = Duration::from_millis(20);
/// As many copies of one private cache as are tried.
const MAX_PRIVATE: usize = 1024;

/// Who may use a cache mount at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheMountSharing {
    /// Any number of runs.
    #[default]
    Shared,
    /// One run; another one gets a copy of its own, empty at first.
    Private,
    /// One run; another one waits.
    Locked,
}

/// A cache mount in use; dropping it gives it back.
#[derive(Debug)]
pub struct CacheMountGuard {
    root: Root,
    _lock: File,
}

/// A cache mount on disk.
#[derive(Debug)]
pub(crate) struct CacheMountFolder {
    pub folder: PathBuf,
    pub last_used: SystemTime,
    /// Whether a run has one of its copies now.
    pub is_in_use: bool,
}

impl CacheMountGuard {
    /// The directory.
    pub fn root(&self) -> &Root {
        &self.root
    }
}

impl Store {
    /// Takes the cache mount `id`, which is made if it does not exist; `fill` then gives it its
    /// first content. Waits for others as `sharing` says, until `cancelled` is true.
    ///
    /// # Errors
    /// `Ok(None)` if it was cancelled; [`StoreError::Io`], or what `fill` returns, after which the
    /// cache mount does not exist.
    pub fn cache_mount<E: From<StoreError>>(
        &self,
        id: &str,
        sharing: CacheMountSharing,
        cancelled: &dyn Fn() -> bool,
        fill: &mut dyn FnMut(&Root) -> Result<(), E>,
    ) -> Result<Option<CacheMountGuard>, E> {
        let folder = self.layout.cache_mounts().join(Digest::of(id).hex());
        loop {
            if let Some((copy, lock)) = self.take_copy(&folder, id, sharing)? {
                let root = open_filled(&folder, copy, fill)?;
                return Ok(Some(CacheMountGuard { root, _lock: lock }));
            }
            if cancelled() {
                return Ok(None);
            }
            thread::sleep(RETRY);
        }
    }

    /// The folders of all cache mounts.
    pub(crate) fn cache_mount_folders(&self) -> Result<Vec<CacheMountFolder>, StoreError> {
        let directory = self.layout.cache_mounts();
        if !directory.exists() {
            return Ok(Vec::new());
        }
        let names = file_names(&directory)?;
        names.into_iter().map(|name| CacheMountFolder::look(directory.join(name))).collect()
    }

    /// A copy that is free, and its lock.
    fn take_copy(
        &self,
        folder: &Path,
        id: &str,
        sharing: CacheMountSharing,
    ) -> Result<Option<(usize, File)>, StoreError> {
        // Until it is locked, a prune may remove it.
        let _looking = self.looking()?;
        make_folder(folder, id)?;
        let copies = if sharing == CacheMountSharing::Private { MAX_PRIVATE } else { 1 };
        for copy in 0..copies {
            if let Some(lock) = try_lock(&folder.join(format!("{copy}.lock")), sharing)? {
                return Ok(Some((copy, lock)));
            }
        }
        Ok(None)
    }
}

impl CacheMountFolder {
    fn look(folder: PathBuf) -> Result<Self, StoreError> {
        let last_used = usage::last_modified(&folder.join(ID_FILE));
        let mut is_in_use = false;
        for name in file_names(&folder)? {
            if name.ends_with(".lock") {
                let lock = File::open(folder.join(name)).map_err(failed("open", &folder))?;
                is_in_use |= lock.try_lock().is_err();
            }
        }
        Ok(Self { folder, last_used, is_in_use })
    }
}

fn make_folder(folder: &Path, id: &str) -> Result<(), StoreError> {
    fs::create_dir_all(folder).map_err(failed("create", folder))?;
    let name = folder.join(ID_FILE);
    if !name.exists() {
        fs::write(&name, id).map_err(failed("write", &name))?;
    }
    record::touch(&name);
    Ok(())
}

/// Locks `path` as `sharing` says; `None` if another run holds it.
fn try_lock(path: &Path, sharing: CacheMountSharing) -> Result<Option<File>, StoreError> {
    let file = open_lock(path)?;
    let locked = match sharing {
        CacheMountSharing::Shared => file.try_lock_shared(),
        CacheMountSharing::Private | CacheMountSharing::Locked => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(failed("lock", path)(error)),
    }
}

fn open_lock(path: &Path) -> Result<File, StoreError> {
    File::options().create(true).truncate(false).write(true).open(path).map_err(failed("create", path))
}

/// The directory of a copy; one process at a time may find that it has to be filled.
fn open_filled<E: From<StoreError>>(
    folder: &Path,
    copy: usize,
    fill: &mut dyn FnMut(&Root) -> Result<(), E>,
) -> Result<Root, E> {
    let path = folder.join(copy.to_string());
    let making = open_lock(&folder.join("making.lock"))?;
    making.lock().map_err(failed("lock", folder))?;
    // Not followed, whoever put it there: what it leads to is no cache.
    if path.is_symlink() {
        fs::remove_file(&path).map_err(failed("remove", &path))?;
    }
    if !path.exists() {
        let aside = folder.join(format!("{copy}.new"));
        // A leftover of a process that was killed while it filled the directory.
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(failed("remove", &aside))?;
        }
        fs::create_dir(&aside).map_err(failed("create", &aside))?;
        fill(&Root::open(&aside).map_err(failed("open", &aside))?)?;
        fs::rename(&aside, &path).map_err(failed("rename", &aside))?;
    }
    Ok(Root::open(&path).map_err(failed("open", &path))?)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path: PathBuf = path.to_owned();
    move |source| StoreError::Io { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;

    fn take(store: &Store, id: &str, sharing: CacheMountSharing) -> Option<CacheMountGuard> {
        let mut fill = |root: &Root| -> Result<(), StoreError> {
            root.create_dir_all("first", rustix::fs::Mode::RWXU).unwrap();
            Ok(())
        };
        store.cache_mount(id, sharing, &|| true, &mut fill).unwrap()
    }

    #[test]
    fn sharing_decides_who_waits() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
        let first = take(&store, "a", CacheMountSharing::Shared).unwrap();
        first.root().create_dir_all("kept", rustix::fs::Mode::RWXU).unwrap();
        let second = take(&store, "a", CacheMountSharing::Shared).unwrap();
        assert!(second.root().stat("kept").is_ok());
        assert!(take(&store, "a", CacheMountSharing::Locked).is_none());
        let private = take(&store, "a", CacheMountSharing::Private).unwrap();
        assert!(private.root().stat("kept").is_err());
        assert!(private.root().stat("first").is_ok());
        assert!(take(&store, "b", CacheMountSharing::Locked).is_some());
        drop((first, second));
        assert!(take(&store, "a", CacheMountSharing::Locked).unwrap().root().stat("kept").is_ok());
    }

    #[test]
    fn an_id_is_never_a_path() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), StoreOptions::default()).unwrap();
        assert!(take(&store, "../../../escaped", CacheMountSharing::Shared).is_some());
        assert!(!folder.path().join("escaped").exists());
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["store"]);
    }

    #[test]
    fn a_cache_that_could_not_be_filled_does_not_exist() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
        let mut fail =
            |_: &Root| -> Result<(), StoreError> { Err(StoreError::UnknownBlob(Digest::of("missing"))) };
        assert!(store.cache_mount("a", CacheMountSharing::Shared, &|| true, &mut fail).is_err());
        assert!(take(&store, "a", CacheMountSharing::Shared).unwrap().root().stat("first").is_ok());
    }
}
