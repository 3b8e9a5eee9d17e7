//! An image that was found, and what is left of it once it is verified.

use std::collections::BTreeMap;

use lbuild_layer_store::{ImageRecord, Layer, Store};
use lbuild_oci::{DiffId, Digest, ImageConfig, Platform, Reference};

use crate::document::{Descriptor, parse_config};
use crate::layer::{self, Claim, VerifiedLayers};
use crate::source::{Source, Stored, described_blob};
use crate::{ImportError, Limits, Loaded};

/// An image whose documents are read and whose layers are not.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub id: Digest,
    pub config_bytes: Vec<u8>,
    pub config: ImageConfig,
    pub layers: Vec<LayerFile>,
    pub names: Vec<Reference>,
    /// The manifest as it came.
    pub manifest: Option<Vec<u8>>,
    pub annotations: BTreeMap<String, String>,
}

/// Where a layer's bytes are.
#[derive(Debug)]
pub(crate) enum LayerFile {
    /// In a blob of a layout.
    Described(Descriptor),
    /// In a file of a docker archive.
    Path(String),
}

/// An image whose layers are verified blobs of the store.
#[derive(Debug)]
pub(crate) struct Verified {
    pub id: Digest,
    pub config_bytes: Vec<u8>,
    pub layers: Vec<Layer>,
    pub names: Vec<Reference>,
    platform: Platform,
    created: Option<String>,
    manifest: Option<Digest>,
    annotations: BTreeMap<String, String>,
}

impl Candidate {
    /// An image with the configuration `config_bytes`, which the file `path` holds.
    pub fn new(path: &str, config_bytes: Vec<u8>, layers: Vec<LayerFile>) -> Result<Self, ImportError> {
        let config = parse_config(path, &config_bytes)?;
        Ok(Self {
            id: Digest::of(&config_bytes),
            config_bytes,
            config,
            layers,
            names: Vec::new(),
            manifest: None,
            annotations: BTreeMap::new(),
        })
    }

    /// What the image runs on, in its usual form.
    pub fn platform(&self) -> Platform {
        let platform = self.config.platform();
        platform.to_string().parse().unwrap_or(platform)
    }

    /// Brings the layers into the store and checks each against the configuration, except those that
    /// are in `verified`.
    pub fn verify(
        self,
        store: &Store,
        source: &dyn Source,
        limits: &Limits,
        verified: &mut VerifiedLayers,
    ) -> Result<Verified, ImportError> {
        self.check_count()?;
        let diff_ids = &self.config.rootfs.diff_ids;
        let mut claims = Vec::new();
        for (file, diff_id) in self.layers.iter().zip(diff_ids) {
            claims.push(Claim { blob: file.store(source)?, diff_id: *diff_id });
        }
        let layers = layer::verify_all(store, &claims, limits, verified)?;
        self.verified(store, layers)
    }

    /// Whether the configuration and the manifest have as many layers.
    pub fn check_count(&self) -> Result<(), ImportError> {
        let (configured, listed) = (self.config.rootfs.diff_ids.len(), self.layers.len());
        if configured == listed {
            return Ok(());
        }
        Err(ImportError::LayerCount { image: self.id, configured, listed })
    }

    /// What is left of the image when its `layers` are blobs of the store.
    pub fn verified(self, store: &Store, layers: Vec<Layer>) -> Result<Verified, ImportError> {
        let manifest = self.manifest.as_ref().map(|bytes| keep_manifest(store, bytes)).transpose()?;
        Ok(Verified {
            id: self.id,
            layers,
            platform: self.platform(),
            created: self.config.created,
            config_bytes: self.config_bytes,
            names: self.names,
            manifest,
            annotations: self.annotations,
        })
    }
}

fn keep_manifest(store: &Store, bytes: &[u8]) -> Result<Digest, ImportError> {
    let digest = Digest::of(bytes);
    store
        .write_blob(&mut &*bytes, Some(&digest))
        .map_err(|source| ImportError::Store { what: format!("manifest {digest}"), source })?;
    Ok(digest)
}

impl LayerFile {
    fn store(&self, source: &dyn Source) -> Result<Stored, ImportError> {
        match self {
            Self::Described(descriptor) => described_blob(source, descriptor),
            Self::Path(path) => source.blob(path)?.ok_or_else(|| ImportError::Missing { path: path.clone() }),
        }
    }
}

impl Verified {
    /// The image as the store keeps it.
    pub fn record(&self) -> ImageRecord {
        ImageRecord {
            id: self.id,
            layers: self.diff_ids(),
            platform: self.platform.clone(),
            created: self.created.clone(),
            manifest: self.manifest,
            annotations: self.annotations.clone(),
        }
    }

    /// The image as the caller learns of it.
    pub fn loaded(self, names: Vec<Reference>) -> Loaded {
        Loaded {
            id: self.id,
            names,
            layers: self.diff_ids(),
            size: self.layers.iter().map(|layer| layer.size).sum(),
            platform: self.platform,
        }
    }

    fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }
}
