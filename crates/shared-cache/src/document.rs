//! A record as it is shared: an OCI image manifest, so that every registry takes it and keeps the layer
//! that it names. The record itself is an annotation: one request fetches it.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage>

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use lbuild_layer_store::{Blob, BlobOrigin};
use lbuild_oci::{Digest, MediaType, json};
use serde::{Deserialize, Serialize};

use crate::InlineStep;

/// The configuration of a manifest that has none.
pub(crate) const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const ARTIFACT_TYPE: &str = "application/vnd.lbuild.cache.record.v1+json";

const KEY: &str = "dev.lbuild.cache.key";
const RECORD: &str = "dev.lbuild.cache.record";
const CLAIM: &str = "dev.lbuild.cache.claim";
const CREATED: &str = "org.opencontainers.image.created";

/// What a shared cache has under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What is known of the step.
    pub record: FoundRecord,
    /// The layer's blob, if the step has a layer that can be fetched.
    pub layer: Option<SharedLayer>,
}

impl Found {
    /// Whether the step has a layer that the image which carries its result does not have.
    pub(crate) fn is_without_blob(&self) -> bool {
        self.layer.is_none() && matches!(&self.record, FoundRecord::Carried(step) if step.layer.is_some())
    }
}

/// What is known of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoundRecord {
    /// The record, as the builder wrote it; it may be anything.
    Whole(Vec<u8>),
    /// What an image carries of it.
    Carried(InlineStep),
}

/// A layer and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedLayer {
    /// Its blob.
    pub blob: Blob,
    /// Where that can be fetched.
    pub source: String,
    /// The repository from which images of the same registry can take it.
    pub origin: Option<BlobOrigin>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    media_type: MediaType,
    #[serde(default)]
    artifact_type: String,
    config: Descriptor,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub media_type: MediaType,
    pub digest: Digest,
    pub size: u64,
}

impl From<Descriptor> for Blob {
    fn from(Descriptor { media_type, digest, size }: Descriptor) -> Self {
        Self { digest, size, media_type }
    }
}

/// The blob that every document names as its configuration.
pub(crate) fn empty_blob() -> Blob {
    Blob { digest: Digest::of(EMPTY), size: EMPTY.len() as u64, media_type: MediaType::from(EMPTY_TYPE) }
}

/// The document of a record.
pub(crate) fn of_record(key: &Digest, record: &str, layer: Option<&Blob>) -> Vec<u8> {
    document(layer, [(KEY, key.to_string()), (RECORD, record.to_owned())])
}

/// The document of a claim.
pub(crate) fn of_claim(token: &str) -> Vec<u8> {
    document(None, [(CLAIM, token.to_owned())])
}

fn document<const N: usize>(layer: Option<&Blob>, annotations: [(&str, String); N]) -> Vec<u8> {
    let descriptor = |blob: &Blob| Descriptor {
        media_type: blob.media_type.clone(),
        digest: blob.digest,
        size: blob.size,
    };
    let mut annotations: BTreeMap<String, String> =
        annotations.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    annotations.insert(CREATED.to_owned(), Timestamp::now().to_string());
    let layers = layer.map(descriptor).into_iter().collect();
    json::canonical(&Manifest {
        schema_version: 2,
        media_type: MediaType::Manifest,
        artifact_type: ARTIFACT_TYPE.to_owned(),
        config: descriptor(&empty_blob()),
        layers,
        annotations,
    })
}

/// Reads the document that was found under `key`, from a storage that calls itself `source`.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read_record(bytes: &[u8], key: &Digest, source: &str) -> Result<Found, String> {
    let mut manifest: Manifest = parse(bytes)?;
    if manifest.annotations.get(KEY) != Some(&key.to_string()) {
        return Err("it is the record of another step".to_owned());
    }
    let record = manifest.annotations.remove(RECORD).ok_or("it has no record")?;
    let layer = match manifest.layers.len() {
        0 => None,
        1 => manifest.layers.pop(),
        count => return Err(format!("it has {count} layers")),
    };
    if let Some(layer) = layer.as_ref().filter(|layer| !layer.media_type.is_layer()) {
        return Err(format!("{:?} is no type of a layer", layer.media_type.as_str()));
    }
    let layer =
        layer.map(|layer| SharedLayer { blob: layer.into(), source: source.to_owned(), origin: None });
    Ok(Found { record: FoundRecord::Whole(record.into_bytes()), layer })
}

/// Who claims a step, as the document of the claim says; `None` if it is none.
pub(crate) fn read_claim(bytes: &[u8]) -> Option<String> {
    parse(bytes).ok()?.annotations.remove(CLAIM)
}

/// How long ago a document was written, as it says itself; `None` if it does not.
pub(crate) fn age(bytes: &[u8]) -> Option<Duration> {
    let created: Timestamp = parse(bytes).ok()?.annotations.get(CREATED)?.parse().ok()?;
    // One of the future, by another machine's clock, is from now.
    Some(Timestamp::now().duration_since(created).try_into().unwrap_or_default())
}

/// The digests of the blobs that a document names.
pub(crate) fn blobs(bytes: &[u8]) -> Vec<Digest> {
    parse(bytes).map_or_else(
        |_| Vec::new(),
        |manifest| {
            let layers = manifest.layers.iter().map(|layer| layer.digest);
            layers.chain([manifest.config.digest]).collect()
        },
    )
}

fn parse(bytes: &[u8]) -> Result<Manifest, String> {
    serde_json::from_slice(bytes).map_err(|error| format!("it cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer() -> Blob {
        Blob { digest: Digest::of("blob"), size: 7, media_type: MediaType::LayerGzip }
    }

    #[test]
    fn a_record_reads_back() {
        let key = Digest::of("key");
        for blob in [None, Some(layer())] {
            let found = read_record(&of_record(&key, "{}", blob.as_ref()), &key, "here").unwrap();
            assert_eq!(found.record, FoundRecord::Whole(b"{}".to_vec()));
            assert_eq!(found.layer.map(|layer| (layer.blob, layer.source)), blob.map(|b| (b, "here".into())));
        }
        assert!(age(&of_record(&key, "{}", None)).unwrap() < Duration::from_secs(60));
        assert_eq!(blobs(&of_record(&key, "{}", Some(&layer()))), [layer().digest, Digest::of(EMPTY)]);
    }

    #[test]
    fn what_is_no_record_of_the_key_is_told() {
        let key = Digest::of("key");
        let good = of_record(&key, "{}", Some(&layer()));
        let changed = |from: &str, to: &str| {
            let text = String::from_utf8(good.clone()).unwrap();
            assert!(text.contains(from), "{text}");
            text.replace(from, to).into_bytes()
        };
        for (bytes, reason) in [
            (Vec::new(), "cannot be read"),
            (b"[]".to_vec(), "cannot be read"),
            (good[..good.len() - 1].to_vec(), "cannot be read"),
            (of_record(&Digest::of("other"), "{}", None), "another step"),
            (of_claim("me"), "another step"),
            (changed(RECORD, "x"), "no record"),
            (changed(MediaType::LayerGzip.as_str(), "text/html"), "no type of a layer"),
        ] {
            let error = read_record(&bytes, &key, "here").unwrap_err();
            assert!(error.contains(reason), "{error} {reason}");
        }
    }

    #[test]
    fn claims_say_whose_they_are() {
        assert_eq!(read_claim(&of_claim("me 1")).as_deref(), Some("me 1"));
        assert_eq!(read_claim(b"x"), None);
    }
}
