//! Who may write what: a pull request's build reads the main branch's records and writes its own.

use std::fmt;
use std::str::FromStr;

use lbuild_oci::Digest;

use crate::CacheError;

const MAX_BYTES: usize = 48;
const DEFAULT: &str = "cache";
const CLAIM: &str = ".claim";

/// A part of a cache, by its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// The name of a step's record, which also is a valid tag.
    pub(crate) fn record(&self, key: &Digest) -> String {
        format!("{}-{}", self.0, key.hex())
    }

    /// The name of the claim to a step.
    pub(crate) fn claim(&self, key: &Digest) -> String {
        format!("{}{CLAIM}", self.record(key))
    }

    /// Whether a name is that of a record or a claim of this namespace.
    pub(crate) fn has(&self, name: &str) -> bool {
        parts(name).is_some_and(|(namespace, _)| namespace == self.0)
    }
}

/// Whether a name is one of a record or of a claim: a repository may have images besides.
pub(crate) fn is_ours(name: &str) -> bool {
    parts(name).is_some()
}

fn parts(name: &str) -> Option<(&str, Digest)> {
    let (namespace, hex) = name.strip_suffix(CLAIM).unwrap_or(name).rsplit_once('-')?;
    Some((namespace, Digest::from_hex(hex).ok()?))
}

impl Default for Namespace {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl FromStr for Namespace {
    type Err = CacheError;

    fn from_str(text: &str) -> Result<Self, CacheError> {
        let is_valid = text.len() <= MAX_BYTES
            && text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if is_valid { Ok(Self(text.to_owned())) } else { Err(CacheError::Namespace(text.to_owned())) }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_namespace() {
        let key = Digest::of("key");
        let (main, other): (Namespace, Namespace) = ("main".parse().unwrap(), "main-2".parse().unwrap());
        for name in [main.record(&key), main.claim(&key)] {
            assert!(main.has(&name) && !other.has(&name) && is_ours(&name), "{name}");
        }
        assert!(!is_ours("v1.2-rc"));
        assert!(!is_ours("latest"));
    }

    #[test]
    fn namespaces_are_parts_of_tags() {
        for text in ["main", "pr-12", "A_b", "0"] {
            assert!(text.parse::<Namespace>().is_ok(), "{text}");
        }
        for text in ["", "-a", "a/b", "a.b", "ä", "../x", &"x".repeat(49)] {
            assert!(text.parse::<Namespace>().is_err(), "{text}");
        }
    }
}
