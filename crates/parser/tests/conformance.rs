//! BuildKit's own results for real Dockerfiles and its tables for words.
//!
//! The data is not part of this repository. It is looked for in the folder that
//! `LBUILD_CONFORMANCE` names, else in `shared/conformance` beside the repository; without it
//! these tests say that they did not run.

#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use std::path::{Path, PathBuf};
use std::{env, fs};

use lbuild_parser::expand::Expander;
use lbuild_parser::{dump, parse};

/// Entries that BuildKit refuses only when it plans the build; we do it at once.
const REFUSED_LATER: [(&str, &str); 3] = [
    ("bkinline/0100.Dockerfile", "variable expansion is not supported for --from"),
    ("bkinline/0148.Dockerfile", "unexpected key 'typ' in 'typ=tmpfs'"),
    ("bkinline/0149.Dockerfile", "unsupported mount type \"tmp\""),
];

#[allow(clippy::print_stdout)] // A test that does not run must say so.
/// The file or folder `name` of the conformance data.
fn data(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let root = env::var_os("LBUILD_CONFORMANCE").map_or_else(beside, PathBuf::from);
    let path = root.join(name);
    if path.exists() {
        return Some(path);
    }
    println!("NOT RUN: {} is not there", path.display());
    None
}

#[test]
fn real_dockerfiles_give_the_trees_that_buildkit_gives() {
    let Some(path) = data("parser/corpus.jsonl") else { return };
    let mut wrong = Vec::new();
    let mut count = 0;
    for line in fs::read_to_string(path).unwrap().lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| entry.get(key).map(|value| value.as_str().unwrap());
        let (name, source) = (text("name").unwrap(), text("dockerfile").unwrap());
        let parsed = parse(source.as_bytes());
        count += 1;
        // An instruction that BuildKit does not understand still has a tree.
        match text("ast") {
            Some(ast) if dump(source.as_bytes()).as_deref() != Ok(ast) => {
                wrong.push(format!("{name}: another tree"));
            }
            _ => {}
        }
        let later = REFUSED_LATER.iter().find(|(entry, _)| *entry == name).map(|(_, message)| *message);
        match (text("error").or(later), parsed) {
            (Some(error), Ok(_)) => wrong.push(format!("{name}: not refused: {error}")),
            (None, Err(errors)) => wrong.push(format!("{name}: {errors:?}")),
            (Some(_), Err(errors)) => {
                if !later.is_none_or(|message| errors[0].message.starts_with(message)) {
                    wrong.push(format!("{name}: refused for another reason: {errors:?}"));
                }
            }
            (None, Ok(_)) => {}
        }
    }
    assert!(count > 700, "only {count} entries");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn buildkits_own_cases_give_its_trees() {
    let Some(path) = data("unit/parser/testfiles") else { return };
    let mut count = 0;
    for case in fs::read_dir(path).unwrap() {
        let folder = case.unwrap().path();
        let source = fs::read(folder.join("Dockerfile")).unwrap();
        let expected = fs::read_to_string(folder.join("result")).unwrap();
        assert_eq!(dump(&source).unwrap(), expected.trim_end(), "{}", folder.display());
        count += 1;
    }
    assert!(count > 20, "only {count} cases");
}

#[test]
fn buildkits_own_negative_cases_are_refused() {
    let Some(path) = data("unit/parser/testfiles-negative") else { return };
    for case in fs::read_dir(path).unwrap() {
        let source = fs::read(case.unwrap().path().join("Dockerfile")).unwrap();
        assert!(dump(&source).is_err(), "{}", String::from_utf8_lossy(&source));
    }
}

#[test]
fn words_expand_as_buildkits_table_says() {
    let Some(path) = data("unit/shell/envVarTest") else { return };
    let lookup = |name: &str| {
        let value = match name {
            "PWD" => "/home",
            "SHELL" => "bash",
            "KOREAN" => "한국어",
            "NULL" => "",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let expander = Expander::new('\\', &lookup);
    for line in fs::read_to_string(path).unwrap().lines() {
        let row: Vec<_> = line.split('|').map(str::trim).collect();
        let [platform @ ("A" | "U"), word, expected] = row[..] else { continue };
        let found = expander.word(word).map_or_else(|_| "error".to_owned(), |expanded| expanded.text);
        assert_eq!(found, expected, "{platform}: {word}");
    }
}

#[test]
fn words_split_as_buildkits_table_says() {
    let Some(path) = data("unit/shell/wordsTest") else { return };
    let table = fs::read_to_string(path).unwrap();
    let mut variables: Vec<(String, String)> = Vec::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        if let Some(variable) = line.strip_prefix("ENV ") {
            let (name, value) = variable.split_once('=').unwrap();
            variables.push((name.to_owned(), value.to_owned()));
            continue;
        }
        let (word, expected) = line.split_once('|').unwrap();
        let lookup = |name: &str| {
            variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone())
        };
        let expander = Expander::new('\\', &lookup);
        let found = expander.words(word.trim()).unwrap_or_else(|_| vec!["error".to_owned()]);
        let expected: Vec<_> = expected.trim_start_matches(' ').split(',').collect();
        assert_eq!(found, expected, "{word}");
    }
}
