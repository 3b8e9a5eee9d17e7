//! Images into registries.
//!
//! All blobs go before the first manifest, and the manifests of tags come last: whatever happens, no
//! tag names an image that is not there as a whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use lbuild_layer_store::{ImageRecord, Store, StoreError};
use lbuild_oci::{DiffId, Digest, MediaType, Reference};
use lbuild_registry::{Client, RegistryError, Repository, Version};

use crate::document::{self, DOCKER_MANIFEST, Listed};
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

/// Brings `images`, one for each platform, to every name of `options`; several are tied together by an
/// image index, which the names then stand for. `early` is what was brought there during the build.
///
/// # Errors
/// [`ExportError::Registry`], [`NoImage`](ExportError::NoImage), else as
/// [`Package::new`](crate::Package::new). No name stands for something that it did not stand for, or for
/// the whole image; with several names, the first ones may be done.
pub fn push(
    store: &Store,
    images: &[ImageRecord],
    client: &Client,
    options: &PushOptions,
    early: &EarlyPush,
) -> Result<Pushed, ExportError> {
    options.export.compression.check()?;
    let first = images.first().ok_or(ExportError::NoImage)?;
    let mut targets: Vec<(Repository, Vec<&Reference>)> = Vec::new();
    for name in &options.export.names {
        let repository = client.repository(name)?;
        match targets.iter_mut().find(|(known, _)| known.name() == repository.name()) {
            Some((_, names)) => names.push(name),
            None => targets.push((repository, vec![name])),
        }
    }
    let mut ways = [0_usize; 3];
    let mut all_documents = Vec::new();
    for (repository, _) in &targets {
        let mut documents = Vec::new();
        for image in images {
            let push = LayerPush { store, repository, image: image.id, options: &options.export };
            let layers = push_layers(push, &image.layers, early)?;
            for (layer, counted) in count(&layers).into_iter().zip(&mut ways) {
                *counted += layer;
            }
            let (_, config) = store.image_config(&image.id).map_err(|source| failed(image, source))?;
            push_config(repository, &config)?;
            documents.push(manifest(image, &config, &layers, options)?);
        }
        all_documents.push(documents);
    }
    // What is remembered of the layers is worth keeping whatever comes.
    let flushed = store.flush();
    let mut top = None;
    for ((repository, names), documents) in targets.iter().zip(all_documents) {
        let document = put_parts(repository, images, documents, options)?;
        put_document(repository, names, &document, options.by_digest)?;
        top.get_or_insert(document);
    }
    flushed.map_err(|source| failed(first, source))?;
    let top = top.ok_or_else(|| RegistryError::Document {
        what: format!("image {}", first.id),
        reason: "it has no name to be pushed to".to_owned(),
    })?;
    let written = Written {
        manifest: Digest::of(&top.bytes),
        manifest_size: top.bytes.len() as u64,
        image: first.id,
        size: top.all_bytes,
    };
    let [there, mounted, uploaded] = ways;
    Ok(Pushed { written, uploaded, mounted, there })
}

fn failed(image: &ImageRecord, source: StoreError) -> ExportError {
    ExportError::Store { image: image.id, source }
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

/// A manifest, or an index of several.
struct Document {
    media_type: String,
    bytes: Vec<u8>,
    /// Bytes of this and of all that it names.
    all_bytes: u64,
}

fn manifest(
    image: &ImageRecord,
    config: &[u8],
    layers: &[PushedLayer],
    options: &PushOptions,
) -> Result<Document, ExportError> {
    let descriptors: Vec<_> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
    let unique: BTreeMap<_, _> = descriptors.iter().map(|layer| (layer.digest, layer.size)).collect();
    let (media_type, bytes) = match options.media_types {
        MediaTypes::Docker => {
            let bytes = document::docker_schema2(config, &descriptors);
            (DOCKER_MANIFEST, bytes.ok_or(ExportError::NoDockerMediaType)?)
        }
        MediaTypes::Oci => {
            let mut annotations = image.annotations.clone();
            annotations.extend(options.export.annotations.clone());
            (MediaType::Manifest.as_str(), document::manifest(config, &descriptors, &annotations))
        }
    };
    let all_bytes = unique.values().sum::<u64>() + (config.len() + bytes.len()) as u64;
    Ok(Document { media_type: media_type.to_owned(), bytes, all_bytes })
}

/// What the names are to stand for: the only manifest, or an index of several, which are put there by
/// their digests.
fn put_parts(
    repository: &Repository,
    images: &[ImageRecord],
    mut manifests: Vec<Document>,
    options: &PushOptions,
) -> Result<Document, RegistryError> {
    if manifests.len() == 1 {
        return Ok(manifests.remove(0));
    }
    let mut listed = Vec::new();
    for (image, manifest) in images.iter().zip(&manifests) {
        let digest = Digest::of(&manifest.bytes);
        repository.put_manifest(Version::Digest(&digest), &manifest.media_type, &manifest.bytes)?;
        listed.push(Listed { platform: &image.platform, digest, size: manifest.bytes.len() as u64 });
    }
    let bytes = document::image_index(&listed, &options.export.index_annotations, options.media_types);
    let media_type = document::index_type(options.media_types).to_owned();
    let parts: u64 = manifests.iter().map(|manifest| manifest.all_bytes).sum();
    Ok(Document { media_type, all_bytes: parts + bytes.len() as u64, bytes })
}

fn put_document(
    repository: &Repository,
    names: &[&Reference],
    document: &Document,
    by_digest: bool,
) -> Result<(), RegistryError> {
    let Document { media_type, bytes, .. } = document;
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

/// Layers that were there, were mounted, and were uploaded.
fn count(layers: &[PushedLayer]) -> [usize; 3] {
    [Way::WasThere, Way::Mounted, Way::Uploaded]
        .map(|way| layers.iter().filter(|layer| layer.way == way).count())
}
