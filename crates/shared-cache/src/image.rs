//! An image in a registry whose configuration carries a [cache](crate::inline): `--cache-from IMAGE`.

use std::collections::HashMap;
use std::sync::OnceLock;

use lbuild_layer_store::Blob;
use lbuild_oci::{Digest, MediaType, Reference};
use lbuild_registry::{Manifest, RegistryError, Repository, Version};
use serde::Deserialize;

use crate::document::{Descriptor, Found, FoundRecord, SharedLayer};
use crate::inline::{self, CarriedStep};
use crate::storage::Storage;
use crate::{CacheError, RegistryStorage};

/// Bytes of a configuration.
const MAX_CONFIGURATION: u64 = 8 << 20;

/// Images of an index that are read: one for each platform.
const MAX_IMAGES: usize = 16;

/// An image to be read once, when the first step is looked up.
#[derive(Debug)]
pub struct CarryingImage {
    repository: Repository,
    name: Reference,
    steps: OnceLock<HashMap<Digest, CarriedStep>>,
}

/// Why an image gives nothing.
pub(crate) enum Unusable {
    /// It cannot be asked for.
    Unread(CacheError),
    /// What is there is of no use.
    Wrong(String),
}

impl From<RegistryError> for Unusable {
    fn from(error: RegistryError) -> Self {
        Self::Unread(error.into())
    }
}

impl CarryingImage {
    /// The image `name` of `repository`. Nothing is fetched yet.
    pub fn new(repository: Repository, name: Reference) -> Self {
        Self { repository, name, steps: OnceLock::new() }
    }

    /// What the image has under a key. The first time, `tell` gets to know why there is nothing.
    pub(crate) fn find(&self, key: &Digest, tell: impl Fn(Unusable)) -> Option<Found> {
        let steps = self.steps.get_or_init(|| {
            self.read().unwrap_or_else(|why| {
                tell(why);
                HashMap::new()
            })
        });
        let CarriedStep { step, blob } = steps.get(key)?.clone();
        let storage = RegistryStorage::new(self.repository.clone());
        let layer = blob.map(|blob| SharedLayer { blob, source: storage.source(), origin: storage.origin() });
        Some(Found { record: FoundRecord::Carried(step), layer })
    }

    fn read(&self) -> Result<HashMap<Digest, CarriedStep>, Unusable> {
        let version = match (self.name.digest(), self.name.tag()) {
            (Some(digest), _) => Version::Digest(digest),
            (None, tag) => Version::Tag(tag.unwrap_or("latest")),
        };
        let manifest = match self.repository.manifest(version) {
            Ok(manifest) => manifest,
            // As before the first build that pushes it.
            Err(error) if error.is_not_found() => return Ok(HashMap::new()),
            Err(error) => return Err(error.into()),
        };
        if manifest.media_type != MediaType::Index {
            return self.read_image(&manifest);
        }
        let index: Index = parse(&manifest.bytes)?;
        let mut steps = HashMap::new();
        for descriptor in index.manifests.iter().filter(|one| !one.is_attestation()).take(MAX_IMAGES) {
            let manifest = self.repository.manifest(Version::Digest(&descriptor.digest))?;
            steps.extend(self.read_image(&manifest)?);
        }
        Ok(steps)
    }

    fn read_image(&self, manifest: &Manifest) -> Result<HashMap<Digest, CarriedStep>, Unusable> {
        let image: ImageManifest = parse(&manifest.bytes)?;
        let blobs: Vec<Blob> = image.layers.into_iter().map(Blob::from).collect();
        if let Some(blob) = blobs.iter().find(|blob| !blob.media_type.is_layer()) {
            return Err(Unusable::Wrong(format!("{:?} is no type of a layer", blob.media_type.as_str())));
        }
        let configuration = self.repository.small_blob(&image.config.digest, MAX_CONFIGURATION)?;
        let steps = inline::read(&configuration, &blobs).map_err(Unusable::Wrong)?;
        steps.ok_or_else(|| Unusable::Wrong("it was built without --cache-to=type=inline".to_owned()))
    }
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unusable> {
    serde_json::from_slice(bytes)
        .map_err(|error| Unusable::Wrong(format!("its manifest cannot be read: {error}")))
}

#[derive(Deserialize)]
struct ImageManifest {
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    digest: Digest,
    #[serde(default)]
    platform: Option<EntryPlatform>,
}

#[derive(Deserialize)]
struct EntryPlatform {
    #[serde(default)]
    os: String,
}

impl IndexEntry {
    /// Whether it is about another entry, as BuildKit marks such.
    fn is_attestation(&self) -> bool {
        self.platform.as_ref().is_some_and(|platform| platform.os == "unknown")
    }
}
