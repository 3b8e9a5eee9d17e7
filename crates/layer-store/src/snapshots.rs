//! Which snapshots there are, and where.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use lbuild_oci::{ChainId, DiffId, lock};
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::StoreError;
use crate::error::OnPath;
use crate::layout::Layout;
use crate::staging::Scratch;

/// The snapshots of a store, with those that only this process knows yet.
#[derive(Debug, Default)]
pub(crate) struct Snapshots {
    /// Those that were looked at, in `snapshots/` or staged.
    known: RwLock<HashMap<ChainId, PathBuf>>,
    /// Those that wait to be named.
    staged: Mutex<Vec<ChainId>>,
    /// One lock for each stack that is being unpacked.
    unpacking: Mutex<HashMap<ChainId, Arc<Mutex<()>>>>,
    /// Stacks by their parent and layer: hashing hundreds of layers for each step would show.
    chains: Mutex<HashMap<(Option<ChainId>, DiffId), ChainId>>,
}

/// Keeps snapshots where they are.
pub(crate) struct Known<'a>(RwLockReadGuard<'a, HashMap<ChainId, PathBuf>>);

impl Known<'_> {
    /// The directory of a snapshot that [`Snapshots::has`] found.
    pub fn path(&self, chain: &ChainId) -> Option<&Path> {
        self.0.get(chain).map(PathBuf::as_path)
    }
}

impl Snapshots {
    /// The stacks that `layers` makes, bottom first.
    pub fn chains(&self, layers: &[DiffId]) -> Vec<ChainId> {
        let mut known = lock(&self.chains);
        let mut parent = None;
        layers
            .iter()
            .map(|layer| {
                let chain =
                    *known.entry((parent, *layer)).or_insert_with(|| ChainId::extend(parent.as_ref(), layer));
                parent = Some(chain);
                chain
            })
            .collect()
    }

    /// Whether a snapshot is there.
    pub fn has(&self, layout: &Layout, chain: &ChainId) -> bool {
        if self.known().path(chain).is_some() {
            return true;
        }
        let path = layout.snapshot(chain);
        let is_there = path.is_dir();
        if is_there {
            self.write().entry(*chain).or_insert(path);
        }
        is_there
    }

    /// While the result is held, no snapshot moves.
    pub fn known(&self) -> Known<'_> {
        Known(self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a finished directory as the snapshot `chain`, unless there is one.
    pub fn stage(&self, layout: &Layout, chain: ChainId, directory: Scratch) {
        if self.has(layout, &chain) {
            return;
        }
        let mut staged = lock(&self.staged);
        if let std::collections::hash_map::Entry::Vacant(vacant) = self.write().entry(chain) {
            vacant.insert(directory.keep());
            staged.push(chain);
        }
    }

    /// Those that wait to be named.
    pub fn staged(&self) -> Vec<ChainId> {
        lock(&self.staged).clone()
    }

    /// Gives a staged snapshot its name. If another process was first, its snapshot is taken; ours
    /// stays staged until this process ends, since mounts may stand on it.
    pub fn publish(&self, layout: &Layout, chain: &ChainId) -> Result<(), StoreError> {
        let target = layout.snapshot(chain);
        let mut known = self.write();
        if let Some(path) = known.get(chain) {
            match rustix::fs::renameat_with(CWD, path, CWD, &target, RenameFlags::NOREPLACE) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error).on("rename", path),
            }
            known.insert(*chain, target);
        }
        drop(known);
        lock(&self.staged).retain(|staged| staged != chain);
        Ok(())
    }

    /// Forgets a snapshot, and returns where it is.
    pub fn remove(&self, layout: &Layout, chain: &ChainId) -> Option<PathBuf> {
        let mut staged = lock(&self.staged);
        let path = self.write().remove(chain);
        staged.retain(|staged| staged != chain);
        path.or_else(|| Some(layout.snapshot(chain)).filter(|path| path.exists()))
    }

    /// Forgets what is in `snapshots/`, after a prune may have removed it.
    pub fn forget(&self) {
        let staged = lock(&self.staged);
        self.write().retain(|chain, _| staged.contains(chain));
    }

    /// The lock that whoever unpacks `chain` holds.
    pub fn unpacking(&self, chain: &ChainId) -> Arc<Mutex<()>> {
        Arc::clone(lock(&self.unpacking).entry(*chain).or_default())
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<ChainId, PathBuf>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}
