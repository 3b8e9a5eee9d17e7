//! Docker archives: `manifest.json` names each image's configuration, layers and tags.
//!
//! Source: <https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format>

use lbuild_oci::{Digest, Reference};
use serde::Deserialize;

use crate::candidate::{Candidate, LayerFile};
use crate::document::{null_is_default, parse_json};
use crate::platform;
use crate::source::{Source, check_digest};
use crate::{ImportError, LoadOptions};

const MANIFEST: &str = "manifest.json";

/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default, deserialize_with = "null_is_default")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    layers: Vec<String>,
}

/// A name that `manifest.json` gives.
#[derive(Debug)]
pub(crate) struct Tag {
    /// The digest of the configuration, where its file's name says it.
    pub image: Option<Digest>,
    pub name: Reference,
}

/// The images of `manifest.json`, as far as `options` want them; `None` if there is no such file.
pub(crate) fn candidates(
    source: &dyn Source,
    options: &LoadOptions,
) -> Result<Option<Vec<Candidate>>, ImportError> {
    let Some(items) = items(source, options)? else { return Ok(None) };
    let mut candidates = Vec::new();
    let mut available = Vec::new();
    for item in items {
        let names = item.names()?;
        available.extend(names.iter().map(Reference::familiar));
        if options.select.as_ref().is_none_or(|wanted| is_named(&names, wanted)) {
            candidates.push(item.candidate(source, names, options)?);
        }
    }
    match &options.select {
        Some(wanted) if candidates.is_empty() => {
            Err(ImportError::NotFound { wanted: wanted.clone(), available })
        }
        _ => Ok(Some(candidates)),
    }
}

/// The names that `manifest.json` gives to images; none if there is no such file.
pub(crate) fn tags(source: &dyn Source, options: &LoadOptions) -> Result<Vec<Tag>, ImportError> {
    let mut tags = Vec::new();
    for item in items(source, options)?.unwrap_or_default() {
        let image = digest_in(&item.config);
        tags.extend(item.names()?.into_iter().map(|name| Tag { image, name }));
    }
    Ok(tags)
}

fn items(source: &dyn Source, options: &LoadOptions) -> Result<Option<Vec<Item>>, ImportError> {
    let bytes = source.document(MANIFEST, options.limits.document)?;
    bytes.map(|bytes| parse_json(MANIFEST, &bytes)).transpose()
}

fn is_named(names: &[Reference], wanted: &str) -> bool {
    wanted.parse::<Reference>().is_ok_and(|wanted| names.contains(&wanted))
}

impl Item {
    fn names(&self) -> Result<Vec<Reference>, ImportError> {
        let parse = |text: &String| {
            text.parse().map_err(|source| ImportError::Name { path: MANIFEST.to_owned(), source })
        };
        self.repo_tags.iter().map(parse).collect()
    }

    fn candidate(
        self,
        source: &dyn Source,
        names: Vec<Reference>,
        options: &LoadOptions,
    ) -> Result<Candidate, ImportError> {
        let path = &self.config;
        let config = source
            .document(path, options.limits.document)?
            .ok_or_else(|| ImportError::Missing { path: path.clone() })?;
        let layers = self.layers.into_iter().map(LayerFile::Path).collect();
        let candidate = Candidate::new(path, config, layers)?;
        if let Some(expected) = digest_in(path) {
            check_digest(path, &expected, candidate.id)?;
        }
        let found = candidate.platform();
        if let Some(wanted) = options.platform.as_ref().filter(|wanted| !platform::fits(wanted, &found)) {
            return Err(ImportError::NoPlatform { wanted: wanted.clone(), available: vec![found] });
        }
        Ok(Candidate { names, ..candidate })
    }
}

/// The digest that a configuration's file is named after: `HEX.json` (Docker, Buildah, skopeo),
/// `sha256:HEX` (kaniko) or `blobs/sha256/HEX` (Docker since 25).
fn digest_in(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next()?;
    let name = name.strip_prefix("sha256:").unwrap_or(name);
    Digest::from_hex(name.strip_suffix(".json").unwrap_or(name)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_named_after_their_digest() {
        let hex = "23e6f40b84dbdec83f0fdbe7af873382d4f94fa8329fc88c856881b0a6d6046b";
        let digest = Digest::from_hex(hex).unwrap();
        for (path, expected) in [
            (format!("{hex}.json"), Some(digest)),
            (format!("sha256:{hex}"), Some(digest)),
            (format!("blobs/sha256/{hex}"), Some(digest)),
            ("config.json".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(digest_in(&path), expected, "{path}");
        }
    }
}
