//! Images into registries.
//!
//! All blobs go before the first manifest, and the manifests of tags come last: whatever happens, no
//! tag names an image that is not there as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{DiffId, Digest, MediaType, Reference};
use lbuild_registry::{Client, RegistryError, Repository, Version};

use crate::document::{self, DOCKER_MANIFEST};
use crate::layer_push::{LayerPush, PushedLayer, Way};
use crate::{EarlyPush, ExportError, ExportOptions, Written};

/// Layers that are uploaded at the same time.
pub const LAYERS_AT_ONCE: usize = 3;

/// How an image is pushed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PushOptions {
    /// How layers are compressed; annotations. Its names are those that are pushed to.
    pub export: ExportOptions,
    /// Whether the image gets no tag and is known by its digest alone.
    pub by_digest: bool,
    /// What the documents are called.
    pub media_types: MediaTypes,
}

/// The names of the documents' and layers' forms.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MediaTypes {
    /// The image-spec's.
    #[default]
    Oci,
    /// Docker's, which have none for zstd and no annotations.
    Docker,
}

/// What was pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pushed {
    /// The image as it is in the registry.
    pub written: Written,
    /// Layers that were uploaded.
    pub uploaded: usize,
    /// Layers that the registry took from another repository of its own.
    pub mounted: usize,
    /// Layers that were there.
    pub there: usize,
}

/// Brings `image` to every name of `options`; `early` is what of it was brought there while it was built.
///
/// # Errors
/// [`ExportError::Registry`], else as [`Package::new`](crate::Package::new). No name stands for
/// something that it did not stand for, or for the whole image; with several names, the first ones may
/// be done.
pub fn push(
    store: &Store,
    image: &ImageRecord,
    client: &Client,
    options: &PushOptions,
    early: &EarlyPush,
) -> Result<Pushed, ExportError> {
    options.export.compression.check()?;
    let (_, config) =
        store.image_config(&image.id).map_err(|source| ExportError::Store { image: image.id, source })?;
    let mut targets: Vec<(Repository, Vec<&Reference>)> = Vec::new();
    for name in &options.export.names {
        let repository = client.repository(name)?;
        match targets.iter_mut().find(|(known, _)| known.name() == repository.name()) {
            Some((_, names)) => names.push(name),
            None => targets.push((repository, vec![name])),
        }
    }
    let mut ways = [0_usize; 3];
    let mut manifests = Vec::new();
    for (repository, _) in &targets {
        let push = LayerPush { store, repository, image: image.id, options: &options.export };
        let layers = push_layers(push, &image.layers, early)?;
        for (layer, counted) in count(&layers).into_iter().zip(&mut ways) {
            *counted += layer;
        }
        push_config(repository, &config)?;
        manifests.push(manifest(image, &config, &layers, options)?);
    }
    // What is remembered of the layers is worth keeping whatever comes.
    let flushed = store.flush();
    for ((repository, names), (media_type, bytes, _)) in targets.iter().zip(&manifests) {
        put_manifests(repository, names, media_type, bytes, options.by_digest)?;
    }
    flushed.map_err(|source| ExportError::Store { image: image.id, source })?;
    let written = manifests.first().map(|(_, bytes, size)| written(image, &config, bytes, *size));
    let written = written.ok_or_else(|| RegistryError::Document {
        what: format!("image {}", image.id),
        reason: "it has no name to be pushed to".to_owned(),
    })?;
    let [there, mounted, uploaded] = ways;
    Ok(Pushed { written, uploaded, mounted, there })
}

/// Brings all layers there, several at a time; returns them in their order.
fn push_layers(
    push: LayerPush<'_>,
    layers: &[DiffId],
    early: &EarlyPush,
) -> Result<Vec<PushedLayer>, ExportError> {
    let mut unique: Vec<DiffId> = Vec::new();
    for layer in layers {
        if !unique.contains(layer) {
            unique.push(*layer);
        }
    }
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let done: Mutex<Vec<(DiffId, Result<PushedLayer, ExportError>)>> = Mutex::default();
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let Some(layer) = unique.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
            let result = push.push(layer);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((*layer, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..LAYERS_AT_ONCE.min(unique.len()) {
            scope.spawn(work);
        }
    });
    let mut pushed = HashMap::new();
    for (layer, result) in done.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let PushedLayer { descriptor, way } = result?;
        let way = early.way(push.repository.name(), &layer).unwrap_or(way);
        pushed.insert(layer, PushedLayer { descriptor, way });
    }
    Ok(layers.iter().filter_map(|layer| pushed.get(layer).cloned()).collect())
}

fn push_config(repository: &Repository, config: &[u8]) -> Result<(), RegistryError> {
    let digest = Digest::of(config);
    if repository.has_blob(&digest)? {
        return Ok(());
    }
    let mut open = || Ok(Box::new(std::io::Cursor::new(config.to_vec())) as Box<dyn std::io::Read>);
    repository.upload_blob(&digest, config.len() as u64, &mut open)
}

/// The manifest, its media type, and the bytes of the layers.
fn manifest(
    image: &ImageRecord,
    config: &[u8],
    layers: &[PushedLayer],
    options: &PushOptions,
) -> Result<(String, Vec<u8>, u64), ExportError> {
    let descriptors: Vec<_> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
    let unique: BTreeMap<_, _> = descriptors.iter().map(|layer| (layer.digest, layer.size)).collect();
    let size = unique.values().sum();
    if options.media_types == MediaTypes::Docker {
        let bytes = document::docker_schema2(config, &descriptors).ok_or(ExportError::NoDockerMediaType)?;
        return Ok((DOCKER_MANIFEST.to_owned(), bytes, size));
    }
    let mut annotations = image.annotations.clone();
    annotations.extend(options.export.annotations.clone());
    let bytes = document::manifest(config, &descriptors, &annotations);
    Ok((MediaType::Manifest.as_str().to_owned(), bytes, size))
}

fn put_manifests(
    repository: &Repository,
    names: &[&Reference],
    media_type: &str,
    bytes: &[u8],
    by_digest: bool,
) -> Result<(), RegistryError> {
    let digest = Digest::of(bytes);
    let tags: Vec<&str> = names.iter().filter_map(|name| name.tag()).collect();
    if by_digest || tags.is_empty() {
        return repository.put_manifest(Version::Digest(&digest), media_type, bytes).map(drop);
    }
    for tag in tags {
        repository.put_manifest(Version::Tag(tag), media_type, bytes)?;
    }
    Ok(())
}

fn written(image: &ImageRecord, config: &[u8], manifest: &[u8], layers: u64) -> Written {
    Written {
        manifest: Digest::of(manifest),
        manifest_size: manifest.len() as u64,
        image: image.id,
        size: layers + config.len() as u64 + manifest.len() as u64,
    }
}

/// Layers that were there, were mounted, and were uploaded.
fn count(layers: &[PushedLayer]) -> [usize; 3] {
    [Way::WasThere, Way::Mounted, Way::Uploaded]
        .map(|way| layers.iter().filter(|layer| layer.way == way).count())
}
