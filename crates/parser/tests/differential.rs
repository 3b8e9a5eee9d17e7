//! Other parsers, on what they accept.
//!
//! They split a file into the same instructions. What they know to be different is left out:
//! `dockerfile-parser` knows no heredocs and no directives; `parse-dockerfile` loses the
//! instruction behind a doubled backslash.

#![allow(clippy::unwrap_used)] // Helpers of tests may panic as tests do.

use std::path::PathBuf;
use std::{env, fs};

use lbuild_parser::{dump, parse};

/// The Dockerfiles in `testdata/parser` that we accept too.
fn sources() -> Vec<(String, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../testdata/parser");
    let mut sources = Vec::new();
    for folder in ["trees", "warnings"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "Dockerfile") {
                let source = fs::read_to_string(&path).unwrap();
                if parse(source.as_bytes()).is_ok() {
                    sources.push((path.display().to_string(), source));
                }
            }
        }
    }
    sources
}

/// Names of the instructions, in lower case.
fn ours(source: &str) -> Vec<String> {
    let tree = dump(source.as_bytes()).unwrap();
    tree.lines().map(|line| line[1..].split([' ', ')']).next().unwrap().to_owned()).collect()
}

#[test]
fn dockerfile_parser_finds_the_same_instructions() {
    use dockerfile_parser::Instruction;
    let mut compared = 0;
    for (name, source) in sources() {
        if source.contains("<<") || source.to_lowercase().contains("escape") || source.contains("\\\\\n") {
            continue;
        }
        let Ok(theirs) = dockerfile_parser::Dockerfile::parse(&source) else { continue };
        let found: Vec<_> = theirs
            .instructions
            .iter()
            .map(|instruction| match instruction {
                Instruction::From(_) => "from".to_owned(),
                Instruction::Arg(_) => "arg".to_owned(),
                Instruction::Label(_) => "label".to_owned(),
                Instruction::Run(_) => "run".to_owned(),
                Instruction::Entrypoint(_) => "entrypoint".to_owned(),
                Instruction::Cmd(_) => "cmd".to_owned(),
                Instruction::Copy(_) => "copy".to_owned(),
                Instruction::Env(_) => "env".to_owned(),
                Instruction::Misc(other) => other.instruction.content.to_lowercase(),
            })
            .collect();
        assert_eq!(found, ours(&source), "{name}");
        compared += 1;
    }
    assert!(compared >= 5, "only {compared} files were compared");
}

#[test]
fn parse_dockerfile_finds_the_same_instructions() {
    let mut compared = 0;
    for (name, source) in sources() {
        if source.contains("\\\\\n") {
            continue;
        }
        let Ok(theirs) = parse_dockerfile::parse(&source) else { continue };
        let kind = |instruction: &parse_dockerfile::Instruction<'_>| {
            let shown = format!("{instruction:?}");
            shown.split('(').next().unwrap_or_default().to_lowercase()
        };
        let found: Vec<_> = theirs.instructions.iter().map(kind).collect();
        assert_eq!(found, ours(&source), "{name}");
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} files were compared");
}
