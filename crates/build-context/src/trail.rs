//! The path of a walk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path that gets longer and shorter by one name at a time. Unlike a `PathBuf` it is never parsed.
#[derive(Debug, Clone)]
pub(crate) struct Trail {
    bytes: Vec<u8>,
    /// How long it was before each name.
    lengths: Vec<usize>,
}

impl Trail {
    /// Begins with `start`, perhaps nothing.
    pub(crate) fn new(start: &Path) -> Self {
        Self { bytes: start.as_os_str().as_bytes().to_vec(), lengths: Vec::new() }
    }

    /// Goes on with `name`.
    pub(crate) fn push(&mut self, name: &OsStr) {
        self.lengths.push(self.bytes.len());
        if self.bytes.last().is_some_and(|last| *last != b'/') {
            self.bytes.push(b'/');
        }
        self.bytes.extend_from_slice(name.as_bytes());
    }

    /// Goes back by one name, but not behind the start.
    pub(crate) fn pop(&mut self) {
        if let Some(length) = self.lengths.pop() {
            self.bytes.truncate(length);
        }
    }

    /// How many names were added.
    pub(crate) fn depth(&self) -> usize {
        self.lengths.len()
    }

    /// All of it.
    pub(crate) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_is_the_path_that_joining_gives() {
        for start in ["", "/", "a", "a/b"] {
            let mut trail = Trail::new(Path::new(start));
            trail.push(OsStr::new("c"));
            trail.push(OsStr::new("d"));
            assert_eq!(trail.path().as_os_str(), Path::new(start).join("c/d").as_os_str());
            trail.pop();
            assert_eq!(trail.path().as_os_str(), Path::new(start).join("c").as_os_str());
            assert_eq!(trail.depth(), 1);
            trail.pop();
            trail.pop();
            assert_eq!(trail.path(), Path::new(start));
        }
    }
}
