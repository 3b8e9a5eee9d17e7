//! OCI layouts: `index.json` names images and indexes by descriptors.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/image-layout.md>

use lbuild_oci::{MediaType, Reference};
use serde::Deserialize;

use crate::candidate::Candidate;
use crate::docker::{self, Tag};
use crate::document::{Descriptor, Document, parse_json};
use crate::platform;
use crate::source::Source;
use crate::{ImportError, LoadOptions};

const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";

/// The full name, as BuildKit, containerd and Docker write it.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// A full name or only a tag, as the writer likes.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    image_layout_version: String,
}

/// Images that are alternatives of each other, or one image, and the names of it.
#[derive(Debug)]
struct Group {
    names: Vec<Reference>,
    alternatives: Vec<Descriptor>,
}

/// The images of `index.json`, as far as `options` want them; `None` if this is no layout.
pub(crate) fn candidates(
    source: &dyn Source,
    options: &LoadOptions,
) -> Result<Option<Vec<Candidate>>, ImportError> {
    let limit = options.limits.document;
    let Some(layout) = source.document(LAYOUT, limit)? else { return Ok(None) };
    check_version(&layout)?;
    let bytes = source.document(INDEX, limit)?.ok_or(ImportError::Missing { path: INDEX.to_owned() })?;
    let descriptors = match Document::parse(INDEX, &bytes, &MediaType::Index)? {
        Document::Index(index) => index.manifests,
        Document::Manifest(_) => Vec::new(),
    };
    let mut candidates: Vec<Candidate> = Vec::new();
    for group in groups(selected(descriptors, options.select.as_deref())?)? {
        let mut candidate = platform::choose(source, group.alternatives, options)?;
        candidate.names = group.names;
        match candidates.iter_mut().find(|known| known.id == candidate.id) {
            Some(known) => add_names(&mut known.names, candidate.names),
            None => candidates.push(candidate),
        }
    }
    if candidates.is_empty() {
        return Err(ImportError::NotAnImage { reason: "its index.json lists no image".to_owned() });
    }
    add_tags(&mut candidates, docker::tags(source, options)?);
    Ok(Some(candidates))
}

fn check_version(bytes: &[u8]) -> Result<(), ImportError> {
    let layout: Layout = parse_json(LAYOUT, bytes)?;
    if layout.image_layout_version.starts_with("1.") {
        return Ok(());
    }
    let reason = format!("layouts of version {:?} are not supported, only 1", layout.image_layout_version);
    Err(ImportError::Invalid { path: LAYOUT.to_owned(), reason })
}

/// The descriptors that `wanted` names by digest, tag or full name; all images without it.
fn selected(descriptors: Vec<Descriptor>, wanted: Option<&str>) -> Result<Vec<Descriptor>, ImportError> {
    let images = descriptors.into_iter().filter(|descriptor| !descriptor.is_attestation());
    let Some(wanted) = wanted else { return Ok(images.collect()) };
    let name: Option<Reference> = wanted.parse().ok();
    let is_wanted = |descriptor: &Descriptor| {
        descriptor.digest.to_string() == wanted
            || descriptor.annotations.get(REF_NAME).is_some_and(|tag| tag == wanted)
            || name.is_some() && image_name(descriptor).is_ok_and(|own| own == name)
    };
    let (chosen, others): (Vec<_>, Vec<_>) = images.partition(is_wanted);
    if chosen.is_empty() {
        let available = others.iter().filter_map(display_name).collect();
        return Err(ImportError::NotFound { wanted: wanted.to_owned(), available });
    }
    Ok(chosen)
}

fn display_name(descriptor: &Descriptor) -> Option<String> {
    let annotation = |name| descriptor.annotations.get(name).cloned();
    annotation(IMAGE_NAME).or_else(|| annotation(REF_NAME))
}

/// The full name that a descriptor gives, if any: a bare tag such as `latest` is none.
fn image_name(descriptor: &Descriptor) -> Result<Option<Reference>, ImportError> {
    if let Some(name) = descriptor.annotations.get(IMAGE_NAME) {
        let parsed: Result<Reference, _> = name.parse();
        let name = parsed.map_err(|source| ImportError::Name { path: INDEX.to_owned(), source })?;
        return Ok(Some(name).filter(|name| name.tag().is_some()));
    }
    let name = descriptor.annotations.get(REF_NAME).filter(|name| name.contains([':', '/']));
    Ok(name.and_then(|name| name.parse().ok()))
}

/// Puts together what is one image: the same digest under several names, or the same name (or none)
/// with a platform each.
fn groups(descriptors: Vec<Descriptor>) -> Result<Vec<Group>, ImportError> {
    let mut images: Vec<(Descriptor, Vec<Reference>)> = Vec::new();
    for descriptor in descriptors {
        let name = image_name(&descriptor)?;
        match images.iter_mut().find(|(known, _)| known.digest == descriptor.digest) {
            Some((_, names)) => add_names(names, name),
            None => images.push((descriptor, name.into_iter().collect())),
        }
    }
    let mut groups: Vec<Group> = Vec::new();
    for (descriptor, names) in images {
        match groups.iter_mut().find(|group| group.names == names) {
            Some(group) => group.alternatives.push(descriptor),
            None => groups.push(Group { names, alternatives: vec![descriptor] }),
        }
    }
    let mut split = Vec::new();
    for group in groups {
        split.extend(group.split()?);
    }
    Ok(split)
}

impl Group {
    /// Several images that are no alternatives of each other become a group each.
    fn split(self) -> Result<Vec<Self>, ImportError> {
        if self.alternatives.len() == 1 || platform::are_alternatives(&self.alternatives) {
            return Ok(vec![self]);
        }
        if let Some(name) = self.names.first() {
            let reason = format!("it gives the name {} to several images", name.familiar());
            return Err(ImportError::Invalid { path: INDEX.to_owned(), reason });
        }
        let single = |descriptor| Self { names: Vec::new(), alternatives: vec![descriptor] };
        Ok(self.alternatives.into_iter().map(single).collect())
    }
}

/// A docker archive that is a layout too may name images in `manifest.json` only.
fn add_tags(candidates: &mut [Candidate], tags: Vec<Tag>) {
    for tag in tags {
        let image = candidates.iter_mut().find(|candidate| tag.image == Some(candidate.id));
        if let Some(candidate) = image {
            add_names(&mut candidate.names, [tag.name]);
        }
    }
}

fn add_names(names: &mut Vec<Reference>, more: impl IntoIterator<Item = Reference>) {
    for name in more {
        if !names.contains(&name) {
            names.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "1111111111111111111111111111111111111111111111111111111111111111";
    const SECOND: &str = "2222222222222222222222222222222222222222222222222222222222222222";

    fn descriptor(hex: &str, platform: Option<&str>, annotations: &[(&str, &str)]) -> Descriptor {
        let annotations: std::collections::BTreeMap<_, _> = annotations.iter().copied().collect();
        let platform =
            platform.map(|architecture| serde_json::json!({"os": "linux", "architecture": architecture}));
        serde_json::from_value(serde_json::json!({
            "mediaType": MediaType::Manifest,
            "digest": format!("sha256:{hex}"),
            "size": 1,
            "platform": platform,
            "annotations": annotations,
        }))
        .unwrap()
    }

    #[test]
    fn a_bare_tag_is_no_name() {
        for (annotations, expected) in [
            (&[(REF_NAME, "latest")][..], None),
            (&[(REF_NAME, "app:1")], Some("app:1")),
            (&[(REF_NAME, "quay.io/a/app")], Some("quay.io/a/app:latest")),
            (&[(REF_NAME, "1"), (IMAGE_NAME, "docker.io/library/app:1")], Some("app:1")),
            (&[(REF_NAME, "Not:A:Name")], None),
            (&[], None),
        ] {
            let name = image_name(&descriptor(FIRST, None, annotations)).unwrap();
            assert_eq!(name.map(|name| name.familiar()).as_deref(), expected, "{annotations:?}");
        }
        assert!(image_name(&descriptor(FIRST, None, &[(IMAGE_NAME, "NO")])).is_err());
    }

    #[test]
    fn names_of_one_image_and_platforms_of_one_name_are_one_group() {
        let named = |hex, platform, name| descriptor(hex, platform, &[(IMAGE_NAME, name)]);
        for (descriptors, expected) in [
            (vec![named(FIRST, None, "a"), named(FIRST, None, "b")], Some(vec![(2, 1)])),
            (vec![named(FIRST, Some("amd64"), "a"), named(SECOND, Some("arm64"), "a")], Some(vec![(1, 2)])),
            (vec![named(FIRST, Some("amd64"), "a"), named(SECOND, Some("amd64"), "a")], None),
            (
                vec![named(FIRST, Some("amd64"), "a"), named(SECOND, Some("arm64"), "b")],
                Some(vec![(1, 1), (1, 1)]),
            ),
            (
                vec![descriptor(FIRST, Some("amd64"), &[]), descriptor(SECOND, Some("arm64"), &[])],
                Some(vec![(0, 2)]),
            ),
            (vec![descriptor(FIRST, None, &[]), descriptor(SECOND, None, &[])], Some(vec![(0, 1), (0, 1)])),
        ] {
            let shape = |group: &Group| (group.names.len(), group.alternatives.len());
            let found = groups(descriptors.clone()).ok();
            assert_eq!(found.map(|groups| groups.iter().map(shape).collect()), expected, "{descriptors:?}");
        }
    }

    #[test]
    fn images_are_selected_by_name_tag_or_digest() {
        let descriptors = || {
            vec![
                descriptor(FIRST, None, &[(IMAGE_NAME, "docker.io/library/app:1"), (REF_NAME, "1")]),
                descriptor(SECOND, None, &[(REF_NAME, "2")]),
            ]
        };
        let first = format!("sha256:{FIRST}");
        for (wanted, expected) in [
            ("app:1", Some(FIRST)),
            ("1", Some(FIRST)),
            ("2", Some(SECOND)),
            (&first, Some(FIRST)),
            ("app", None),
        ] {
            let chosen = selected(descriptors(), Some(wanted)).ok();
            let chosen = chosen.map(|chosen| chosen[0].digest.hex());
            assert_eq!(chosen.as_deref(), expected, "{wanted}");
        }
    }
}
