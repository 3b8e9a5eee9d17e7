//! What fuzzing begins with: the cases of `testdata/`, and those of the shared conformance suite where
//! it is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::{Failure, command, run_quietly};
use crate::conformance;
use crate::workspace::{self, entries};

/// No larger seeds: changing them would take the time of many small ones.
const MAX_BYTES: u64 = 64 << 10;

/// Small archives of each form and compression, with holes, long names, links and attributes.
const MAKE_ARCHIVES: &str = "
    umask 022; cd \"$(mktemp -d)\"; mkdir -p tree/sub
    echo content > tree/file; ln tree/file tree/hard; ln -s file tree/soft; mkfifo tree/pipe
    truncate -s 300K tree/sparse; echo end >> tree/sparse
    echo long > tree/sub/$(printf 'n%.0s' $(seq 150))
    for format in v7 ustar gnu oldgnu posix; do
        tar -cf \"$0/$format\" --format=$format tree 2>/dev/null || true
    done
    for version in 0.0 0.1 1.0; do
        tar -cf \"$0/sparse-$version\" --format=posix --sparse --sparse-version=$version tree/sparse
    done
    tar -cf \"$0/sparse-gnu\" --format=gnu --sparse tree/sparse
    gzip -c \"$0/gnu\" > \"$0/gzip\"; bzip2 -c \"$0/gnu\" > \"$0/bzip2\"
    xz -c \"$0/gnu\" > \"$0/xz\"; zstd -q -c \"$0/gnu\" > \"$0/zstd\"
    rm -r \"$PWD\"";

/// Writes the seeds of a target into `folder`. A target that is not known here has those of its folder
/// in `fuzz/seeds` alone.
pub fn lay(target: &str, folder: &Path) -> Result<(), Failure> {
    let texts = match target {
        "parse" => dockerfiles()?,
        "expand" => words(|word| word.contains('$').then(|| format!("value\n{word}")))?,
        "mount_flag" => words(|word| word.strip_prefix("--mount=").map(str::to_owned))?,
        "flags" => words(option_or_value)?,
        "ignore" => ignore_rules()?,
        "tar" => return archives(folder),
        _ => BTreeSet::new(),
    };
    for (number, text) in texts.iter().enumerate() {
        write(&folder.join(format!("{number:05}")), text.as_bytes())?;
    }
    Ok(())
}

/// The Dockerfiles of `testdata/` and of the suite's corpus.
fn dockerfiles() -> Result<BTreeSet<String>, Failure> {
    let mut texts = BTreeSet::new();
    for folder in entries(&workspace::root().join("testdata/parser"))? {
        let files = entries(&folder)?;
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "Dockerfile")) {
            texts.insert(text(file)?);
        }
    }
    if let Some(corpus) = shared("parser/corpus.jsonl") {
        for line in text(&corpus)?.lines() {
            let case: Value = serde_json::from_str(line).map_err(Failure::of(corpus.display()))?;
            texts.extend(case["dockerfile"].as_str().map(str::to_owned));
        }
    }
    Ok(texts)
}

/// What `seed` makes of the words of all Dockerfiles.
fn words(seed: impl Fn(&str) -> Option<String>) -> Result<BTreeSet<String>, Failure> {
    let dockerfiles = dockerfiles()?;
    Ok(dockerfiles.iter().flat_map(|text| text.split_whitespace()).filter_map(seed).collect())
}

/// An option other than `--mount`, and words that may be the value of one.
fn option_or_value(word: &str) -> Option<String> {
    let is_option = word.starts_with("--") && !word.starts_with("--mount=") && word.contains('=');
    let is_port = word.starts_with(|first: char| first.is_ascii_digit());
    (is_option || is_port).then(|| word.to_owned())
}

/// A path, and below it the rules: moby's table turned round, and the ignore files of the cases.
fn ignore_rules() -> Result<BTreeSet<String>, Failure> {
    let rules = ["*.log\n!keep.log", "**/a\n!a/b\n# c\n/d/", "[a-c]?\\*\n**x**", "!\n", "a/**/b"];
    let mut seeds: BTreeSet<String> = rules.iter().map(|rules| format!("a/b/keep.log\n{rules}")).collect();
    if let Some(table) = shared("unit/dockerignore/matches.tsv") {
        for line in text(&table)?.lines() {
            let mut columns = line.split('\t').map(|column| column.trim_matches('"'));
            if let (Some(pattern), Some(path)) = (columns.next(), columns.next()) {
                seeds.insert(format!("{path}\n{pattern}"));
            }
        }
    }
    Ok(seeds)
}

/// Archives that this machine's tar makes, and those of the cases' contexts.
fn archives(folder: &Path) -> Result<(), Failure> {
    run_quietly(command("sh", ["-euc", MAKE_ARCHIVES]).arg(folder))?;
    let Some(cases) = shared("cases") else { return Ok(()) };
    for case in entries(&cases)? {
        let archive = case.join("context.tar");
        let is_small = archive.metadata().is_ok_and(|metadata| metadata.len() <= MAX_BYTES);
        if let Some(name) = case.file_name().filter(|_| is_small) {
            write(&folder.join(name), &read(&archive)?)?;
        }
    }
    Ok(())
}

/// A file of the conformance suite, where it is there.
fn shared(path: &str) -> Option<PathBuf> {
    Some(conformance::script()?.with_file_name(path)).filter(|path| path.exists())
}

fn text(file: &Path) -> Result<String, Failure> {
    Ok(String::from_utf8_lossy(&read(file)?).into_owned())
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(file).map_err(Failure::of(format!("cannot read {}", file.display())))
}

fn write(file: &Path, content: &[u8]) -> Result<(), Failure> {
    fs::write(file, content).map_err(Failure::of(format!("cannot write {}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_ports_are_seeds() {
        for (word, expected) in
            [("--chown=1:2", true), ("8080/tcp", true), ("--mount=type=cache", false), ("RUN", false)]
        {
            assert_eq!(option_or_value(word).is_some(), expected, "{word}");
        }
    }
}
