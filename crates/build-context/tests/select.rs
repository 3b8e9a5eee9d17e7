//! What sources select, as BuildKit does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{entries, folder, paths, root};
use lbuild_build_context::{Context, ContextError, Ignore, Selector, SourceTree, select};
use lbuild_confined::Descent;
use rustix::fs::{self, AtFlags, Mode};

fn selected(
    files: &[&str],
    pattern: &str,
    exclude: &[&str],
    parents: bool,
) -> Result<Vec<String>, ContextError> {
    let folder = folder(files);
    let root = root(&folder);
    let exclude: Vec<_> = exclude.iter().map(|&pattern| pattern.to_owned()).collect();
    let selector = Selector { pattern, exclude: &exclude, parents };
    let tree = SourceTree::new(&root);
    select(&tree, &selector).map(|selection| paths(&tree, &selection))
}

const FILES: &[&str] =
    &["a.txt", "b.txt", "c.md", "d/e.txt", "d/f/g.txt", "d/f/h.md", "s -> d", "t -> d/e.txt"];

#[test]
fn sources_select_files_and_the_content_of_directories() {
    for (pattern, expected) in [
        ("a.txt", &["a.txt"][..]),
        ("/a.txt", &["a.txt"]),
        ("./x/../a.txt", &["a.txt"]),
        ("../../a.txt", &["a.txt"]),
        ("a.txt/", &["a.txt"]),
        ("d", &["e.txt", "f", "f/g.txt", "f/h.md"]),
        ("d/", &["e.txt", "f", "f/g.txt", "f/h.md"]),
        ("d/f/.", &["g.txt", "h.md"]),
        // Links are followed at the end and on the way.
        ("s", &["e.txt", "f", "f/g.txt", "f/h.md"]),
        ("s/f", &["g.txt", "h.md"]),
        ("t", &["t"]),
        // Wildcards, component by component; links are not looked through.
        ("*.txt", &["a.txt", "b.txt"]),
        ("?.md", &["c.md"]),
        ("[ab].txt", &["a.txt", "b.txt"]),
        ("*/*.txt", &["e.txt"]),
        ("s/*.txt", &["e.txt"]),
        ("**/*.txt", &["e.txt"]),
        ("d/*/*", &["g.txt", "h.md"]),
        ("d/*", &["e.txt", "g.txt", "h.md"]),
        ("*.gone", &[]),
        ("a.txt/*", &[]),
    ] {
        assert_eq!(selected(FILES, pattern, &[], false).unwrap(), expected, "{pattern}");
    }
    let everything = selected(FILES, "", &[], false).unwrap();
    assert_eq!(everything, selected(FILES, "/", &[], false).unwrap());
    assert_eq!(everything, selected(FILES, ".", &[], false).unwrap());
    assert_eq!(everything.len(), 10);
}

#[test]
fn what_must_exist_and_does_not_is_an_error() {
    for pattern in ["gone", "gone/*", "d/gone", "a.txt/x", "a\\*"] {
        let error = selected(FILES, pattern, &[], false).unwrap_err();
        assert!(matches!(&error, ContextError::NotFound { ignored: None, .. }), "{pattern}: {error}");
    }
    assert!(matches!(selected(FILES, "[", &[], false), Err(ContextError::Wildcards { .. })));
    assert!(matches!(selected(FILES, "d", &["!"], false), Err(ContextError::Pattern(_))));
    assert!(matches!(selected(&["loop -> loop"], "loop", &[], false), Err(ContextError::Read { .. })));
}

#[test]
fn a_deep_tree_is_selected_whole() {
    const DEPTH: usize = 3000;
    let folder = folder(&[]);
    let root = root(&folder);
    let mut descent = Descent::new(root.try_clone().unwrap().into_fd());
    for _ in 0..DEPTH {
        fs::mkdirat(descent.directory(), "d", Mode::RWXU).unwrap();
        let directory = descent.open("d".as_ref()).unwrap();
        descent.enter("d".into(), directory);
    }
    fs::symlinkat("target", descent.directory(), "link").unwrap();
    let selector = Selector { pattern: "d", exclude: &["**/l*".to_owned()], parents: false };
    let tree = SourceTree::new(&root);
    let selection = select(&tree, &selector).unwrap();
    assert_eq!(entries(&tree, &selection, &selection.picks[0]).len(), DEPTH);
    let selector = Selector { pattern: ".", exclude: &[], parents: false };
    let selection = select(&tree, &selector).unwrap();
    let all = entries(&tree, &selection, &selection.picks[0]);
    let deepest = all.last().unwrap();
    assert_eq!((deepest.depth, deepest.name.as_encoded_bytes()), (DEPTH + 1, b"link".as_slice()));

    // Too deep for the temporary folder to remove it.
    fs::unlinkat(descent.directory(), "link", AtFlags::empty()).unwrap();
    for _ in 0..DEPTH {
        descent.leave().unwrap();
        fs::unlinkat(descent.directory(), "d", AtFlags::REMOVEDIR).unwrap();
    }
}

#[test]
fn links_do_not_lead_out_of_the_tree() {
    let files = ["in/secret", "up -> ../../../../in", "absolute -> /in/secret", "out -> /../../etc/passwd"];
    assert_eq!(selected(&files, "up", &[], false).unwrap(), ["secret"]);
    assert_eq!(selected(&files, "absolute", &[], false).unwrap(), ["absolute"]);
    assert!(selected(&files, "out", &[], false).is_err());
}

#[test]
fn exclusions_start_at_the_copied_directory() {
    for (pattern, exclude, expected) in [
        (".", &["*.txt"][..], &["c.md", "d", "d/e.txt", "d/f", "d/f/g.txt", "d/f/h.md", "s", "t"][..]),
        (".", &["**/*.txt", "s", "t"], &["c.md", "d", "d/f", "d/f/h.md"]),
        ("d", &["f"], &["e.txt"]),
        ("d", &["f/g.txt"], &["e.txt", "f", "f/h.md"]),
        ("d", &["d/f"], &["e.txt", "f", "f/g.txt", "f/h.md"]),
        ("d", &["/f"], &["e.txt", "f", "f/g.txt", "f/h.md"]),
        ("d", &["f", "!f/g.txt"], &["e.txt", "f?", "f/g.txt"]),
        ("d", &["*", "!**/*.md"], &["f?", "f/h.md"]),
        ("d", &["*"], &[]),
        // What the source itself names stays.
        ("*.txt", &["a.txt"], &["a.txt", "b.txt"]),
    ] {
        assert_eq!(selected(FILES, pattern, exclude, false).unwrap(), expected, "{pattern} {exclude:?}");
    }
}

#[test]
fn parents_are_kept_from_the_pivot_on() {
    for (pattern, expected) in [
        ("d/f/g.txt", &["d?", "d/f?", "d/f/g.txt"][..]),
        ("./d/f/", &["d?", "d/f", "d/f/g.txt", "d/f/h.md"]),
        ("d/./f", &["f", "f/g.txt", "f/h.md"]),
        ("./d/./f/*.txt", &["f?", "f/g.txt"]),
        ("d/f/./*.txt", &["g.txt"]),
        ("/d/*/h.md", &["d?", "d/f?", "d/f/h.md"]),
        ("d/./**/*.md", &["f?", "f/h.md"]),
        ("[a-d]*/./f", &["f", "f/g.txt", "f/h.md"]),
        ("d/./", &["e.txt", "f", "f/g.txt", "f/h.md"]),
        ("d/gone*", &[]),
    ] {
        assert_eq!(selected(FILES, pattern, &[], true).unwrap(), expected, "{pattern}");
    }
    assert_eq!(selected(FILES, "./", &[], true).unwrap().len(), 10);
    for pattern in ["gone", "d/gone", "d/./gone", "gone/./x", "s/e.txt"] {
        assert!(
            matches!(selected(FILES, pattern, &[], true), Err(ContextError::NotFound { .. })),
            "{pattern}"
        );
    }
    let without = selected(FILES, "d", &["d/f"], true).unwrap();
    assert_eq!(without, ["d", "d/e.txt"]);
}

#[test]
fn names_that_are_wildcards_can_be_selected() {
    assert_eq!(selected(&["*.txt", "a.txt"], "[*].txt", &[], false).unwrap(), ["*.txt"]);
    assert_eq!(selected(&["*.txt"], "*.txt", &[], false).unwrap(), ["*.txt"]);
}

/// What `pattern` selects from a context with ignore rules.
fn visible(files: &[&str], rules: &str, pattern: &str) -> Result<Vec<String>, ContextError> {
    let folder = folder(files);
    let context = Context::open(folder.path(), Ignore::parse(rules).unwrap()).unwrap();
    let selector = Selector { pattern, exclude: &[], parents: false };
    select(&context.tree(), &selector).map(|selection| paths(&context.tree(), &selection))
}

#[test]
fn ignored_files_do_not_exist() {
    for (rules, pattern, expected) in [
        ("*.md", ".", &["a.txt", "d", "d/e.txt", "d/f", "d/f/g.txt", "d/f/h.md"][..]),
        ("**/*.txt\n!a.txt", ".", &["a.txt", "c.md", "d", "d/f", "d/f/h.md"]),
        ("*", ".", &[]),
        ("d", "*", &["a.txt", "c.md"]),
        ("d/f", "d/*", &["e.txt"]),
        // An exception below an excluded directory keeps the directory.
        ("**\n!d/f/g.txt", ".", &["d", "d/f", "d/f/g.txt"]),
        ("**\n!d/none/x", ".", &["d"]),
        ("d\n!d/f", "d", &["f", "f/g.txt", "f/h.md"]),
        ("d\n!**/g.txt", ".", &["a.txt", "c.md"]),
    ] {
        let files = ["a.txt", "c.md", "d/e.txt", "d/f/g.txt", "d/f/h.md"];
        assert_eq!(visible(&files, rules, pattern).unwrap(), expected, "{rules:?} {pattern}");
    }
}

#[test]
fn errors_say_which_rule_hides_a_source() {
    let files = ["a/b", "link -> a/b", "hidden -> c", "c"];
    for (rules, pattern, line) in
        [("x\na\n", "a/b", 2), ("a/b", "a/b", 1), ("a", "link", 1), ("hidden", "hidden", 1), ("*", "a/*", 1)]
    {
        let error = visible(&files, rules, pattern).unwrap_err();
        let ContextError::NotFound { ignored: Some(reason), .. } = &error else {
            panic!("{pattern}: {error}")
        };
        assert_eq!(reason.line, line, "{rules:?} {pattern}");
    }
    let error = visible(&files, "a", "a/b").unwrap_err();
    assert_eq!(error.to_string(), "a/b: not found (excluded by line 1 of .dockerignore: a)");
    assert_eq!(visible(&files, "", "x").unwrap_err().to_string(), "x: not found");
}

#[test]
fn owners_of_a_folder_count_as_root() {
    let folder = folder(&["a"]);
    std::os::unix::fs::chown(folder.path().join("a"), Some(12), Some(34)).unwrap();
    let context = Context::open(folder.path(), Ignore::default()).unwrap();
    let selector = Selector { pattern: "a", exclude: &[], parents: false };
    let owner = |tree: SourceTree<'_>| {
        let selection = select(&tree, &selector).unwrap();
        (selection.picks[0].metadata().uid, selection.picks[0].metadata().gid)
    };
    assert_eq!(owner(context.tree()), (0, 0));
    assert_eq!(owner(SourceTree::new(context.root())), (12, 34));
}
