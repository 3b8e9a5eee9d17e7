//! `.dockerignore`: each rule with an example, and moby's own table where it is at hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{add, folder, root};
use lbuild_build_context::{Context, ContextError, Ignore};

#[test]
fn patterns_match_as_in_moby() {
    for (pattern, path, expected) in [
        // Plain names match from the context's root, and all that is below them.
        ("a", "a", true),
        ("a", "a/b/c", true),
        ("a", "b/a", false),
        ("a", "ab", false),
        ("a.b", "axb", false),
        // Leading and trailing slashes and dots mean nothing.
        ("/a", "a", true),
        ("./a/", "a", true),
        ("x/../a", "a", true),
        // Wildcards stay within a component.
        ("*", "a/b", true),
        ("*.md", "a/b.md", false),
        ("*/*.md", "a/b.md", true),
        ("a?c", "a/c", false),
        ("[a-c]", "b", true),
        ("[^a-c]", "b", false),
        ("a\\*", "a*", true),
        ("a\\*", "ab", false),
        ("a[*]", "a*", true),
        // Two stars cross components, and stand for none too.
        ("**/a", "a", true),
        ("**/a", "x/y/a", true),
        ("**/a", "x/ya", false),
        ("**a", "x/ya", true),
        ("x/**/a", "x/a", true),
        ("x/**/a", "x/y/z/a", true),
        ("x/**", "x", false),
        ("x/**", "x/y", true),
        ("x**", "xy/z", true),
        ("x/**/*.md", "x/y/z.md", true),
        ("**", ".hidden", true),
        ("**/*.md", "a/b.md/c", true),
        // The file's name is in bytes, and any character may be asked for.
        ("a?c", "aéc", true),
        ("é*", "étude", true),
        ("(a|b)+", "a", false),
        ("(a|b)+", "(a|b)+", true),
    ] {
        assert_eq!(Ignore::parse(pattern).unwrap().is_ignored(path), expected, "{pattern} {path}");
    }
}

#[test]
fn mobys_table_holds() {
    let table = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/conformance/unit/dockerignore/matches.tsv");
    let Ok(table) = std::fs::read_to_string(&table) else {
        eprintln!("NOT CHECKED: there is no conformance table at {}", table.display());
        return;
    };
    let mut rows = 0;
    for row in table.lines() {
        let fields: Vec<_> = row.split('\t').collect();
        let text = |field: &str| serde_json::from_str::<String>(field).unwrap();
        let (pattern, path) = (text(fields[0]), text(fields[1]));
        // The table's patterns are as they come out of an ignore file, its paths still to be cleaned.
        let path = if path == "/" { path.as_str() } else { path.trim_end_matches('/') };
        let expected = fields[2] == "true";
        assert_eq!(Ignore::parse(&pattern).unwrap().is_ignored(path), expected, "{row}");
        rows += 1;
    }
    assert!(rows >= 50, "the table has only {rows} rows");
}

#[test]
fn the_last_matching_line_decides() {
    let ignore = Ignore::parse("*.md\n!README*.md\nREADME-secret.md\n").unwrap();
    for (path, expected) in
        [("a.md", true), ("README.md", false), ("README-secret.md", true), ("a.txt", false)]
    {
        assert_eq!(ignore.is_ignored(path), expected, "{path}");
    }
}

#[test]
fn exceptions_hold_for_what_is_below_them() {
    let ignore = Ignore::parse("**\n!a\na/b\n!a/b/c\n").unwrap();
    for (path, expected) in [("x", true), ("a", false), ("a/x", false), ("a/b/x", true), ("a/b/c/d", false)] {
        assert_eq!(ignore.is_ignored(path), expected, "{path}");
    }
}

#[test]
fn lines_are_trimmed_and_comments_left_out() {
    let ignore = Ignore::parse("\u{feff}a\n#b\n  #c  \n\n \t\r\n! /d/ \nd/e\r\n").unwrap();
    for (path, expected) in [("a", true), ("#b", false), ("#c", true), ("d", false), ("d/e", true)] {
        assert_eq!(ignore.is_ignored(path), expected, "{path}");
    }
}

#[test]
fn lines_without_meaning_are_named() {
    for (text, expected) in [("a\n!\n", 2), ("#\n\n[\n", 3), ("[]", 1), ("a\\", 1), ("!  ", 1)] {
        let error = Ignore::parse(text).unwrap_err();
        assert!(
            matches!(error, ContextError::IgnoreLine { line, .. } if line == expected),
            "{text:?}: {error}"
        );
    }
}

#[test]
fn explanations_name_the_deciding_line() {
    let ignore = Ignore::parse("# docs\n*.md\n!README.md\n").unwrap();
    let reason = ignore.explain("x.md").unwrap();
    assert_eq!((reason.line, reason.pattern.as_str(), reason.excludes), (2, "*.md", true));
    let reason = ignore.explain("README.md").unwrap();
    assert_eq!((reason.line, reason.pattern.as_str(), reason.excludes), (3, "!README.md", false));
    assert_eq!(reason.to_string(), "kept by line 3 of .dockerignore: !README.md");
    assert_eq!(ignore.explain("x"), None);
}

#[test]
fn an_excluded_directory_is_entered_for_an_exception_written_below_it() {
    for (rules, directory, expected) in [
        ("a\n!a/b\n", "a", true),
        ("a\n!a/b/c\n", "a/b", true),
        ("a\n!a/*.md\n", "a", true),
        ("a\n!ab/c\n", "a", false),
        ("a\n!**/b\n", "a", false),
        ("a\n!*/b\n", "a", false),
    ] {
        let ignore = Ignore::parse(rules).unwrap();
        assert_eq!(ignore.may_have_exceptions_below(directory), expected, "{rules:?}");
        assert_eq!(ignore.shows(directory, true), expected, "{rules:?}");
    }
}

#[test]
fn the_dockerfiles_own_rules_come_first() {
    let context = folder(&["x"]);
    let dockerfile = context.path().join("Dockerfile.dev");
    let ignored = |name: &str| Ignore::find(&root(&context), Some(&dockerfile)).unwrap().is_ignored(name);
    assert!(!ignored("x"));
    add(context.path(), &[".containerignore"]);
    assert!(ignored(".containerignore"));
    add(context.path(), &[".dockerignore"]);
    assert!(ignored(".dockerignore") && !ignored(".containerignore"));
    // An empty file is one too.
    std::fs::write(context.path().join("Dockerfile.dev.dockerignore"), "").unwrap();
    assert!(!ignored(".dockerignore"));
}

#[test]
fn an_ignore_file_that_cannot_be_read_is_an_error() {
    let context = folder(&[".dockerignore/"]);
    let error = Ignore::find(&root(&context), None).unwrap_err();
    assert!(matches!(error, ContextError::IgnoreFile { .. }), "{error}");
}

#[test]
fn a_listing_explains_each_file() {
    let context = folder(&["a/b", "a/c", "d/e", "f"]);
    let ignore = Ignore::parse("a\n!a/b\nd\n").unwrap();
    let listed = Context::open(context.path(), ignore).unwrap().list().unwrap();
    let listed: Vec<_> = listed
        .iter()
        .map(|file| (file.path.to_str().unwrap(), file.is_visible, file.reason.as_ref().map(|why| why.line)))
        .collect();
    assert_eq!(
        listed,
        [
            ("a", true, Some(1)),
            ("a/b", true, Some(2)),
            ("a/c", false, Some(1)),
            ("d", false, Some(3)),
            ("f", true, None)
        ]
    );
}
