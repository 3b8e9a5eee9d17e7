//! Paths as text, made shortest without looking at any file.
//!
//! Source: Go's `path.Clean`, <https://pkg.go.dev/path#Clean>

/// The shortest path that means the same as `path` where no component is a symbolic link; `.` for
/// an empty one.
pub fn path(path: &str) -> String {
    let is_absolute = path.starts_with('/');
    let mut kept: Vec<&str> = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| *last != "..") => {
                kept.pop();
            }
            ".." if is_absolute => {}
            other => kept.push(other),
        }
    }
    match (is_absolute, kept.is_empty()) {
        (true, _) => format!("/{}", kept.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => kept.join("/"),
    }
}

/// `path` cleaned and taken from the root: never starts with `/`, and empty for the root.
pub fn from_root(path: &str) -> String {
    self::path(&format!("/{path}"))[1..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_shortest() {
        for (path, expected) in [
            ("", "."),
            (".", "."),
            ("/", "/"),
            ("a//b/", "a/b"),
            ("a/./b", "a/b"),
            ("a/../b", "b"),
            ("a/..", "."),
            ("../a", "../a"),
            ("../../a/..", "../.."),
            ("/../a", "/a"),
            ("/a/../..", "/"),
        ] {
            assert_eq!(super::path(path), expected, "{path}");
        }
    }

    #[test]
    fn paths_from_the_root_have_no_slash_before() {
        for (path, expected) in [("/a/", "a"), ("../a", "a"), ("", ""), ("/", ""), (".", ""), ("a/..", "")] {
            assert_eq!(from_root(path), expected, "{path}");
        }
    }
}
