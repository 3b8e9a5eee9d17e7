//! Images from registries.

use std::sync::atomic::{AtomicU64, Ordering};

use lbuild_layer_store::{Blob, BlobOrigin, ImageRecord, Layer, StepLock, Store};
use lbuild_oci::{Digest, MediaType, Platform, Reference};
use lbuild_registry::{Client, Manifest, Repository, Version};
use serde_json::{Value, json};

use crate::candidate::{Candidate, LayerFile};
use crate::document::Descriptor;
use crate::download::{Downloads, Wanted};
use crate::load::record;
use crate::remote::RemoteSource;
use crate::{ImportError, Limits, LoadOptions, Loaded, platform, unchanged};

/// How an image is pulled.
#[derive(Clone, Copy)]
pub struct PullOptions<'a> {
    /// Which image of several for different platforms; this machine's where it is `None`.
    pub platform: Option<&'a Platform>,
    /// What the image may cost.
    pub limits: Limits,
    /// Whether layers that the registry does not have may come from where the manifest says.
    pub allow_foreign_layers: bool,
    /// Whether layers stay in the registry until somebody looks into them.
    pub is_lazy: bool,
    /// Is told what happens, by several threads.
    pub progress: &'a (dyn Fn(PullEvent) + Sync),
}

/// What happens in a pull.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullEvent {
    /// It is known what there is to fetch.
    Found {
        /// The digest of the manifest or index that the name stands for.
        digest: Digest,
        /// Layers of the image.
        layers: usize,
        /// Bytes of their blobs.
        bytes: u64,
    },
    /// Of these bytes so many are there now.
    Bytes(u64),
}

/// An image that was pulled.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// The image.
    pub image: ImageRecord,
    /// The digest of the manifest or index that the name stands for.
    pub digest: Digest,
    /// Whether it was in the store already.
    pub was_here: bool,
}

/// Brings the image that `name` stands for in its registry into `store`, and gives it that name.
///
/// # Errors
/// [`ImportError::Registry`], [`ImportError::NoPlatform`], [`ImportError::Foreign`] or what is wrong
/// with the image. The store is as before then, except for layers that were fetched.
pub fn pull(
    store: &Store,
    client: &Client,
    name: &Reference,
    options: &PullOptions<'_>,
) -> Result<Pulled, ImportError> {
    let repository = client.repository(name)?;
    let version = version(name);
    // What was never pulled is asked for at once.
    let known = match pulled(store, name, options.platform) {
        Some(_) => known_digest(store, &repository, version, options.platform)?,
        None => None,
    };
    // Let go when the image is durable.
    let mut locks = Vec::new();
    let (image, digest, was_here) = match known {
        Some((image, digest)) => {
            if !options.is_lazy {
                let here =
                    store.unpack_missing(&image.layers).and_then(|()| store.fetch_layers(&image.layers));
                here.map_err(|source| ImportError::Store { what: name.familiar(), source })?;
            }
            (image, digest, true)
        }
        None => {
            let (loaded, digest) = fetch(store, &repository, version, options, &mut locks)?;
            let identity = digest_identity(&repository, &digest, options.platform);
            unchanged::remember(store, &identity, &loaded);
            let image = unchanged::record(store, &loaded.id)?;
            (image.ok_or(ImportError::Missing { path: format!("image {}", loaded.id) })?, digest, false)
        }
    };
    let loaded = Loaded {
        id: image.id,
        names: vec![name.clone()],
        platform: image.platform.clone(),
        layers: image.layers.clone(),
        size: 0,
    };
    unchanged::remember(store, &name_identity(name, options.platform), &loaded);
    let kept = store.tag(name, &image.id).and_then(|_| store.flush());
    kept.map_err(|source| ImportError::Store { what: format!("the name {}", name.familiar()), source })?;
    Ok(Pulled { image, digest, was_here })
}

/// The image that `name` stood for when it was pulled last for `platform`, if it is still here. The
/// registry is not asked.
pub fn pulled(store: &Store, name: &Reference, platform: Option<&Platform>) -> Option<ImageRecord> {
    unchanged::image(store, &name_identity(name, platform))
}

/// What is asked for: a digest before a tag.
fn version(name: &Reference) -> Version<'_> {
    match (name.digest(), name.tag()) {
        (Some(digest), _) => Version::Digest(digest),
        (None, tag) => Version::Tag(tag.unwrap_or("latest")),
    }
}

/// The image that the registry's digest was found to be before.
fn known_digest(
    store: &Store,
    repository: &Repository,
    version: Version<'_>,
    platform: Option<&Platform>,
) -> Result<Option<(ImageRecord, Digest)>, ImportError> {
    let digest = match version {
        Version::Digest(digest) => *digest,
        Version::Tag(_) => match repository.manifest_digest(version)? {
            Some(digest) => digest,
            // The answer to the request for the manifest says more.
            None => return Ok(None),
        },
    };
    let image = unchanged::image(store, &digest_identity(repository, &digest, platform));
    Ok(image.map(|image| (image, digest)))
}

fn fetch(
    store: &Store,
    repository: &Repository,
    version: Version<'_>,
    options: &PullOptions<'_>,
    locks: &mut Vec<StepLock>,
) -> Result<(Loaded, Digest), ImportError> {
    let root = repository.manifest(version)?;
    let candidate = candidate(repository, &root, options)?;
    candidate.check_count()?;
    let wanted = wanted(&candidate);
    // Whoever wrote the manifest may say any sizes.
    let bytes = wanted.iter().fold(0, |all: u64, layer| all.saturating_add(layer.descriptor.size));
    (options.progress)(PullEvent::Found { digest: root.digest, layers: wanted.len(), bytes });
    if options.is_lazy && wanted.iter().all(|layer| layer.descriptor.urls.is_empty()) {
        let layers = wanted.iter().map(|layer| elsewhere(store, repository, layer)).collect();
        return Ok((kept(store, candidate, layers)?, root.digest));
    }
    let done = AtomicU64::new(0);
    let downloads = Downloads {
        store,
        repository,
        limits: &options.limits,
        allow_foreign: options.allow_foreign_layers,
        progress: &|count| {
            let before = done.fetch_add(count, Ordering::Relaxed);
            (options.progress)(PullEvent::Bytes(before + count));
        },
    };
    let (layers, held) = downloads.fetch_all(&wanted)?;
    locks.extend(held);
    Ok((kept(store, candidate, layers)?, root.digest))
}

fn kept(store: &Store, candidate: Candidate, layers: Vec<Layer>) -> Result<Loaded, ImportError> {
    let verified = candidate.verified(store, layers)?;
    let unnamed = LoadOptions { is_unnamed: true, ..LoadOptions::default() };
    let mut loaded = record(store, vec![verified], &unnamed)?;
    loaded.pop().ok_or(ImportError::Unclear { count: 0 })
}

/// A layer that stays where it is; images that are pushed to that registry take it from there.
fn elsewhere(store: &Store, repository: &Repository, layer: &Wanted) -> Layer {
    let Wanted { descriptor, diff_id } = layer;
    let origin =
        BlobOrigin { registry: repository.registry().to_owned(), repository: repository.path().to_owned() };
    let blob =
        Blob { digest: descriptor.digest, size: descriptor.size, media_type: descriptor.media_type.clone() };
    let layer = Layer::elsewhere(*diff_id, blob, format!("registry:{}", repository.name()));
    store.add_blob_origin(&descriptor.digest, &origin, diff_id);
    layer
}

/// The image among those that `root` names, its manifest and configuration read.
fn candidate(
    repository: &Repository,
    root: &Manifest,
    options: &PullOptions<'_>,
) -> Result<Candidate, ImportError> {
    if !matches!(root.media_type, MediaType::Index | MediaType::Manifest) {
        let path = format!("{}@{}", repository.name(), root.digest);
        return Err(crate::source::unsupported(path, &root.media_type));
    }
    let source = RemoteSource::new(repository, root);
    let descriptor = Descriptor::of_root(root.media_type.clone(), root.digest, root.bytes.len() as u64);
    let load =
        LoadOptions { platform: options.platform.cloned(), limits: options.limits, ..LoadOptions::default() };
    // A name that stands for one image stands for it on every platform.
    let load =
        if root.media_type == MediaType::Manifest { LoadOptions { platform: None, ..load } } else { load };
    platform::choose(&source, vec![descriptor], &load)
}

fn wanted(candidate: &Candidate) -> Vec<Wanted> {
    let layers = candidate.layers.iter().zip(&candidate.config.rootfs.diff_ids);
    layers
        .filter_map(|(file, diff_id)| match file {
            LayerFile::Described(descriptor) => {
                Some(Wanted { descriptor: descriptor.clone(), diff_id: *diff_id })
            }
            LayerFile::Path(_) => None,
        })
        .collect()
}

fn digest_identity(repository: &Repository, digest: &Digest, platform: Option<&Platform>) -> Value {
    json!({ "repository": repository.name(), "digest": digest, "platform": platform_text(platform) })
}

fn name_identity(name: &Reference, platform: Option<&Platform>) -> Value {
    json!({ "pulled": name, "platform": platform_text(platform) })
}

fn platform_text(platform: Option<&Platform>) -> String {
    platform.cloned().unwrap_or_else(Platform::host).to_string()
}
