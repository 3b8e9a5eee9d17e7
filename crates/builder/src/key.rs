//! Cache keys, kept with their parts so that a miss can be explained, and what is recorded under
//! them.

use std::collections::BTreeMap;

use lbuild_oci::{ChainId, DiffId, Digest, json};
use lbuild_shared_cache::{InlineLayer, InlineStep};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::event::LayerSummary;

/// Raised when a step of the same key would give another result than before.
///
/// 2: `--chown=1000:` gives files to group 0; before, to group 1000.
const FORMAT: u32 = 2;

/// All that a step can see: the name of each part and its value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Key {
    parts: BTreeMap<String, Value>,
    /// What explains the parts and is none itself.
    #[serde(skip)]
    notes: BTreeMap<String, Value>,
}

impl Key {
    /// The key of a step of this kind on top of `parent`.
    pub fn new(kind: &str, parent: &[DiffId]) -> Self {
        let parent = ChainId::of(parent).map(|chain| chain.to_string());
        let empty = Self { parts: BTreeMap::new(), notes: BTreeMap::new() };
        empty.with("format", FORMAT).with("kind", kind).with("parent", parent)
    }

    /// The same with another part.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("the parts of a key are representable as JSON");
        self.parts.insert(name.to_owned(), value);
        self
    }

    /// The same, where people are told of `value` too. It does not decide which result is taken.
    pub fn noting(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("the notes of a key are representable as JSON");
        self.notes.insert(name.to_owned(), value);
        self
    }

    /// The same without a part.
    pub fn without(mut self, name: &str) -> Self {
        self.parts.remove(name);
        self
    }

    /// Parts and notes.
    pub fn all(&self) -> BTreeMap<String, Value> {
        self.parts.iter().chain(&self.notes).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The digest of the files that the step copies.
    pub fn files(&self) -> Option<Digest> {
        self.parts.get("files")?.as_str()?.parse().ok()
    }

    /// The digest under which the result is recorded.
    pub fn digest(&self) -> Digest {
        Digest::of(json::canonical(self))
    }
}

/// What a step made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The key with its parts.
    pub key: Key,
    /// The layer; absent if the step changed nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<RecordedLayer>,
    /// When, RFC 3339.
    pub created: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The digest of the files that it copied, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<Digest>,
}

/// A layer in a [`Record`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RecordedLayer {
    /// The layer.
    pub diff_id: DiffId,
    /// Bytes of its uncompressed tar.
    pub size: u64,
    /// Entries of its tar.
    pub entries: u64,
}

impl Record {
    /// The record in the store's form.
    pub fn to_bytes(&self) -> Vec<u8> {
        json::canonical(self)
    }

    /// Reads a record; `None` for one that this version cannot use.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// What an image carries of the step of this key.
    pub fn of_carried(key: &Key, step: InlineStep) -> Self {
        let layer =
            step.layer.map(|InlineLayer { diff_id, size, entries }| RecordedLayer { diff_id, size, entries });
        Self { key: key.clone(), layer, created: step.created, seconds: 0.0, files: step.files }
    }

    /// The step as an image carries it, to be found by `keys`.
    pub fn carried(&self, keys: Vec<Digest>) -> InlineStep {
        let layer = self.layer.as_ref().map(|&RecordedLayer { diff_id, size, entries }| InlineLayer {
            diff_id,
            size,
            entries,
        });
        InlineStep { keys, layer, created: self.created.clone(), files: self.files }
    }

    /// The layer as events show it.
    pub fn summary(&self) -> Option<LayerSummary> {
        self.layer.as_ref().map(|layer| LayerSummary {
            diff_id: layer.diff_id,
            size: layer.size,
            entries: layer.entries,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_key_counts() {
        let layer = DiffId(Digest::of("layer"));
        let key = Key::new("run", &[layer]).with("arguments", ["a"]);
        let others = [
            Key::new("run", &[]).with("arguments", ["a"]),
            Key::new("copy", &[layer]).with("arguments", ["a"]),
            Key::new("run", &[layer]).with("arguments", ["b"]),
            Key::new("run", &[layer]).with("arguments", ["a"]).with("user", ""),
        ];
        for other in others {
            assert_ne!(key.digest(), other.digest(), "{other:?}");
        }
    }

    #[test]
    fn what_a_step_gave_under_other_rules_is_not_taken_for_its_result() {
        let key = Key::new("copy", &[]).with("owner", "1000:");
        assert_ne!(key.digest(), key.clone().with("format", 1).digest());
    }

    #[test]
    fn a_record_reads_back() {
        let layer = RecordedLayer { diff_id: DiffId(Digest::of("layer")), size: 1, entries: 2 };
        let record = Record {
            key: Key::new("run", &[]),
            layer: Some(layer),
            created: "2026-01-01T00:00:00Z".into(),
            seconds: 0.5,
            files: None,
        };
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record.clone()));
        assert_eq!(Record::from_bytes(b"{}"), None);
        // How long it took is nobody else's matter, and differs from build to build.
        let carried = record.carried(vec![record.key.digest()]);
        assert_eq!(Record::of_carried(&record.key, carried), Record { seconds: 0.0, ..record });
    }
}
