//! The cases in `testdata/parser`.
//!
//! `trees`: a Dockerfile and the tree that it is. `errors`: a Dockerfile and what is wrong with
//! it. `warnings`: a Dockerfile and what could be better. With `UPDATE_CASES=1` the expectations
//! are written anew, to be read before they are committed.

#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use std::fmt::Write;
use std::path::PathBuf;
use std::{env, fs};

use lbuild_parser::{Diagnostic, dump, parse, text};

/// Compares what `show` makes of each Dockerfile with the file beside it.
fn check(folder: &str, extension: &str, show: impl Fn(&[u8]) -> String) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/parser").join(folder);
    let mut cases: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.retain(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"));
    cases.sort();
    assert!(!cases.is_empty(), "no cases in {}", folder.display());
    for path in cases {
        let found = show(&fs::read(&path).unwrap());
        let beside = path.with_extension(extension);
        if env::var_os("UPDATE_CASES").is_some() {
            fs::write(&beside, &found).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        assert_eq!(found, expected, "{}", path.display());
    }
}

/// The diagnostics with their places, and what stands there.
fn show(source: &[u8], diagnostics: &[Diagnostic]) -> String {
    let source = text(source);
    let mut shown = String::new();
    for diagnostic in diagnostics {
        let mut head = String::new();
        if let Some(span) = diagnostic.span {
            let place = source[span.range()].lines().next().unwrap_or_default();
            write!(head, "{}:{} `{place}` ", span.line(&source), span.column(&source)).unwrap();
        }
        if let Some(rule) = diagnostic.rule {
            write!(head, "{rule}: ").unwrap();
        }
        writeln!(shown, "{head}{}", diagnostic.message).unwrap();
        for (span, related) in &diagnostic.related {
            writeln!(shown, "  see {}:{} {related}", span.line(&source), span.column(&source)).unwrap();
        }
        diagnostic.label.iter().for_each(|label| writeln!(shown, "  label {label}").unwrap());
        diagnostic.help.iter().for_each(|help| writeln!(shown, "  help {help}").unwrap());
        diagnostic.url.iter().for_each(|url| writeln!(shown, "  {url}").unwrap());
    }
    shown
}

#[test]
fn trees_are_as_expected() {
    check("trees", "tree", |source| match dump(source) {
        Ok(tree) => tree + "\n",
        Err(errors) => show(source, &errors),
    });
}

#[test]
fn errors_are_as_expected() {
    check("errors", "errors", |source| match parse(source) {
        Ok(_) => "no error\n".to_owned(),
        Err(errors) => show(source, &errors),
    });
}

#[test]
fn warnings_are_as_expected() {
    check("warnings", "warnings", |source| match parse(source) {
        Ok(dockerfile) => show(source, &dockerfile.warnings),
        Err(errors) => show(source, &errors),
    });
}
