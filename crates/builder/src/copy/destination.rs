//! Where a copy goes.

use std::path::{Component, Path, PathBuf};

/// A destination, absolute and cleaned without looking at any file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Destination {
    text: String,
    path: PathBuf,
    is_directory: bool,
}

impl Destination {
    /// From an instruction's destination and the working directory.
    pub(super) fn new(destination: &str, workdir: &Path) -> Self {
        let is_directory =
            matches!(destination, "" | ".") || destination.ends_with('/') || destination.ends_with("/.");
        let path = clean(&workdir.join(destination));
        let text = format!("{}{}", path.display(), if is_directory { "/" } else { "" });
        Self { text, path, is_directory }
    }

    /// As it goes into a cache key.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The destination itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that is made whatever is copied.
    pub(super) fn certain_directory(&self) -> &Path {
        if self.is_directory { &self.path } else { self.path.parent().unwrap_or(&self.path) }
    }
}

/// `..` takes the component before it away, whatever that is.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            _ => {}
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_start_at_the_working_directory() {
        for (destination, workdir, path, certain) in [
            ("a", "/", "/a", "/"),
            ("a/", "/", "/a", "/a"),
            ("a/.", "/", "/a", "/a"),
            ("/a/b", "/w", "/a/b", "/a"),
            ("b", "/w/x", "/w/x/b", "/w/x"),
            ("", "/w", "/w", "/w"),
            (".", "/w", "/w", "/w"),
            ("./", "/w", "/w", "/w"),
            ("..", "/w/x", "/w", "/"),
            ("../", "/w/x", "/w", "/w"),
            ("/link/..", "/", "/", "/"),
            ("../../..", "/w", "/", "/"),
            ("/", "/w", "/", "/"),
        ] {
            let found = Destination::new(destination, Path::new(workdir));
            assert_eq!(found.path(), Path::new(path), "{destination}");
            assert_eq!(found.certain_directory(), Path::new(certain), "{destination}");
        }
    }
}
