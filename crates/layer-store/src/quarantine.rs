//! What the disk damaged: moved out of the way, told once, and made again when it is needed next.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lbuild_oci::{ChainId, DiffId, lock};

use crate::error::OnPath;
use crate::image::file_names;
use crate::inventory::Inventory;
use crate::{Store, StoreError, record, staging};

/// A damaged file or tree that was moved to the store's `quarantine/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Where it was, from the store's directory.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, reason } = self;
        write!(f, "{} is damaged ({reason}) and was moved to quarantine", path.display())
    }
}

impl Store {
    /// The damage that was met and moved away since the last call.
    pub fn take_damage(&self) -> Vec<Damage> {
        std::mem::take(&mut lock(&self.damage))
    }

    /// The body of a record; a damaged one is moved away and counts as absent.
    pub(crate) fn read_record(&self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        match record::read(path) {
            Err(StoreError::Damaged { path, reason }) => self.set_aside(&path, &reason).map(|()| None),
            result => result,
        }
    }

    /// [`Store::read_record`] of a JSON record.
    pub(crate) fn read_json_record<T: serde::de::DeserializeOwned>(
        &self,
        path: &Path,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.read_record(path)?.and_then(|body| serde_json::from_slice(&body).ok()))
    }

    /// Moves what is damaged out of the way, and keeps in mind to tell of it.
    pub(crate) fn set_aside(&self, path: &Path, reason: &str) -> Result<(), StoreError> {
        if self.move_aside(path)? {
            lock(&self.set_aside).insert(path.to_owned());
            let path = path.strip_prefix(self.root()).unwrap_or(path).to_owned();
            lock(&self.damage).push(Damage { path, reason: reason.to_owned() });
        }
        Ok(())
    }

    /// Whether this process moved away what was at `path`.
    pub(crate) fn was_set_aside(&self, path: &Path) -> bool {
        lock(&self.set_aside).contains(path)
    }

    /// Whether it was there to be moved.
    pub(crate) fn move_aside(&self, path: &Path) -> Result<bool, StoreError> {
        let quarantine = self.layout.quarantine();
        fs::create_dir_all(&quarantine).on("create", &quarantine)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match fs::rename(path, quarantine.join(format!("{name}.{}", staging::unique_name()))) {
            // Another process was first.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            result => result.on("move to quarantine", path).map(|()| true),
        }
    }

    /// Moves a damaged snapshot away. Trees that stand on it live on; what was made on top of it may be
    /// wrong, so those steps' results are forgotten.
    pub(crate) fn set_aside_snapshot(&self, chain: &ChainId, reason: &str) -> Result<(), StoreError> {
        let Some(path) = self.snapshots.remove(&self.layout, chain) else { return Ok(()) };
        self.set_aside(&path, reason)?;
        lock(&self.whiteouts).remove(chain);
        self.forget_built_on(chain)
    }

    /// What lies in quarantine.
    pub(crate) fn quarantined(&self) -> Result<Vec<PathBuf>, StoreError> {
        let quarantine = self.layout.quarantine();
        if !quarantine.exists() {
            return Ok(Vec::new());
        }
        Ok(file_names(&quarantine)?.into_iter().map(|name| quarantine.join(name)).collect())
    }

    /// Removes the records of all steps that stood on the snapshot `chain`, or looked at a tree that did.
    fn forget_built_on(&self, chain: &ChainId) -> Result<(), StoreError> {
        let inventory = Inventory::read(self)?;
        let images = inventory.images.iter().map(|(image, _)| &image.layers);
        let stacks = images.chain(inventory.steps.iter().filter_map(|step| step.layers.as_ref()));
        let affected: HashSet<String> = stacks.flat_map(|stack| self.chains_on(chain, stack)).collect();
        let is_affected = |layers: &[DiffId], bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes);
            !self.chains_on(chain, layers).is_empty() || affected.iter().any(|chain| text.contains(chain))
        };
        lock(&self.pending).cache.retain(|_, record| !is_affected(&record.layers, &record.bytes));
        for step in &inventory.steps {
            let Some(layers) = &step.layers else { continue };
            let bytes = fs::read(&step.path).unwrap_or_default();
            if is_affected(layers, &bytes) {
                fs::remove_file(&step.path).on("remove", &step.path)?;
            }
        }
        Ok(())
    }

    /// The digits of the chains of `stack` from `chain` on; none if it does not have that.
    fn chains_on(&self, chain: &ChainId, stack: &[DiffId]) -> Vec<String> {
        let chains = self.snapshots.chains(stack);
        chains.iter().skip_while(|one| *one != chain).map(|one| one.digest().hex()).collect()
    }
}
