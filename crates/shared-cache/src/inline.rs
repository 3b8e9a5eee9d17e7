//! The cache that an image carries: which of its layers are the results of which steps.
//!
//! It is a field of the image's configuration, so it goes wherever the image goes, and costs no request of
//! its own. It holds digests, sizes and times: of what a step saw, its key's digest alone. The same build
//! gives the same field, byte for byte, whether its steps ran or were found.
//!
//! ```text
//! "dev.lbuild.cache": { "version": 1, "steps": [
//!   { "keys": ["sha256:…"], "created": "2026-01-01T00:00:00Z", "files": "sha256:…",
//!     "layer": { "diffId": "sha256:…", "size": 1024, "entries": 3 } } ] }
//! ```
//!
//! A step without a layer changed nothing. Steps of other stages are there too, whose layers the image does
//! not have: with their DiffIDs, a copy from such a stage is found without the stage being built again.

use std::collections::HashMap;

use jiff::Timestamp;
use lbuild_layer_store::Blob;
use lbuild_oci::{DiffId, Digest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The field of the image's configuration.
pub const INLINE_FIELD: &str = "dev.lbuild.cache";

const VERSION: u32 = 1;

/// Steps that are read from one image: more than any Dockerfile has.
const MAX_STEPS: usize = 20_000;

/// Keys of one step: a copy has two.
const MAX_KEYS: usize = 8;

/// The result of a step, as an image carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InlineStep {
    /// The digests of the keys that it is looked up by.
    pub keys: Vec<Digest>,
    /// The layer; absent if the step changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<InlineLayer>,
    /// When it was made, RFC 3339.
    pub created: String,
    /// The digest of the files that it copied, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Digest>,
}

/// A layer in an [`InlineStep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InlineLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// Bytes of its uncompressed tar.
    pub size: u64,
    /// Entries of its tar.
    pub entries: u64,
}

/// The field that says `steps`.
pub fn inline_field(steps: &[InlineStep]) -> Value {
    let field = Field { version: VERSION, steps: steps.to_vec() };
    serde_json::to_value(field).expect("steps are representable as JSON")
}

/// A step that an image carries, with the blob of its layer if the image has that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CarriedStep {
    pub step: InlineStep,
    pub blob: Option<Blob>,
}

/// What an image carries, by the steps' keys; `None` if it was made without. `blobs` are those of its layers,
/// as its manifest has them.
///
/// # Errors
/// What is wrong with the configuration, or that it is not that of an image of these layers.
pub(crate) fn read(
    configuration: &[u8],
    blobs: &[Blob],
) -> Result<Option<HashMap<Digest, CarriedStep>>, String> {
    let configuration: Configuration = serde_json::from_slice(configuration)
        .map_err(|error| format!("its configuration cannot be read: {error}"))?;
    let Some(field) = configuration.cache else { return Ok(None) };
    // The rest of a later version's field may be anything.
    match field.get("version").and_then(Value::as_u64) {
        Some(version) if version == u64::from(VERSION) => {}
        _ => return Err("its cache is in the form of another version of lbuild".to_owned()),
    }
    let Field { steps, .. } =
        serde_json::from_value(field).map_err(|error| format!("its cache cannot be read: {error}"))?;
    if steps.len() > MAX_STEPS {
        return Err(format!("its cache has {} steps", steps.len()));
    }
    if let Some(step) = steps.iter().find(|step| step.keys.len() > MAX_KEYS) {
        return Err(format!("its cache has a step of {} keys", step.keys.len()));
    }
    let layers = configuration.rootfs.diff_ids;
    if layers.len() != blobs.len() {
        let (told, found) = (layers.len(), blobs.len());
        return Err(format!("its configuration has {told} layers and its manifest {found}"));
    }
    let blobs: HashMap<DiffId, &Blob> = layers.into_iter().zip(blobs).collect();
    let mut carried = HashMap::new();
    for step in steps {
        let is_dated = step.created.parse::<Timestamp>().is_ok();
        if !is_dated {
            return Err("its cache has a step without a time".to_owned());
        }
        let blob = step.layer.and_then(|layer| blobs.get(&layer.diff_id)).map(|blob| (*blob).clone());
        for key in &step.keys {
            carried.insert(*key, CarriedStep { step: step.clone(), blob: blob.clone() });
        }
    }
    Ok(Some(carried))
}

#[derive(Serialize, Deserialize)]
struct Field {
    version: u32,
    steps: Vec<InlineStep>,
}

/// What is read of an image's configuration.
#[derive(Deserialize)]
struct Configuration {
    rootfs: Layers,
    #[serde(rename = "dev.lbuild.cache")]
    cache: Option<Value>,
}

#[derive(Deserialize)]
struct Layers {
    diff_ids: Vec<DiffId>,
}

#[cfg(test)]
mod tests {
    use lbuild_oci::{MediaType, json};
    use serde_json::json;

    use super::*;

    fn diff_id(text: &str) -> DiffId {
        DiffId(Digest::of(text))
    }

    fn blob(text: &str) -> Blob {
        Blob { digest: Digest::of(text), size: 7, media_type: MediaType::LayerGzip }
    }

    fn step(keys: &[&str], layer: Option<&str>) -> InlineStep {
        InlineStep {
            keys: keys.iter().map(Digest::of).collect(),
            layer: layer.map(|layer| InlineLayer { diff_id: diff_id(layer), size: 3, entries: 1 }),
            created: "2026-01-01T00:00:00Z".to_owned(),
            files: None,
        }
    }

    /// An image of the layers `one` and `two`.
    fn image(field: &Value) -> Vec<u8> {
        let layers = [diff_id("one"), diff_id("two")];
        json::canonical(&json!({ "rootfs": { "type": "layers", "diff_ids": layers }, INLINE_FIELD: field }))
    }

    #[test]
    fn a_step_is_found_by_each_of_its_keys_with_the_blob_that_the_image_has() {
        let steps = [step(&["a", "b"], Some("two")), step(&["c"], None), step(&["d"], Some("elsewhere"))];
        let blobs = [blob("blob of one"), blob("blob of two")];
        let carried = read(&image(&inline_field(&steps)), &blobs).unwrap().unwrap();
        for (key, index, blob) in
            [("a", 0, Some(&blobs[1])), ("b", 0, Some(&blobs[1])), ("c", 1, None), ("d", 2, None)]
        {
            let expected = CarriedStep { step: steps[index].clone(), blob: blob.cloned() };
            assert_eq!(carried.get(&Digest::of(key)), Some(&expected), "{key}");
        }
        assert_eq!(carried.len(), 4);
    }

    #[test]
    fn an_image_may_carry_nothing() {
        assert_eq!(read(br#"{"rootfs":{"diff_ids":[]}}"#, &[]), Ok(None));
    }

    #[test]
    fn a_cache_is_refused_as_a_whole_that_is_not_what_it_should_be() {
        let good = inline_field(&[step(&["a"], Some("two"))]);
        let changed = |pointer: &str, value: Value| {
            let mut field = good.clone();
            *field.pointer_mut(pointer).unwrap() = value;
            image(&field)
        };
        let blobs = [blob("1"), blob("2")];
        for (configuration, blobs, reason) in [
            (b"[]".to_vec(), &blobs[..], "cannot be read"),
            (image(&json!([])), &blobs, "another version"),
            (changed("/version", json!(2)), &blobs, "another version"),
            (changed("/steps", json!(7)), &blobs, "cannot be read"),
            (changed("/steps/0/keys/0", json!("sha256:7")), &blobs, "cannot be read"),
            (changed("/steps/0/layer/diffId", json!("../../etc")), &blobs, "cannot be read"),
            (changed("/steps/0/layer/size", json!(-1)), &blobs, "cannot be read"),
            (changed("/steps/0/created", json!("\u{1b}[2J")), &blobs, "without a time"),
            (changed("/steps/0/keys", json!(vec![Digest::of("a"); 9])), &blobs, "a step of 9 keys"),
            (changed("/steps", json!(vec![&good["steps"][0]; 20_001])), &blobs, "20001 steps"),
            (image(&good), &blobs[..1], "2 layers and its manifest 1"),
        ] {
            let error = read(&configuration, blobs).unwrap_err();
            assert!(error.contains(reason), "{error}: {reason}");
        }
    }

    #[test]
    fn no_byte_of_a_configuration_makes_its_reader_fail_otherwise_than_by_an_error() {
        let good = image(&inline_field(&[step(&["a", "b"], Some("two")), step(&["c"], None)]));
        let blobs = [blob("1"), blob("2")];
        for index in 0..good.len() {
            for byte in [0, b'"', b'9', b'{', 0xff, good[index] ^ 1] {
                let mut bytes = good.clone();
                bytes[index] = byte;
                // What is still read names no layer's blob but the image's own.
                for carried in read(&bytes, &blobs).ok().flatten().unwrap_or_default().into_values() {
                    assert!(carried.blob.is_none_or(|blob| blobs.contains(&blob)));
                }
            }
            assert!(read(&good[..index], &blobs).is_err());
        }
    }
}
