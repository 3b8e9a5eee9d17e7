//! What URLs held when they were last fetched.
//!
//! Only a shortcut, like [`DigestMemo`](crate::DigestMemo): a damaged file counts as empty, and of two
//! processes that save at once one may lose what it learned. URLs, which may hold passwords, are kept
//! as digests.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use lbuild_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::aside;
use crate::book::today;

/// URLs kept, those seen longest ago dropped first.
const MAX_URLS: usize = 10_000;

/// Contents by URL, in a file. May be used by several threads.
#[derive(Debug)]
pub struct UrlMemo {
    path: PathBuf,
    saving: Mutex<()>,
}

/// What a server said of a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub digest: Digest,
    /// `Last-Modified`, in seconds since the Unix epoch.
    pub mtime: Option<i64>,
    pub validator: Validator,
    day: u32,
}

/// How to ask whether a content is still the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Validator {
    Etag(String),
    LastModified(String),
}

impl Known {
    pub fn new(digest: Digest, mtime: Option<i64>, validator: Validator) -> Self {
        Self { digest, mtime, validator, day: today() }
    }
}

impl UrlMemo {
    /// The memo in the file `path`, empty if there is none or it cannot be used.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), saving: Mutex::default() }
    }

    pub(super) fn get(&self, url: &str) -> Option<Known> {
        self.read().remove(&Digest::of(url).to_string())
    }

    /// Keeps what is known of a URL; `None` forgets it.
    pub(super) fn set(&self, url: &str, known: Option<Known>) {
        let _saving = self.saving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = self.read();
        let key = Digest::of(url).to_string();
        let changed = match known {
            Some(known) => all.insert(key, known.clone()).as_ref() != Some(&known),
            None => all.remove(&key).is_some(),
        };
        while all.len() > MAX_URLS
            && let Some(oldest) = all.iter().min_by_key(|(_, known)| known.day).map(|(key, _)| key.clone())
        {
            all.remove(&oldest);
        }
        if changed {
            let content = lbuild_oci::json::canonical(&all);
            let digest = Digest::of(&content).to_string();
            // Only time is lost if it cannot be kept.
            let _ = aside::write(&self.path, &[digest.as_bytes(), b"\n", &content].concat());
        }
    }

    fn read(&self) -> BTreeMap<String, Known> {
        let read = || {
            let bytes = fs::read(&self.path).ok()?;
            let end = bytes.iter().position(|byte| *byte == b'\n')?;
            let (digest, content) = (&bytes[..end], &bytes[end + 1..]);
            let is_whole = Digest::of(content).to_string().as_bytes() == digest;
            is_whole.then(|| serde_json::from_slice(content).ok()).flatten()
        };
        read().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(content: &str) -> Known {
        Known::new(Digest::of(content), Some(1), Validator::Etag("\"x\"".into()))
    }

    #[test]
    fn what_is_known_is_kept_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let memo = UrlMemo::open(folder.path().join("urls"));
        assert_eq!(memo.get("http://h/a"), None);
        memo.set("http://h/a", Some(known("a")));
        memo.set("http://h/b", Some(known("b")));
        let memo = UrlMemo::open(folder.path().join("urls"));
        assert_eq!(memo.get("http://h/a"), Some(known("a")));
        memo.set("http://h/a", None);
        assert_eq!((memo.get("http://h/a"), memo.get("http://h/b")), (None, Some(known("b"))));
    }

    #[test]
    fn a_damaged_file_counts_as_empty_and_no_url_stands_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("urls");
        let memo = UrlMemo::open(&path);
        memo.set("http://user:password@h/a", Some(known("a")));
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("password"), "{text}");
        fs::write(&path, text.replace("\"mtime\":1", "\"mtime\":2")).unwrap();
        assert_eq!(memo.get("http://user:password@h/a"), None);
    }
}
