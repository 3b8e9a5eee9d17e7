//! What `RUN --mount=type=cache` keeps: listed, handed from store to store, and left alone by others.

use lbuild_tests::{Gate, TestBed};

const FILLED: &str = "FROM base\nRUN --mount=type=cache,target=/c echo kept > /c/file\n";
const SHOWN: &str = "FROM base\nRUN --mount=type=cache,target=/c cp /c/file /shown\n";

#[test]
fn a_cache_mount_goes_from_store_to_store_by_its_id() {
    let one = TestBed::with_base(FILLED);
    one.build([""; 0]).success();
    let listed = one.lbuild(["cache", "ls", "--json"]).success().json();
    assert_eq!((listed["id"].as_str(), listed["inUse"].as_bool()), (Some("/c"), Some(false)), "{listed}");
    let file = one.folder().join("c.tar.zst");
    let file = file.to_str().unwrap();
    one.lbuild(["cache", "export", "/c", "-o", file]).success();

    let two = TestBed::with_base(SHOWN);
    let limited = ["cache", "import", "--archive-limit", "entries=0", "/c", file];
    two.lbuild(limited).failure(1).says(&["limit of 0 entries"]);
    two.lbuild(["cache", "import", "/c", file]).success();
    assert_eq!(two.built().top_layer().entry("shown").content, b"kept\n");
}

#[test]
fn what_is_no_cache_mount_is_neither_exported_nor_imported() {
    let bed = TestBed::with_base(FILLED);
    let file = bed.folder().join("c.tar");
    let file = file.to_str().unwrap();
    bed.lbuild(["cache", "export", "/other", "-o", file])
        .failure(1)
        .says(&["no cache mount /other", "cache ls"]);
    assert!(!bed.folder().join("c.tar").exists());
    bed.file("text", "no archive, and long enough to be looked at as one\n".repeat(50));
    let text = bed.context().join("text");
    bed.lbuild(["cache", "import", "/c", text.to_str().unwrap()]).failure(1);
    bed.lbuild(["cache", "ls"]).success();
    bed.assert_nothing_left();
}

/// Builds two steps at the same time, in two processes. Each meets the other: it goes on only when both run.
fn side_by_side(sharing: &str, command: &str) -> TestBed {
    let bed = TestBed::with_base("");
    let dockerfile = |own: &str, other: &str| {
        let command = command.replace("OWN", own).replace("OTHER", other);
        format!(
            "FROM base\nRUN --mount=type=cache,id=meeting,target=/m \\\n  \
             --mount=type=cache,id=kept,target=/c,sharing={sharing} \\\n  {command}\n"
        )
    };
    bed.file("one", dockerfile("one", "two")).file("two", dockerfile("two", "one"));
    let start = |name: &str| bed.start_build(["-f", bed.context().join(name).to_str().unwrap()]);
    let builds = ["one", "two"].map(start);
    builds.into_iter().for_each(|build| {
        build.end().success();
    });
    bed
}

/// Waits until the other step is there.
const MEET: &str =
    "touch /m/OWN; for i in $(seq 300); do test -e /m/OTHER && break; sleep 0.1; done; test -e /m/OTHER";

#[test]
fn a_shared_cache_mount_is_seen_by_runs_at_the_same_time() {
    let see = "for i in $(seq 300); do test -e /c/OTHER && break; sleep 0.1; done; test -e /c/OTHER";
    let bed = side_by_side("shared", &format!("{MEET} && touch /c/OWN && {see}"));
    bed.assert_nothing_left();
}

#[test]
fn a_private_cache_mount_is_not_seen_by_another_run() {
    let meet_again = MEET.replace("/m/", "/m/again-");
    side_by_side("private", &format!("{MEET} && touch /c/OWN && {meet_again} && test ! -e /c/OTHER"));
}

#[test]
fn a_locked_cache_mount_is_had_by_one_run_after_the_other() {
    let bed = side_by_side("locked", ": OWN; echo begin >> /c/log; sleep 0.7; echo end >> /c/log");
    bed.dockerfile("FROM base\nRUN --mount=type=cache,id=kept,target=/c cp /c/log /shown\n");
    assert_eq!(bed.built().top_layer().entry("shown").content, b"begin\nend\nbegin\nend\n");
}

#[test]
fn a_locked_cache_mount_is_free_once_its_process_was_killed() {
    let gate = Gate::new();
    let run = "RUN --mount=type=cache,target=/c,sharing=locked";
    let bed = TestBed::with_base(&format!("FROM base\n{run} {}\n", gate.command()));
    let first = bed.start_build(["--network=host"]);
    let _step = gate.reached();
    first.signal(rustix::process::Signal::KILL);
    first.end();
    bed.dockerfile(&format!("FROM base\n{run} echo free > /shown\n"));
    assert_eq!(bed.built().top_layer().entry("shown").content, b"free\n");
}
