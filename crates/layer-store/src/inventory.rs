//! All that a store holds, and what needs what.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use lbuild_oci::{ChainId, DiffId, Digest, Reference};

use crate::cache::CacheRecord;
use crate::image::file_names;
use crate::layout::Layout;
use crate::{ImageRecord, Layer, Store, StoreError, record};

/// What images and cached steps are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The record of a layer.
    Layer(DiffId),
    /// An unpacked layer.
    Snapshot(ChainId),
    /// A layer or a manifest as it came.
    Blob(Digest),
}

impl Part {
    /// Where it is.
    pub fn path(&self, layout: &Layout) -> PathBuf {
        match self {
            Self::Layer(diff_id) => layout.layer(diff_id),
            Self::Snapshot(chain) => layout.snapshot(chain),
            Self::Blob(digest) => layout.blob(digest),
        }
    }

    /// The stack that a snapshot is of.
    pub fn chain(&self) -> Option<ChainId> {
        match self {
            Self::Snapshot(chain) => Some(*chain),
            Self::Layer(_) | Self::Blob(_) => None,
        }
    }
}

/// The record of a step.
#[derive(Debug, Clone)]
pub(crate) struct CachedStep {
    pub path: PathBuf,
    /// The layers that it needs, bottom first; `None` if the record is damaged.
    pub layers: Option<Vec<DiffId>>,
    pub last_used: SystemTime,
}

/// A store at one moment.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub images: Vec<(ImageRecord, Vec<Reference>)>,
    pub steps: Vec<CachedStep>,
    /// The parts that are there.
    pub parts: Vec<Part>,
    /// What lies where parts do and is none, such as damaged snapshots that were set aside.
    pub strangers: Vec<PathBuf>,
    layers: HashMap<DiffId, Layer>,
}

impl Inventory {
    /// Looks at all of `store`. Nothing is held: who needs it to stay has the store's lock.
    pub fn read(store: &Store) -> Result<Self, StoreError> {
        let mut inventory = Self { images: store.images()?, ..Self::default() };
        let layout = &store.layout;
        for shard in file_names(&layout.cache())? {
            let shard = layout.cache().join(shard);
            for name in file_names(&shard)? {
                inventory.steps.extend(read_step(shard.join(name))?);
            }
        }
        inventory.list(layout.layers(), |digest| Part::Layer(DiffId(digest)))?;
        inventory.list(layout.snapshots(), |digest| Part::Snapshot(ChainId(digest)))?;
        inventory.list(layout.blobs(), Part::Blob)?;
        for part in &inventory.parts {
            if let Part::Layer(diff_id) = part
                && let Some(layer) = record::read_json(&layout.layer(diff_id))?
            {
                inventory.layers.insert(*diff_id, layer);
            }
        }
        Ok(inventory)
    }

    /// What is known of a layer.
    pub fn layer(&self, diff_id: &DiffId) -> Option<&Layer> {
        self.layers.get(diff_id)
    }

    /// What a stack of layers is made of, and where a layer's tar is reproduced from.
    pub fn stack(&self, store: &Store, layers: &[DiffId]) -> HashSet<Part> {
        let mut parts: HashSet<Part> =
            store.snapshots.chains(layers).into_iter().map(Part::Snapshot).collect();
        parts.extend(layers.iter().flat_map(|diff_id| self.layer_parts(diff_id)));
        parts
    }

    /// What an image is made of.
    pub fn image(&self, store: &Store, image: &ImageRecord) -> HashSet<Part> {
        let mut parts = self.stack(store, &image.layers);
        parts.extend(image.manifest.map(Part::Blob));
        parts
    }

    /// What a process holds that has noted `digest`, whatever that is of.
    pub fn held(&self, store: &Store, digest: &Digest) -> HashSet<Part> {
        let (layer, chain) = (DiffId(*digest), ChainId(*digest));
        let mut parts: HashSet<Part> = self.layer_parts(&layer).into_iter().collect();
        parts.extend([Part::Snapshot(chain), Part::Blob(*digest)]);
        if let Some((image, _)) = self.images.iter().find(|(image, _)| image.id == *digest) {
            parts.extend(self.image(store, image));
        }
        parts
    }

    fn layer_parts(&self, diff_id: &DiffId) -> Vec<Part> {
        let mut parts = vec![Part::Layer(*diff_id)];
        if let Some(layer) = self.layer(diff_id) {
            parts.extend(layer.snapshot.map(Part::Snapshot));
            parts.extend(layer.blob.as_ref().map(|blob| Part::Blob(blob.digest)));
        }
        parts
    }

    fn list(&mut self, directory: PathBuf, part: impl Fn(Digest) -> Part) -> Result<(), StoreError> {
        for name in file_names(&directory)? {
            match Digest::from_hex(&name) {
                Ok(digest) => self.parts.push(part(digest)),
                Err(_) => self.strangers.push(directory.join(name)),
            }
        }
        Ok(())
    }
}

/// `None` if the record went away meanwhile.
fn read_step(path: PathBuf) -> Result<Option<CachedStep>, StoreError> {
    let Ok(last_used) = fs::metadata(&path).and_then(|metadata| metadata.modified()) else { return Ok(None) };
    let record = record::read_intact(&path)?.and_then(|body| CacheRecord::decode(&body));
    Ok(Some(CachedStep { path, layers: record.map(|record| record.layers), last_used }))
}
