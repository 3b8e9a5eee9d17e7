//! The documents that tie an image together.
//!
//! Source: <https://github.com/opencontainers/image-spec>

use std::collections::BTreeMap;

use lbuild_layer_store::ImageRecord;
use lbuild_oci::{Digest, MediaType, Platform, Reference, json};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::MediaTypes;

/// The full name, as containerd and Docker read it.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The tag alone, as containerd and BuildKit write it, by which skopeo selects an image.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// The media type of a manifest of Docker's schema 2.
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// The media type of Docker's list of manifests.
const DOCKER_MANIFEST_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

/// The content of `oci-layout`.
pub(crate) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// Names a blob, its size and what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the blob holds.
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// One image of an image index.
pub(crate) struct Listed<'a> {
    /// What the image runs on.
    pub platform: &'a Platform,
    /// Its manifest's digest.
    pub digest: Digest,
    /// Its manifest's size in bytes.
    pub size: u64,
}

/// The manifest of an image.
pub(crate) fn manifest(
    config: &[u8],
    layers: &[Descriptor],
    annotations: &BTreeMap<String, String>,
) -> Vec<u8> {
    let config =
        Descriptor { media_type: MediaType::Config, digest: Digest::of(config), size: config.len() as u64 };
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": MediaType::Manifest,
        "config": config,
        "layers": layers,
    });
    if !annotations.is_empty() {
        document["annotations"] = json!(annotations);
    }
    json::canonical(&document)
}

/// The manifest of an image in the media types of Docker's schema 2; `None` if it has a layer for which
/// there is none.
///
/// Source: <https://distribution.github.io/distribution/spec/manifest-v2-2/>
pub(crate) fn docker_schema2(config: &[u8], layers: &[Descriptor]) -> Option<Vec<u8>> {
    let describe = |media_type: &str, digest: &Digest, size: u64| json!({ "mediaType": media_type, "digest": digest, "size": size });
    let mut described = Vec::new();
    for layer in layers {
        let media_type = match layer.media_type {
            MediaType::Layer => "application/vnd.docker.image.rootfs.diff.tar",
            MediaType::LayerGzip => "application/vnd.docker.image.rootfs.diff.tar.gzip",
            _ => return None,
        };
        described.push(describe(media_type, &layer.digest, layer.size));
    }
    let config_type = "application/vnd.docker.container.image.v1+json";
    Some(json::canonical(&json!({
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST,
        "config": describe(config_type, &Digest::of(config), config.len() as u64),
        "layers": described,
    })))
}

/// The descriptors of `index.json` for one image: one for each name, as BuildKit and containerd
/// write them, or one without a name.
pub(crate) fn index_entries(image: &ImageRecord, manifest: &[u8], names: &[Reference]) -> Vec<Value> {
    entries(
        &json!({
            "mediaType": MediaType::Manifest,
            "digest": Digest::of(manifest),
            "size": manifest.len(),
            "platform": image.platform,
        }),
        names,
    )
}

/// The index of the images of several platforms, whose manifests have `media_types` too. Docker's has no
/// annotations.
///
/// Source: <https://github.com/opencontainers/image-spec/blob/main/image-index.md>
pub(crate) fn image_index(
    images: &[Listed<'_>],
    annotations: &BTreeMap<String, String>,
    media_types: MediaTypes,
) -> Vec<u8> {
    let media_type = match media_types {
        MediaTypes::Oci => MediaType::Manifest.as_str(),
        MediaTypes::Docker => DOCKER_MANIFEST,
    };
    let describe = |image: &Listed<'_>| {
        json!({
            "mediaType": media_type,
            "digest": image.digest,
            "size": image.size,
            "platform": image.platform,
        })
    };
    let mut document = json!({
        "schemaVersion": 2,
        "mediaType": index_type(media_types),
        "manifests": images.iter().map(describe).collect::<Vec<_>>(),
    });
    if media_types == MediaTypes::Oci && !annotations.is_empty() {
        document["annotations"] = json!(annotations);
    }
    json::canonical(&document)
}

/// What an image index is called.
pub(crate) fn index_type(media_types: MediaTypes) -> &'static str {
    match media_types {
        MediaTypes::Oci => MediaType::Index.as_str(),
        MediaTypes::Docker => DOCKER_MANIFEST_LIST,
    }
}

/// As [`index_entries`], for an index of several images.
pub(crate) fn entries_of_index(index: &[u8], names: &[Reference]) -> Vec<Value> {
    entries(
        &json!({
            "mediaType": MediaType::Index,
            "digest": Digest::of(index),
            "size": index.len(),
        }),
        names,
    )
}

fn entries(descriptor: &Value, names: &[Reference]) -> Vec<Value> {
    if names.is_empty() {
        return vec![descriptor.clone()];
    }
    let named = |name: &Reference| {
        let mut descriptor = descriptor.clone();
        descriptor["annotations"] = name_annotations(name);
        descriptor
    };
    names.iter().map(named).collect()
}

fn name_annotations(name: &Reference) -> Value {
    let mut annotations = BTreeMap::from([(IMAGE_NAME, name.to_string())]);
    if let Some(tag) = name.tag() {
        annotations.insert(REF_NAME, tag.to_owned());
    }
    json!(annotations)
}

/// `index.json` with `entries`.
pub(crate) fn index(entries: &[Value]) -> Vec<u8> {
    json::canonical(&json!({
        "schemaVersion": 2,
        "mediaType": MediaType::Index,
        "manifests": entries,
    }))
}

/// The name that an entry of `index.json` gives.
pub(crate) fn entry_name(entry: &Value) -> Option<&str> {
    let annotations = entry.get("annotations")?;
    annotations.get(IMAGE_NAME).or_else(|| annotations.get(REF_NAME))?.as_str()
}

/// Docker's `manifest.json` for one image, whose files are the layout's blobs.
///
/// Docker takes names with a tag only.
pub(crate) fn docker_manifest(config: &Digest, layers: &[Descriptor], names: &[Reference]) -> Vec<u8> {
    let tags: Vec<String> = names.iter().filter_map(docker_tag).collect();
    let layers: Vec<String> = layers.iter().map(|layer| blob_path(&layer.digest)).collect();
    json::canonical(&json!([{
        "Config": blob_path(config),
        "RepoTags": if tags.is_empty() { Value::Null } else { json!(tags) },
        "Layers": layers,
    }]))
}

fn docker_tag(name: &Reference) -> Option<String> {
    Some(format!("{}:{}", name.familiar_repository(), name.tag()?))
}

/// Where a layout keeps the blob `digest`.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
