//! Manifests and indexes: what a tag or a digest names.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests>

use lbuild_oci::{Digest, MediaType};
use serde::Deserialize;
use serde::de::IgnoredAny;
use ureq::http::Method;

use crate::RegistryError;
use crate::answer::Answer;
use crate::call::{Call, Payload};
use crate::endpoint::Endpoint;
use crate::host::Host;
use crate::repository::{Repository, Version, manifest_url};
use crate::token::Scope;

/// Bytes of a manifest or an index: registries take no larger ones.
const MAX_BYTES: u64 = 8 << 20;

const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                      application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.docker.distribution.manifest.v2+json";

/// A manifest or an index as it came, its digest checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Which of the two it is, by what the registry and the document say.
    pub media_type: MediaType,
    /// Its digest.
    pub digest: Digest,
    /// The document.
    pub bytes: Vec<u8>,
}

/// What tells an index from a manifest.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<MediaType>,
    manifests: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

impl Repository {
    /// Fetches a manifest or an index, from a mirror if one has it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError::Digest`] if it is not what was asked for;
    /// [`RegistryError::Document`] if it is too large or could be read as two different things.
    pub fn manifest(&self, version: Version<'_>) -> Result<Manifest, RegistryError> {
        self.at_each(|endpoint| self.manifest_at(endpoint, version))
    }

    /// The digest of what `version` names, without fetching it; `None` if there is no such thing.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn manifest_digest(&self, version: Version<'_>) -> Result<Option<Digest>, RegistryError> {
        let found = self.at_each(|endpoint| {
            let host = self.client.host(endpoint)?;
            let answer = self.client.patiently(|| self.ask(&host, endpoint, Method::HEAD, version))?;
            Ok(answer.header("docker-content-digest").and_then(|digest| digest.parse().ok()))
        });
        match found {
            Ok(Some(digest)) => Ok(Some(digest)),
            Err(error) if error.is_not_found() => Ok(None),
            // It does not tell the digest, or no HEAD.
            Ok(None) | Err(RegistryError::Status { status: 405, .. }) => {
                self.manifest(version).map(|manifest| Some(manifest.digest))
            }
            Err(error) => Err(error),
        }
    }

    /// Puts a manifest or an index under a tag or its digest. What it refers to must be there.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn put_manifest(
        &self,
        version: Version<'_>,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<Digest, RegistryError> {
        let home = self.home();
        let host = self.client.host(home)?;
        let what = self.what(version);
        let digest = Digest::of(bytes);
        let answer = self.client.patiently(|| {
            let url = manifest_url(&host, home, version);
            let call = Call::new(Method::PUT, url, &home.repository, Scope::push(&home.repository))
                .header("content-type", media_type)
                .payload(Payload::Bytes(bytes));
            call.send(&self.client, &host)?.expect(&what, &[200, 201, 202])
        })?;
        match told_digest(&answer) {
            Some(found) if found != digest => {
                Err(RegistryError::Digest { host: host.name.clone(), what, found })
            }
            _ => Ok(digest),
        }
    }

    fn manifest_at(&self, endpoint: &Endpoint, version: Version<'_>) -> Result<Manifest, RegistryError> {
        let what = self.what(version);
        let host = self.client.host(endpoint)?;
        let (declared, told, bytes) = self.client.patiently(|| {
            let answer = self.ask(&host, endpoint, Method::GET, version)?;
            let declared = answer.header("content-type").map(str::to_owned);
            let told = told_digest(&answer);
            Ok((declared, told, answer.read(&what, MAX_BYTES)?))
        })?;
        let digest = Digest::of(&bytes);
        let expected = match version {
            Version::Digest(wanted) => Some(*wanted),
            Version::Tag(_) => told,
        };
        if expected.is_some_and(|expected| expected != digest) {
            return Err(RegistryError::Digest { host: host.name.clone(), what, found: digest });
        }
        let media_type =
            kind(declared.as_deref(), &bytes).map_err(|reason| RegistryError::Document { what, reason })?;
        Ok(Manifest { media_type, digest, bytes })
    }

    fn ask(
        &self,
        host: &Host,
        endpoint: &Endpoint,
        method: Method,
        version: Version<'_>,
    ) -> Result<Answer, RegistryError> {
        let url = manifest_url(host, endpoint, version);
        let scope = Scope::pull(&endpoint.repository);
        let call = Call::new(method, url, &endpoint.repository, scope).header("accept", ACCEPT);
        call.send(&self.client, host)?.expect(&self.what(version), &[200])
    }
}

fn told_digest(answer: &Answer) -> Option<Digest> {
    answer.header("docker-content-digest")?.parse().ok()
}

/// What a document is. What one reader takes for an index and another for a manifest is refused
/// (CVE-2021-41190).
fn kind(declared: Option<&str>, bytes: &[u8]) -> Result<MediaType, String> {
    let shape: Shape =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no manifest: {error}"))?;
    let is_index = shape.manifests.is_some();
    if shape.fs_layers.is_some() {
        return Err("manifests of schema version 1 are not supported; push the image anew".to_owned());
    }
    if is_index && (shape.layers.is_some() || shape.config.is_some()) {
        return Err("it is an index and a manifest at once, which could mean two different images".to_owned());
    }
    let told = declared.map(|text| text.split(';').next().unwrap_or_default().trim());
    // Some servers call every document so.
    let told = told
        .filter(|told| !matches!(*told, "" | "application/json" | "text/plain" | "application/octet-stream"));
    let told = told.map(MediaType::from);
    match (told, shape.media_type) {
        (Some(told), Some(own)) if told != own => {
            Err("its media type is not the one that the registry gives it".to_owned())
        }
        (Some(media_type), _) | (None, Some(media_type)) => Ok(media_type),
        (None, None) => Ok(if is_index { MediaType::Index } else { MediaType::Manifest }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_one_thing_only() {
        const INDEX: &str = "application/vnd.oci.image.index.v1+json";
        const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
        let own = format!(r#"{{"mediaType":"{MANIFEST}","config":{{}},"layers":[]}}"#);
        for (declared, text, expected) in [
            (Some(INDEX), r#"{"manifests":[]}"#, Some(MediaType::Index)),
            (Some(MANIFEST), &*own, Some(MediaType::Manifest)),
            (
                Some("application/vnd.oci.image.manifest.v1+json; charset=utf-8"),
                &*own,
                Some(MediaType::Manifest),
            ),
            (None, &*own, Some(MediaType::Manifest)),
            (Some("application/json"), r#"{"manifests":[]}"#, Some(MediaType::Index)),
            (None, r#"{"config":{},"layers":[]}"#, Some(MediaType::Manifest)),
            (Some(INDEX), &*own, None),
            (Some(INDEX), r#"{"manifests":[],"layers":[]}"#, None),
            (Some(MANIFEST), r#"{"manifests":[],"config":{}}"#, None),
            (Some(MANIFEST), r#"{"schemaVersion":1,"fsLayers":[]}"#, None),
            (Some(INDEX), "<html>", None),
            (Some(INDEX), "[]", None),
        ] {
            assert_eq!(kind(declared, text.as_bytes()).ok(), expected, "{declared:?} {text}");
        }
    }
}
