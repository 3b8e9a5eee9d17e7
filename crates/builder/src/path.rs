//! Paths of an image, as instructions write them.

use std::path::{Component, Path, PathBuf};

/// `path`, or `path` below `current` if it is relative, without `.` and `..`.
pub(crate) fn absolute(current: &str, path: &str) -> String {
    let mut clean = PathBuf::from("/");
    for component in Path::new(current).join(path).components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_absolute_and_clean() {
        for (current, path, expected) in [
            ("/", "a", "/a"),
            ("/a", "b/../c", "/a/c"),
            ("/a", "/x//y/.", "/x/y"),
            ("/a", "../../..", "/"),
            ("/a", ".", "/a"),
        ] {
            assert_eq!(absolute(current, path), expected, "{current} {path}");
        }
    }
}
