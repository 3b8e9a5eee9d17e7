//! The documents that tie an image together, read strictly.
//!
//! What one reader takes for an index and another for a manifest is refused, whatever its media
//! type says (CVE-2021-41190).
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/manifest.md>,
//! <https://github.com/opencontainers/image-spec/blob/main/image-index.md>

use std::collections::BTreeMap;

use lbuild_oci::{Digest, ImageConfig, MediaType, Platform};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::ImportError;

/// Values of a document: those of images have some hundreds. Each costs many times what it takes in the
/// text, so a bound on bytes alone allows gigabytes of memory.
const MAX_VALUES: usize = 100_000;

/// Names a blob, its size and what it holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub media_type: MediaType,
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    pub platform: Option<DescribedPlatform>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
    /// Where else the blob is, of one that registries may not distribute.
    #[serde(default, deserialize_with = "null_is_default")]
    pub urls: Vec<String>,
}

/// A platform as an index has it, not yet normalised.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct DescribedPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: String,
}

impl DescribedPlatform {
    /// The platform in its usual form; `None` for `unknown/unknown`, which stands for documents
    /// about an image, and for what is no platform at all.
    pub fn normalised(&self) -> Option<Platform> {
        if self.os == "unknown" || self.architecture == "unknown" {
            return None;
        }
        let mut text = format!("{}/{}", self.os, self.architecture);
        if !self.variant.is_empty() {
            text = format!("{text}/{}", self.variant);
        }
        text.parse().ok()
    }
}

impl Descriptor {
    /// Names a document that was fetched by name.
    pub fn of_root(media_type: MediaType, digest: Digest, size: u64) -> Self {
        Self { media_type, digest, size, platform: None, annotations: BTreeMap::new(), urls: Vec::new() }
    }

    /// Whether the blob says something about an image and is none, as BuildKit's provenance does.
    pub fn is_attestation(&self) -> bool {
        self.annotations.contains_key("vnd.docker.reference.type")
            || self.platform.as_ref().is_some_and(|platform| platform.normalised().is_none())
    }
}

/// An index or a manifest.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Index),
    Manifest(Box<Manifest>),
}

/// A list of images, or of other indexes.
#[derive(Debug, Deserialize)]
pub(crate) struct Index {
    #[serde(default, deserialize_with = "null_is_default")]
    pub manifests: Vec<Descriptor>,
}

/// One image.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub config: Descriptor,
    #[serde(default, deserialize_with = "null_is_default")]
    pub layers: Vec<Descriptor>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub annotations: BTreeMap<String, String>,
}

/// What tells an index from a manifest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    schema_version: u32,
    media_type: Option<MediaType>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Document {
    /// Reads an index or a manifest, which `declared` says it is.
    pub fn parse(path: &str, bytes: &[u8], declared: &MediaType) -> Result<Self, ImportError> {
        let invalid =
            |reason: &str| ImportError::Invalid { path: path.to_owned(), reason: reason.to_owned() };
        check_values(path, bytes)?;
        let shape: Shape = parse_json(path, bytes)?;
        if shape.fs_layers.is_some() || shape.schema_version != 2 {
            return Err(invalid(
                "image manifests of schema version 1 are not supported; save the image anew",
            ));
        }
        if shape.manifests.is_some() && (shape.layers.is_some() || shape.config.is_some()) {
            return Err(invalid(
                "it is an index and a manifest at once, which could mean two different images",
            ));
        }
        if shape.media_type.as_ref().is_some_and(|own| own != declared) {
            return Err(invalid("its media type is not the one that it is referred to with"));
        }
        match declared {
            MediaType::Index if shape.layers.is_none() && shape.config.is_none() => {
                Ok(Self::Index(parse_json(path, bytes)?))
            }
            MediaType::Manifest if shape.manifests.is_none() => {
                Ok(Self::Manifest(Box::new(parse_json(path, bytes)?)))
            }
            MediaType::Index | MediaType::Manifest => {
                Err(invalid("its content does not fit the media type that it is referred to with"))
            }
            other => Err(crate::source::unsupported(path.to_owned(), other)),
        }
    }
}

/// Reads an image's configuration.
pub(crate) fn parse_config(path: &str, bytes: &[u8]) -> Result<ImageConfig, ImportError> {
    check_values(path, bytes)?;
    let config: ImageConfig = parse_json(path, bytes)?;
    if config.rootfs.kind != "layers" {
        let reason = format!("its rootfs is of the type {:?}, not \"layers\"", config.rootfs.kind);
        return Err(ImportError::Invalid { path: path.to_owned(), reason });
    }
    Ok(config)
}

fn check_values(path: &str, json: &[u8]) -> Result<(), ImportError> {
    if values(json) <= MAX_VALUES {
        return Ok(());
    }
    let reason = format!("it has more than {MAX_VALUES} values");
    Err(ImportError::Invalid { path: path.to_owned(), reason })
}

/// At least as many as there are values in `json`, by what stands between them and before those inside
/// of others.
fn values(json: &[u8]) -> usize {
    let (mut count, mut is_text, mut is_escaped) = (1, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_text => is_escaped = true,
            b'"' => is_text = !is_text,
            b',' | b'[' | b'{' if !is_text => count += 1,
            _ => {}
        }
    }
    count
}

pub(crate) fn parse_json<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, ImportError> {
    serde_json::from_slice(bytes).map_err(|source| ImportError::Parse { path: path.to_owned(), source })
}

/// Go writes an empty list or map as `null`.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2}"#;

    fn parse(text: &str, declared: MediaType) -> Result<Document, ImportError> {
        Document::parse("document", text.as_bytes(), &declared)
    }

    #[test]
    fn a_document_is_an_index_or_a_manifest_and_never_both() {
        let index = r#"{"schemaVersion":2,"manifests":[]}"#;
        let manifest = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[]}}"#);
        assert!(matches!(parse(index, MediaType::Index), Ok(Document::Index(_))));
        assert!(matches!(parse(&manifest, MediaType::Manifest), Ok(Document::Manifest(_))));
        for (text, declared) in [
            (r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#.to_owned(), MediaType::Index),
            (format!(r#"{{"schemaVersion":2,"manifests":[],"config":{CONFIG}}}"#), MediaType::Index),
            (format!(r#"{{"schemaVersion":2,"manifests":[],"config":{CONFIG}}}"#), MediaType::Manifest),
            (index.to_owned(), MediaType::Manifest),
            (manifest.clone(), MediaType::Index),
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), MediaType::Manifest),
            (
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#
                    .to_owned(),
                MediaType::Index,
            ),
        ] {
            assert!(matches!(parse(&text, declared.clone()), Err(ImportError::Invalid { .. })), "{text}");
        }
    }

    #[test]
    fn values_are_counted_and_what_texts_hold_is_none() {
        for (json, expected) in
            [("1", 1), (r#"{"a":1,"b":[1,2]}"#, 5), (r#"{",[{\",":"\\"}"#, 2), (r#"["\\","x"]"#, 3), ("", 1)]
        {
            assert_eq!(values(json.as_bytes()), expected, "{json}");
        }
        let parse = |count: usize| {
            let history = vec!["{}"; count].join(",");
            let text = format!(
                r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers"}},"history":[{history}]}}"#
            );
            parse_config("config", text.as_bytes())
        };
        assert!(parse(40_000).is_ok());
        assert!(matches!(parse(60_000), Err(ImportError::Invalid { .. })));
    }

    #[test]
    fn a_digest_that_is_a_path_is_refused() {
        let text = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:../../etc/passwd","size":1}]}"#;
        assert!(matches!(parse(text, MediaType::Index), Err(ImportError::Parse { .. })));
    }

    #[test]
    fn documents_about_an_image_are_told_from_images() {
        let descriptor = |rest: &str| -> Descriptor {
            let (start, _) = CONFIG.rsplit_once('}').unwrap();
            serde_json::from_str(&format!("{start},{rest}}}")).unwrap()
        };
        for (rest, expected) in [
            (r#""platform":{"os":"unknown","architecture":"unknown"}"#, true),
            (r#""annotations":{"vnd.docker.reference.type":"attestation-manifest"}"#, true),
            (r#""platform":{"os":"linux","architecture":"amd64"}"#, false),
            (r#""annotations":null"#, false),
        ] {
            assert_eq!(descriptor(rest).is_attestation(), expected, "{rest}");
        }
    }
}
