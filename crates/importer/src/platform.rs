//! Which of several images for different platforms is meant.

use std::collections::HashSet;

use lbuild_oci::{Digest, MediaType, Platform};

use crate::candidate::{Candidate, LayerFile};
use crate::document::{Descriptor, Document, Manifest};
use crate::source::{Source, blob_path, described_document, unsupported};
use crate::{ImportError, LoadOptions};

/// Indexes within indexes; BuildKit writes two deep.
const MAX_DEPTH: usize = 4;

/// Descriptors of all indexes that are looked at; no registry serves an image for so many platforms.
const MAX_DESCRIPTORS: usize = 4096;

/// Whether each of `descriptors` is for another platform.
pub(crate) fn are_alternatives(descriptors: &[Descriptor]) -> bool {
    let mut seen = HashSet::new();
    descriptors.iter().all(|descriptor| {
        let platform = descriptor.platform.as_ref().and_then(|platform| platform.normalised());
        platform.is_some_and(|platform| seen.insert(platform))
    })
}

/// The one image of `alternatives`, which may be indexes, that `options` want.
pub(crate) fn choose(
    source: &dyn Source,
    alternatives: Vec<Descriptor>,
    options: &LoadOptions,
) -> Result<Candidate, ImportError> {
    let mut expansion = Expansion::new(source, options.limits.document);
    for descriptor in alternatives {
        expansion.add(descriptor, MAX_DEPTH)?;
    }
    let manifests = expansion.manifests;
    if let ([only], None) = (&manifests[..], &options.platform) {
        return read(source, only, options);
    }
    let wanted = options.platform.clone().unwrap_or_else(Platform::host);
    let (told, untold): (Vec<_>, Vec<_>) = manifests
        .into_iter()
        .map(|manifest| (platform_of(&manifest), manifest))
        .partition(|(known, _)| known.is_some());
    let mut available: Vec<Platform> = told.iter().filter_map(|(platform, _)| platform.clone()).collect();
    if let Some(index) = best(&wanted, &available) {
        return read(source, &told[index].1, options);
    }
    for (_, manifest) in &untold {
        let candidate = read(source, manifest, options)?;
        if fits(&wanted, &candidate.platform()) {
            return Ok(candidate);
        }
        available.push(candidate.platform());
    }
    Err(ImportError::NoPlatform { wanted, available })
}

fn platform_of(descriptor: &Descriptor) -> Option<Platform> {
    descriptor.platform.as_ref()?.normalised()
}

/// Collects the manifests that descriptors lead to, each once: indexes that name one another several
/// times would otherwise multiply.
struct Expansion<'a> {
    source: &'a dyn Source,
    /// Bytes of an index.
    limit: u64,
    manifests: Vec<Descriptor>,
    indexes: HashSet<Digest>,
    /// How many were looked at.
    descriptors: usize,
}

impl<'a> Expansion<'a> {
    fn new(source: &'a dyn Source, limit: u64) -> Self {
        Self { source, limit, manifests: Vec::new(), indexes: HashSet::new(), descriptors: 0 }
    }

    /// Adds what `descriptor` leads to through at most `depth` indexes.
    fn add(&mut self, descriptor: Descriptor, depth: usize) -> Result<(), ImportError> {
        let path = blob_path(&descriptor.digest);
        self.descriptors += 1;
        if self.descriptors > MAX_DESCRIPTORS {
            let reason = format!("it is one of more than {MAX_DESCRIPTORS} images that are alternatives");
            return Err(ImportError::Invalid { path, reason });
        }
        if descriptor.is_attestation() {
            return Ok(());
        }
        if descriptor.media_type != MediaType::Index {
            self.manifests.push(descriptor);
            return Ok(());
        }
        if depth == 0 {
            let reason = format!("it is an index within {MAX_DEPTH} indexes");
            return Err(ImportError::Invalid { path, reason });
        }
        if !self.indexes.insert(descriptor.digest) {
            return Ok(());
        }
        let bytes = described_document(self.source, &descriptor, self.limit)?;
        if let Document::Index(index) = Document::parse(&path, &bytes, &descriptor.media_type)? {
            for inner in index.manifests {
                self.add(inner, depth - 1)?;
            }
        }
        Ok(())
    }
}

/// Reads the manifest that `descriptor` names, and its configuration.
fn read(
    source: &dyn Source,
    descriptor: &Descriptor,
    options: &LoadOptions,
) -> Result<Candidate, ImportError> {
    let path = blob_path(&descriptor.digest);
    let bytes = described_document(source, descriptor, options.limits.document)?;
    let Document::Manifest(manifest) = Document::parse(&path, &bytes, &descriptor.media_type)? else {
        return Err(unsupported(path, &descriptor.media_type));
    };
    let Manifest { config, layers, annotations } = *manifest;
    if config.media_type != MediaType::Config {
        return Err(unsupported(blob_path(&config.digest), &config.media_type));
    }
    let config_bytes = described_document(source, &config, options.limits.document)?;
    let layers = layers.into_iter().map(LayerFile::Described).collect();
    let candidate = Candidate::new(&blob_path(&config.digest), config_bytes, layers)?;
    Ok(Candidate { manifest: Some(bytes), annotations, ..candidate })
}

/// The index of the platform that is best for what wants `wanted`: exactly that comes first, then
/// the newest variant that runs there.
fn best(wanted: &Platform, platforms: &[Platform]) -> Option<usize> {
    let candidates = platforms.iter().enumerate().filter(|(_, platform)| fits(wanted, platform));
    // Backwards, since of equals `max_by_key` takes the last.
    candidates
        .rev()
        .max_by_key(|(_, platform)| (*platform == wanted, level(platform)))
        .map(|(index, _)| index)
}

/// Whether what is for `platform` runs on `wanted`, which may be a newer variant of it: a machine
/// that runs `arm/v7` runs `arm/v6` too, one that runs `amd64/v3` runs `amd64`.
pub(crate) fn fits(wanted: &Platform, platform: &Platform) -> bool {
    platform == wanted
        || platform.os == wanted.os
            && platform.architecture == wanted.architecture
            && matches!((level(platform), level(wanted)), (Some(own), Some(highest)) if own <= highest)
}

/// The number of a variant such as `v7`; without one it is the architecture's first.
fn level(platform: &Platform) -> Option<u32> {
    match (platform.architecture.as_str(), platform.variant()) {
        ("amd64", "") => Some(1),
        ("arm64", "") => Some(8),
        (_, "") => Some(0),
        (_, variant) => variant.strip_prefix('v')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_platform_is_chosen() {
        for (wanted, platforms, expected) in [
            ("linux/amd64", &["linux/arm64", "linux/amd64"][..], Some(1)),
            ("linux/amd64", &["linux/amd64", "linux/amd64/v3"], Some(0)),
            ("linux/amd64/v3", &["linux/amd64", "linux/amd64/v2", "linux/amd64/v4"], Some(1)),
            ("linux/arm/v7", &["linux/arm/v5", "linux/arm/v6", "linux/arm64"], Some(1)),
            ("linux/arm/v6", &["linux/arm/v7"], None),
            ("linux/arm64", &["linux/arm64/v9", "linux/arm64"], Some(1)),
            ("linux/amd64", &["windows/amd64", "linux/386"], None),
            ("linux/riscv64", &["linux/riscv64", "linux/riscv64"], Some(0)),
            ("linux/amd64", &[], None),
        ] {
            let platforms: Vec<Platform> = platforms.iter().map(|text| text.parse().unwrap()).collect();
            assert_eq!(best(&wanted.parse().unwrap(), &platforms), expected, "{wanted} of {platforms:?}");
        }
    }
}
