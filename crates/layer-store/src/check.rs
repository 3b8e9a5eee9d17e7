//! Verifies everything that a store holds by its digest.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use lbuild_oci::{ChainId, DiffId, Digest, Hasher};

use crate::error::OnPath;
use crate::image::file_names;
use crate::inventory::{Inventory, Part};
use crate::name::NameRecord;
use crate::pack::TarSink;
use crate::{Layer, Store, StoreError, directory, record, seal};

/// What [`Store::check`](crate::Store::check) found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Files and trees that were verified.
    pub verified: u64,
    /// Unpacked layers that no image and no cached step names, so that nothing says what they should be;
    /// nothing uses them either.
    pub unnamed: u64,
    /// Layers that are known and not here: they are verified when they are fetched.
    pub elsewhere: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where, from the store's directory.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
    /// Whether it was moved to `quarantine/`.
    pub is_repaired: bool,
}

/// A check that is under way.
struct Check<'a> {
    store: &'a Store,
    is_repairing: bool,
    report: CheckReport,
    /// Layers whose tar cannot be had.
    bad_layers: HashSet<DiffId>,
    /// Layers whose tar is elsewhere.
    distant_layers: HashSet<DiffId>,
}

impl Store {
    /// Verifies records by their checksums, images and blobs by their digests, and unpacked layers by
    /// packing them again. Builds go on meanwhile. If `is_repairing`, what is damaged is moved to
    /// `quarantine/`, with what cannot be used without it: the next build or load makes it again.
    ///
    /// # Errors
    /// [`StoreError::Io`] if something cannot be read at all.
    pub fn check(&self, is_repairing: bool) -> Result<CheckReport, StoreError> {
        let report = CheckReport::default();
        let (bad_layers, distant_layers) = (HashSet::new(), HashSet::new());
        let mut check = Check { store: self, is_repairing, report, bad_layers, distant_layers };
        check.blobs()?;
        check.layers()?;
        check.snapshots()?;
        check.images()?;
        check.names()?;
        check.steps()?;
        Ok(check.report)
    }
}

impl Check<'_> {
    fn blobs(&mut self) -> Result<(), StoreError> {
        let directory = self.store.layout.blobs();
        for name in file_names(&directory)? {
            let path = directory.join(&name);
            let Ok(expected) = Digest::from_hex(&name) else {
                self.found(&path, "no blob has such a name")?;
                continue;
            };
            // A blob that a prune took meanwhile is none.
            let Some(actual) = digest_of(&path)? else { continue };
            self.verify(&path, actual == expected, "its digest is another")?;
        }
        Ok(())
    }

    fn layers(&mut self) -> Result<(), StoreError> {
        let directory = self.store.layout.layers();
        for name in file_names(&directory)? {
            let path = directory.join(&name);
            let Some(layer) = self.read_json::<Layer>(&path)? else { continue };
            let has_name = layer.diff_id.digest().hex() == name;
            let blob = layer.blob.as_ref().map(|blob| self.store.layout.blob(&blob.digest));
            let source = blob.or_else(|| layer.snapshot.map(|chain| self.store.layout.snapshot(&chain)));
            let is_here = source.is_some_and(|source| source.exists() && !self.has_found(&source));
            if has_name && !is_here && layer.is_to_be_had_elsewhere() {
                self.distant_layers.insert(layer.diff_id);
                self.report.elsewhere += 1;
            } else if !has_name || !is_here {
                self.bad_layers.insert(layer.diff_id);
                self.found(&path, "the layer that it describes is not there")?;
            }
        }
        Ok(())
    }

    fn snapshots(&mut self) -> Result<(), StoreError> {
        let inventory = Inventory::read(self.store)?;
        let mut stacks: HashMap<ChainId, Vec<DiffId>> = HashMap::new();
        let images = inventory.images.iter().map(|(image, _)| &image.layers);
        for stack in images.chain(inventory.steps.iter().filter_map(|step| step.layers.as_ref())) {
            for (index, chain) in self.store.snapshots.chains(stack).into_iter().enumerate() {
                stacks.entry(chain).or_insert_with(|| stack[..=index].to_vec());
            }
        }
        let snapshots = self.store.layout.snapshots();
        for stranger in inventory.strangers.iter().filter(|path| path.starts_with(&snapshots)) {
            self.found(stranger, "nothing in a store has such a name")?;
        }
        // What others are reproduced from comes first, and what lies below before what lies on it.
        let mut chains: Vec<(ChainId, Option<&Vec<DiffId>>)> =
            inventory.parts.iter().filter_map(Part::chain).map(|chain| (chain, stacks.get(&chain))).collect();
        let is_source = |chain: &ChainId, stack: &[DiffId]| {
            stack.last().and_then(|top| inventory.layer(top)).is_some_and(|layer| is_reproduced(layer, chain))
        };
        chains.sort_by_key(|(chain, stack)| {
            stack.map_or((false, 0), |stack| (!is_source(chain, stack), stack.len()))
        });
        for (chain, stack) in chains {
            let layer = stack.and_then(|stack| Some((stack, inventory.layer(stack.last()?)?)));
            let Some((stack, layer)) = layer else {
                self.report.unnamed += 1;
                continue;
            };
            self.snapshot(&chain, stack, layer)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, chain: &ChainId, stack: &[DiffId], layer: &Layer) -> Result<(), StoreError> {
        if !self.store.has_snapshot(chain)? {
            return Ok(());
        }
        let path = self.store.layout.snapshot(chain);
        let expected = if is_reproduced(layer, chain) {
            layer.diff_id.0
        } else if !stack.iter().all(|layer| self.has_tar(layer)) {
            // There is nothing to compare it with.
            return Ok(());
        } else {
            match self.unpacked_again(stack, layer) {
                Ok(expected) => expected,
                Err(error) => return self.found(&path, &format!("its layer cannot be unpacked: {error}")),
            }
        };
        let latest = if is_reproduced(layer, chain) { layer.latest_mtime } else { None };
        let actual = self.packed(&path, latest);
        let is_sound = actual.is_ok_and(|actual| actual == expected);
        self.report.verified += 1;
        if is_sound {
            return Ok(());
        }
        if is_reproduced(layer, chain) {
            self.bad_layers.insert(layer.diff_id);
            self.found(&self.store.layout.layer(&layer.diff_id), "the layer that it describes is not there")?;
        }
        self.add(&path, "its files are not those of its layer");
        if self.is_repairing {
            self.store.set_aside_snapshot(chain, "its files are not those of its layer")?;
            self.store.take_damage();
        }
        Ok(())
    }

    /// The digest of what a layer unpacks to.
    fn unpacked_again(&self, stack: &[DiffId], layer: &Layer) -> Result<Digest, StoreError> {
        self.store.unpack_missing(&stack[..stack.len() - 1])?;
        let write =
            |output: &mut dyn io::Write| self.store.write_layer_tar(&layer.diff_id, output).map(|_| ());
        let scratch = self.store.apply(stack, write)?;
        self.packed(scratch.path(), None)
    }

    fn packed(&self, path: &Path, latest_mtime: Option<i64>) -> Result<Digest, StoreError> {
        let opened = directory::open(path).on("open", path)?;
        let mut sink = TarSink::new(None);
        seal::replay(opened.as_fd(), self.store.marks, latest_mtime, &mut sink)?;
        Ok(sink.finish()?.diff_id.0)
    }

    fn images(&mut self) -> Result<(), StoreError> {
        for name in file_names(&self.store.layout.images())? {
            let path = self.store.layout.images().join(&name);
            let Some(stored) = self.read_json::<crate::image::StoredImage>(&path)? else { continue };
            let missing =
                stored.image.layers.iter().find(|layer| {
                    self.bad_layers.contains(layer) || !self.store.layout.layer(layer).exists()
                });
            let manifest = stored.image.manifest.map(|digest| self.store.layout.blob(&digest));
            if stored.image.id.hex() != name {
                self.found(&path, "it is another image's")?;
            } else if let Err(error) = crate::image::check(&stored.image, stored.config.as_bytes()) {
                self.found(&path, &error.to_string())?;
            } else if let Some(layer) = missing {
                self.found(&path, &format!("its layer {layer} is not there"))?;
            } else if manifest.is_some_and(|manifest| !manifest.exists()) {
                self.found(&path, "its manifest is not there")?;
            }
        }
        Ok(())
    }

    fn names(&mut self) -> Result<(), StoreError> {
        for file in file_names(&self.store.layout.names())? {
            let path = self.store.layout.names().join(&file);
            let Some(stored) = self.read_json::<NameRecord>(&path)? else { continue };
            let image = self.store.layout.image(&stored.image);
            if self.store.layout.name(&stored.name) != path {
                self.found(&path, "it is another name's")?;
            } else if !image.exists() || self.has_found(&image) {
                self.found(&path, &format!("{} is the name of an image that is not there", stored.name))?;
            }
        }
        Ok(())
    }

    fn steps(&mut self) -> Result<(), StoreError> {
        for shard in file_names(&self.store.layout.cache())? {
            let shard = self.store.layout.cache().join(shard);
            for name in file_names(&shard)? {
                let path = shard.join(name);
                let Some(body) = self.read(&path)? else { continue };
                let Some(record) = crate::cache::CacheRecord::decode(&body) else {
                    self.found(&path, "it is no record of a step")?;
                    continue;
                };
                let is_gone = |layer: &DiffId| {
                    self.bad_layers.contains(layer) || !self.store.layout.layer(layer).exists()
                };
                if record.layers.iter().any(is_gone) {
                    self.found(&path, "a layer that the step made is not there")?;
                }
            }
        }
        Ok(())
    }

    fn read_json<T: serde::de::DeserializeOwned>(&mut self, path: &Path) -> Result<Option<T>, StoreError> {
        let Some(body) = self.read(path)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&body);
        if parsed.is_err() {
            self.found(path, "it cannot be read")?;
        }
        Ok(parsed.ok())
    }

    fn read(&mut self, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
        match record::read(path) {
            Err(StoreError::Damaged { reason, .. }) => self.found(path, &reason).map(|()| None),
            result => {
                self.report.verified += 1;
                result
            }
        }
    }

    fn verify(&mut self, path: &Path, is_sound: bool, reason: &str) -> Result<(), StoreError> {
        self.report.verified += 1;
        if is_sound { Ok(()) } else { self.found(path, reason) }
    }

    fn found(&mut self, path: &Path, reason: &str) -> Result<(), StoreError> {
        self.add(path, reason);
        if self.is_repairing {
            self.store.move_aside(path)?;
        }
        Ok(())
    }

    fn add(&mut self, path: &Path, reason: &str) {
        let path = path.strip_prefix(self.store.root()).unwrap_or(path).to_owned();
        self.report.findings.push(Finding {
            path,
            reason: reason.to_owned(),
            is_repaired: self.is_repairing,
        });
    }

    /// Whether a layer's tar is here, as far as the check has come.
    fn has_tar(&self, layer: &DiffId) -> bool {
        !self.bad_layers.contains(layer) && !self.distant_layers.contains(layer)
    }

    fn has_found(&self, path: &Path) -> bool {
        let path = path.strip_prefix(self.store.root()).unwrap_or(path);
        self.report.findings.iter().any(|finding| finding.path == path)
    }
}

/// Whether the layer's tar is packed from the snapshot `chain`.
fn is_reproduced(layer: &Layer, chain: &ChainId) -> bool {
    layer.blob.is_none() && layer.snapshot == Some(*chain)
}

/// The digest of a file's bytes; `None` if there is no file.
pub(crate) fn digest_of(path: &Path) -> Result<Option<Digest>, StoreError> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.on("open", path)?,
    };
    let mut hasher = HashingSink(Hasher::new());
    io::copy(&mut file, &mut hasher).on("read", path)?;
    Ok(Some(hasher.0.finish()))
}

struct HashingSink(Hasher);

impl io::Write for HashingSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{CommitOptions, ImageRecord, PrepareOptions, StoreOptions};

    /// A store with one layer, an image, its name and a cached step.
    fn filled(root: &Path) -> (Store, Layer) {
        let store = Store::open(root, StoreOptions::default()).unwrap();
        let active = store.prepare(&[], &PrepareOptions::default()).unwrap();
        active.root().create_dir_all("folder", rustix::fs::Mode::RWXU).unwrap();
        let layer = store.commit(active, &CommitOptions::default()).unwrap().unwrap();
        store.cache_put(&Digest::of("step"), Vec::new(), &[layer.diff_id]);
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
        });
        let config = lbuild_oci::json::canonical(&config);
        let id = Digest::of(&config);
        let image = ImageRecord {
            id,
            layers: vec![layer.diff_id],
            platform: lbuild_oci::Platform::host(),
            created: None,
            manifest: Some(store.write_blob(&mut &b"{}"[..], None).unwrap().0),
            annotations: Default::default(),
        };
        store.put_image(&image, &config).unwrap();
        store.tag(&"x".parse().unwrap(), &id).unwrap();
        (store, layer)
    }

    #[test]
    fn a_sound_store_has_no_findings() {
        let folder = tempfile::tempdir().unwrap();
        let (store, _) = filled(folder.path());
        let report = store.check(false).unwrap();
        assert_eq!((report.findings, report.unnamed), (Vec::new(), 0));
        assert!(report.verified >= 6, "{}", report.verified);
    }

    #[test]
    fn every_kind_of_damage_is_found_and_moved_away() {
        for kind in ["blobs/sha256", "layers", "snapshots", "images", "names", "cache"] {
            let folder = tempfile::tempdir().unwrap();
            let (store, layer) = filled(folder.path());
            drop(store);
            let mut path = folder.path().join(kind);
            while path.is_dir() && !path.join("folder").exists() {
                path = fs::read_dir(&path).unwrap().next().unwrap().unwrap().path();
            }
            match path.is_dir() {
                true => fs::write(path.join("folder/more"), "").unwrap(),
                false => fs::write(&path, &fs::read(&path).unwrap()[1..]).unwrap(),
            }
            let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
            let found = store.check(false).unwrap().findings;
            assert!(
                found.iter().any(|finding| folder.path().join(&finding.path) == path),
                "{kind}: {found:?}"
            );
            let again = store.check(false).unwrap().findings;
            assert_eq!(again, found, "{kind}: only a repair changes anything");
            assert!(store.check(true).unwrap().findings.iter().all(|finding| finding.is_repaired), "{kind}");
            drop(store);
            let store = Store::open(folder.path(), StoreOptions::default()).unwrap();
            assert_eq!(store.check(false).unwrap().findings, [], "{kind}");
            if kind == "snapshots" {
                assert_eq!(store.layer(&layer.diff_id).unwrap(), None);
                assert_eq!(store.cache_get(&Digest::of("step")), None);
            }
        }
    }
}
