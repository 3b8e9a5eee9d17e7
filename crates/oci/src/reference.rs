//! Names of images, read as Docker reads them.
//!
//! `debian` is `docker.io/library/debian:latest`. The first part is a registry's host only if it
//! holds a dot or a colon, or is `localhost`.
//!
//! Source: <https://github.com/distribution/reference> (the grammar)

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;

const DEFAULT_DOMAIN: &str = "docker.io";
const OFFICIAL: &str = "library/";
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;

/// An image's name: registry, repository, and a tag or a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    domain: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// Why a text names no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an image name: {reason}")]
pub struct ReferenceError {
    text: String,
    reason: &'static str,
}

impl Reference {
    /// The registry's host and port, `docker.io` by default.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The repository within the registry, `library/debian`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; `latest` where neither a tag nor a digest was written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest that the image's manifest must have.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The name with registry, without tag and digest: `docker.io/library/debian`.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.domain, self.path)
    }

    /// The name as people write it: Docker Hub's defaults left out, the tag kept.
    pub fn familiar(&self) -> String {
        let mut name = self.familiar_repository();
        self.write_suffix(&mut name).expect("writing to a String cannot fail");
        name
    }

    /// [`Reference::familiar`] without tag and digest.
    pub fn familiar_repository(&self) -> String {
        if self.domain == DEFAULT_DOMAIN {
            self.path.strip_prefix(OFFICIAL).unwrap_or(&self.path).to_owned()
        } else {
            self.repository()
        }
    }

    fn write_suffix(&self, out: &mut impl fmt::Write) -> fmt::Result {
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(out, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = |reason| ReferenceError { text: text.to_owned(), reason };
        if text.is_empty() {
            return Err(error("it is empty"));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let digest = digest
                    .parse()
                    .map_err(|_| error("the digest must be sha256: and 64 hexadecimal digits"))?;
                (name, Some(digest))
            }
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(error(
                "a tag holds letters, digits, '_', '.' and '-', 128 at most, and begins with none of '.-'",
            ));
        }
        let (domain, path) = split_domain(name);
        if path.is_empty() {
            return Err(error("it has no repository"));
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(error("the repository must be lower case"));
        }
        if !is_domain(domain) {
            return Err(error("the registry's host is malformed"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(error(
                "a repository holds lower-case letters and digits, separated by '/', '.', '_', '__' or '-'",
            ));
        }
        let path = if domain == DEFAULT_DOMAIN && !path.contains('/') {
            format!("{OFFICIAL}{path}")
        } else {
            path.to_owned()
        };
        if domain.len() + 1 + path.len() > MAX_NAME {
            return Err(error("it is longer than 255 characters"));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some("latest".to_owned()),
        };
        Ok(Self { domain: domain.to_owned(), path, tag, digest })
    }
}

/// Splits a name into registry and repository, filling in Docker Hub.
fn split_domain(name: &str) -> (&str, &str) {
    match name.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == "localhost"
                || first.bytes().any(|b| b.is_ascii_uppercase()) =>
        {
            match first {
                "index.docker.io" | "registry-1.docker.io" => (DEFAULT_DOMAIN, rest),
                _ => (first, rest),
            }
        }
        _ => (DEFAULT_DOMAIN, name),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            if address.is_empty() || !address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => (None, Some(port)),
                None if rest.is_empty() => (None, None),
                None => return false,
            }
        }
        None => match domain.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(domain), None),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.is_none_or(|host| host.split('.').all(label))
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Lower-case letters and digits, with separators `.`, `_`, `__` or any number of `-` between them.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    alphanumeric(first)
        && alphanumeric(last)
        && bytes.split(alphanumeric).all(|separator| {
            matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|b| *b == b'-')
        })
}

fn is_tag(tag: &str) -> bool {
    !tag.is_empty()
        && tag.len() <= MAX_TAG
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.path)?;
        self.write_suffix(f)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed_as_docker_completes_them() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (text, full, familiar) in [
            ("debian", "docker.io/library/debian:latest", "debian:latest"),
            ("debian:12", "docker.io/library/debian:12", "debian:12"),
            ("me/app", "docker.io/me/app:latest", "me/app:latest"),
            ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
            ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
            ("ghcr.io/a/b/c:x", "ghcr.io/a/b/c:x", "ghcr.io/a/b/c:x"),
            ("index.docker.io/library/debian", "docker.io/library/debian:latest", "debian:latest"),
            ("docker.io/debian", "docker.io/library/debian:latest", "debian:latest"),
            ("a__b-c.d--e", "docker.io/library/a__b-c.d--e:latest", "a__b-c.d--e:latest"),
            ("[::1]:5000/app", "[::1]:5000/app:latest", "[::1]:5000/app:latest"),
        ] {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(reference.to_string(), full, "{text}");
            assert_eq!(reference.familiar(), familiar, "{text}");
        }
        let pinned: Reference = format!("debian@{digest}").parse().unwrap();
        assert_eq!(pinned.to_string(), format!("docker.io/library/debian@{digest}"));
        assert_eq!(pinned.tag(), None);
    }

    #[test]
    fn malformed_names_are_refused() {
        for text in [
            "",
            ":",
            "a:",
            "a:b:c",
            "A",
            "a//b",
            "/a",
            "a/",
            "a..b",
            "-a",
            "a-",
            "a___b",
            "a b",
            "a@sha256:x",
            "a@sha256:../x",
            "x.io:port/a",
            "a:-tag",
            "é",
            "a\n",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text:?}");
        }
        assert!("a".repeat(300).parse::<Reference>().is_err());
        assert!(format!("a:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }
}
