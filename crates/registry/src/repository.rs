//! A repository: the manifests and blobs under one name.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use lbuild_oci::{Digest, Reference, lock};
use serde::Deserialize;
use ureq::http::Method;

use crate::RegistryError;
use crate::call::Call;
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::host::Host;
use crate::token::Scope;

/// Bytes of one page of a list of tags.
const MAX_PAGE: u64 = 4 << 20;
/// Pages that are read, and bytes of all of them.
const MAX_PAGES: usize = 1000;
const MAX_LIST: u64 = 128 << 20;

/// A repository. Clones share what was learnt of its mirrors.
#[derive(Debug, Clone)]
pub struct Repository {
    pub(crate) client: Client,
    name: String,
    /// Mirrors first; the last one is the registry itself.
    pub(crate) endpoints: Arc<[Endpoint]>,
    learnt: Arc<Mutex<Learnt>>,
}

/// What is not tried again, by the endpoint's number.
#[derive(Debug, Default)]
struct Learnt {
    unreachable: HashSet<usize>,
    damaged: HashSet<(usize, Digest)>,
}

/// A manifest's place in its repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version<'a> {
    /// Under a tag.
    Tag(&'a str),
    /// Under its digest.
    Digest(&'a Digest),
}

#[derive(Deserialize)]
struct Tags {
    tags: Option<Vec<String>>,
}

impl Repository {
    pub(crate) fn new(client: Client, name: &Reference, endpoints: Vec<Endpoint>) -> Self {
        Self { client, name: name.repository(), endpoints: endpoints.into(), learnt: Arc::default() }
    }

    /// The name with its registry: `docker.io/library/debian`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where what is pushed goes: the registry's host.
    pub fn registry(&self) -> &str {
        &self.home().host
    }

    /// Where what is pushed goes: the repository's path on [`Repository::registry`].
    pub fn path(&self) -> &str {
        &self.home().repository
    }

    /// The tags that `is_wanted` likes, sorted as the registry sorts them; none if there is no such
    /// repository.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn tags(&self, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<String>, RegistryError> {
        let home = self.home();
        let host = self.client.host(home)?;
        let what = format!("the tags of {}", self.name);
        let mut url = Some(host.url(&format!("{}/tags/list?n=1000", home.repository)));
        let mut tags = Vec::new();
        let mut left = MAX_LIST;
        for _ in 0..MAX_PAGES {
            let Some(page) = url.take() else { break };
            let answer = self.client.patiently(|| {
                let scope = Scope::pull(&home.repository);
                let call = Call::new(Method::GET, page.clone(), &home.repository, scope);
                call.send(&self.client, &host)?.expect(&what, &[200])
            });
            let answer = match answer {
                Err(error) if error.is_not_found() => return Ok(tags),
                answer => answer?,
            };
            let next = answer.header("link").and_then(next_page).map(str::to_owned);
            url = next.and_then(|next| answer.url.join(&next)).filter(|next| next.is_same_origin(&host.base));
            let bytes = answer.read(&what, MAX_PAGE.min(left))?;
            left -= bytes.len() as u64;
            let page: Tags = serde_json::from_slice(&bytes).map_err(|error| RegistryError::Protocol {
                host: host.name.clone(),
                reason: format!("its list of tags cannot be read: {error}"),
            })?;
            tags.extend(page.tags.unwrap_or_default().into_iter().filter(|tag| is_wanted(tag)));
        }
        Ok(tags)
    }

    /// Removes a tag, or a manifest with all its tags. Registries may allow neither.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::Status`] with 405 where it is not allowed.
    pub fn delete(&self, version: Version<'_>) -> Result<(), RegistryError> {
        let home = self.home();
        let host = self.client.host(home)?;
        let what = self.what(version);
        self.client.patiently(|| {
            let url = manifest_url(&host, home, version);
            let call = Call::new(Method::DELETE, url, &home.repository, Scope::delete(&home.repository));
            call.send(&self.client, &host)?.expect(&what, &[200, 202, 204]).map(drop)
        })
    }

    /// The registry itself.
    pub(crate) fn home(&self) -> &Endpoint {
        &self.endpoints[self.endpoints.len() - 1]
    }

    /// What errors call a manifest.
    pub(crate) fn what(&self, version: Version<'_>) -> String {
        match version {
            Version::Tag(tag) => format!("{}:{tag}", self.name),
            Version::Digest(digest) => format!("{}@{digest}", self.name),
        }
    }

    /// Tries each endpoint that has a chance; fails as the last one does.
    pub(crate) fn at_each<T>(
        &self,
        mut attempt: impl FnMut(&Endpoint) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut failure = None;
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if endpoint.is_mirror && lock(&self.learnt).unreachable.contains(&index) {
                continue;
            }
            match attempt(endpoint) {
                Ok(found) => return Ok(found),
                Err(error @ RegistryError::Interrupted) => return Err(error),
                Err(error) => {
                    self.note(index, &error);
                    failure = Some(error);
                }
            }
        }
        Err(failure.unwrap_or(RegistryError::Interrupted))
    }

    /// Remembers what a failure says of an endpoint.
    pub(crate) fn note(&self, index: usize, error: &RegistryError) {
        if matches!(error, RegistryError::Connection { .. }) {
            lock(&self.learnt).unreachable.insert(index);
        }
    }

    /// Remembers that an endpoint has a blob that is not what its digest says.
    pub(crate) fn distrust(&self, index: usize, digest: &Digest) {
        lock(&self.learnt).damaged.insert((index, *digest));
    }

    /// The first endpoint from `index` on that may have the blob; the registry itself always may.
    pub(crate) fn candidate(&self, index: usize, digest: &Digest) -> Option<usize> {
        let learnt = lock(&self.learnt);
        let last = self.endpoints.len() - 1;
        (index..=last).find(|&index| {
            index == last
                || !learnt.unreachable.contains(&index) && !learnt.damaged.contains(&(index, *digest))
        })
    }
}

/// The address of a manifest.
pub(crate) fn manifest_url(host: &Host, endpoint: &Endpoint, version: Version<'_>) -> crate::url::Url {
    let reference = match version {
        Version::Tag(tag) => tag.to_owned(),
        Version::Digest(digest) => digest.to_string(),
    };
    host.url(&format!("{}/manifests/{reference}", endpoint.repository))
}

/// The target of `<…>; rel="next"`.
fn next_page(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = parameters.split(';').any(|parameter| {
        let parameter = parameter.trim().trim_end_matches(',');
        parameter == "rel=next" || parameter == "rel=\"next\""
    });
    is_next.then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_on_at_the_next_link() {
        for (link, expected) in [
            (r#"</v2/a/tags/list?last=x&n=5>; rel="next""#, Some("/v2/a/tags/list?last=x&n=5")),
            ("<x>;rel=next", Some("x")),
            (r#"<x>; rel="prev""#, None),
            ("x", None),
        ] {
            assert_eq!(next_page(link), expected, "{link}");
        }
    }
}
