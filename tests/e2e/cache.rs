//! What is taken from the cache and what is not.

use std::fs;
use std::time::{Duration, SystemTime};

use lbuild_tests::{Run, TestBed};

/// The steps of a build with plain progress: each one's instruction, and whether it was cached.
fn steps(build: &Run) -> Vec<(String, bool)> {
    let mut titles = std::collections::BTreeMap::new();
    let mut steps = Vec::new();
    for line in build.stderr.lines() {
        let Some((number, text)) = line.strip_prefix('#').and_then(|line| line.split_once(' ')) else {
            continue;
        };
        if let Some((_, instruction)) = text.split_once("] ") {
            titles.entry(number).or_insert_with(|| instruction.to_owned());
        }
        for (word, cached) in [("CACHED", true), ("DONE", false)] {
            if text.starts_with(word) {
                steps.push((titles[number].clone(), cached));
            }
        }
    }
    steps.retain(|(instruction, _)| !instruction.starts_with("FROM"));
    steps
}

/// The instructions of a build's steps that ran.
fn executed(build: &Run) -> Vec<String> {
    steps(build).into_iter().filter(|(_, cached)| !cached).map(|(instruction, _)| instruction).collect()
}

#[test]
fn a_second_build_takes_every_step_from_the_cache() {
    let bed = crate::cases::root_file_system();
    let first = bed.build([""; 0]).success();
    assert_eq!(executed(&first).len(), steps(&first).len(), "{first}");
    let image = bed.image(&bed.name());

    let second = bed.build([""; 0]).success();
    assert!(steps(&second).len() >= 4, "{second}");
    assert_eq!(executed(&second), [""; 0], "{second}");
    assert_eq!(bed.image(&bed.name()).id, image.id);
}

#[test]
fn no_cache_runs_every_step() {
    let bed = TestBed::with_base("FROM base\nRUN touch /1\nRUN true\n");
    bed.build([""; 0]).success();
    let again = bed.build(["--no-cache"]).success();
    assert_eq!(executed(&again), ["RUN touch /1", "RUN true"]);
}

#[test]
fn steps_run_again_from_the_first_one_that_sees_a_change() {
    let bed = TestBed::with_base("FROM base\nRUN touch /1\nCOPY f g /\nRUN cat /f /g > /h\n");
    bed.file("f", "1").file("g", "1").file("unused", "1");
    bed.build([""; 0]).success();

    bed.file("unused", "2");
    let file = fs::File::options().write(true).open(bed.context().join("f")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(1000)).unwrap();
    assert_eq!(executed(&bed.build([""; 0]).success()), [""; 0], "a time and an unused file are no change");

    bed.file("g", "2");
    assert_eq!(executed(&bed.build([""; 0]).success()), ["COPY f g /", "RUN cat /f /g > /h"]);
    assert_eq!(bed.image(&bed.name()).top_layer().entry("h").content, b"12");
}

#[test]
fn an_argument_counts_where_a_step_can_see_it() {
    let bed = TestBed::with_base("FROM base\nARG VERSION\nCOPY f /\nRUN echo $VERSION > /v\n");
    bed.file("f", "1");
    bed.build(["--build-arg", "VERSION=1"]).success();
    let build = bed.build(["--build-arg", "VERSION=2"]).success();
    assert_eq!(executed(&build), ["RUN echo $VERSION > /v"]);
    assert_eq!(bed.image(&bed.name()).top_layer().entry("v").content, b"2\n");
}

#[test]
fn a_step_that_was_built_again_to_the_same_layer_does_not_rebuild_the_next() {
    let bed = TestBed::with_base(
        "FROM base AS first
         COPY source /
         RUN grep -v '^#' /source > /result && touch -d @0 /result
         FROM base
         COPY --from=first /result /
         RUN cat /result > /copy",
    );
    bed.file("source", "# a comment\ncode\n");
    bed.build([""; 0]).success();
    bed.file("source", "# another comment\ncode\n");
    let build = bed.build([""; 0]).success();
    let executed = executed(&build);
    assert_eq!(executed.len(), 2, "only the first stage's steps: {executed:?}");
}

#[test]
fn a_failed_step_is_not_in_the_cache() {
    let bed = TestBed::with_base("FROM base\nRUN touch /1\nRUN test -e /no-such-file\n");
    bed.build([""; 0]).failure(1);
    let again = bed.build([""; 0]).failure(1);
    assert!(!again.stderr.contains("#3 CACHED"), "{again}");
    assert_eq!(steps(&again), [("RUN touch /1".to_owned(), true)]);
}

#[test]
fn frozen_builds_only_from_the_cache() {
    let bed = TestBed::with_base("FROM base\nRUN touch /1\n");
    bed.build(["--frozen"]).failure(1).says(&["Dockerfile:2", "--frozen"]);
    bed.build([""; 0]).success();
    bed.build(["--frozen"]).success();
}
