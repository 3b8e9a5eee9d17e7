//! Several processes on one store: they share results, and none waits for another longer than it must.

use std::fs;

use lbuild_tests::{Gate, TestBed, wait_until};
use rustix::process::Signal;

/// What a build says that waits for the result of another one.
const WAITING: &str = "waiting for another build";
/// The gate is the machine's.
const OPTIONS: [&str; 1] = ["--network=host"];
/// Shows in a layer how often the step of [`counted`] ran.
const SHOWN: &str = "FROM base\nRUN --mount=type=cache,target=/c cp /c/runs /runs\n";

/// A step that waits at the gate, and leaves a line outside of the image each time it runs.
fn counted(gate: &Gate) -> String {
    let gate = gate.command();
    format!("FROM base\nRUN --mount=type=cache,target=/c {gate}; echo ran >> /c/runs; echo made > /made\n")
}

#[track_caller]
fn assert_ran(bed: &TestBed, times: usize) {
    bed.dockerfile(SHOWN);
    let runs = bed.built().top_layer().entry("runs").content.clone();
    assert_eq!(String::from_utf8_lossy(&runs), "ran\n".repeat(times));
}

#[test]
fn builds_of_the_same_step_wait_for_one_result() {
    let gate = Gate::new();
    let bed = TestBed::with_base(&counted(&gate));
    let builds: Vec<_> = (0..4).map(|_| bed.start_build(OPTIONS)).collect();
    let step = gate.reached();
    wait_until(|| builds.iter().filter(|build| build.has_said(WAITING)).count() == 3);
    step.go_on();
    for build in builds {
        build.end().success();
    }
    assert_ran(&bed, 1);
}

#[test]
fn a_result_that_others_wait_for_does_not_wait_for_later_steps() {
    let gate = Gate::new();
    let bed = TestBed::with_base(&counted(&gate));
    bed.file("long", format!("{}RUN touch /tmp/{}; sleep 1000\n", counted(&gate), bed.token()));
    let long = bed.start_build(["--network=host", "-f", bed.context().join("long").to_str().unwrap()]);
    let step = gate.reached();
    let mut short = bed.start_build(OPTIONS);
    short.wait_until_it_says(WAITING);
    step.go_on();
    short.end().success();
    long.signal(Signal::INT);
    long.end().failure(130);
    assert_ran(&bed, 1);
}

#[test]
fn who_waits_for_a_killed_build_goes_on_and_who_waits_can_be_interrupted() {
    let gate = Gate::new();
    let bed = TestBed::with_base(&format!("FROM base\nRUN {}\n", gate.command()));
    let first = bed.start_build(OPTIONS);
    let _step = gate.reached();
    let mut second = bed.start_build(OPTIONS);
    second.wait_until_it_says(WAITING);
    let mut third = bed.start_build(OPTIONS);
    third.wait_until_it_says(WAITING);
    second.signal(Signal::INT);
    second.end().failure(130);
    first.signal(Signal::KILL);
    assert_eq!(first.end().status.code(), None);
    // The third now runs the step itself.
    let _step = gate.reached();
    third.signal(Signal::TERM);
    third.end().failure(143);
    bed.lbuild(["images"]).success();
    bed.assert_nothing_left();
    let locks = fs::read_dir(bed.store().join("locks")).unwrap();
    assert_eq!(locks.count(), 0);
}

#[test]
fn a_prune_does_not_wait_for_a_build_and_takes_nothing_from_it() {
    let bed = TestBed::with_base("FROM base\nRUN echo old > /old\n");
    bed.built();
    bed.lbuild(["rmi", &bed.name()]).success();
    let gate = Gate::new();
    bed.dockerfile(&format!("FROM base\nRUN echo 1 > /1\nRUN {}\nRUN cat /1 > /2\n", gate.command()));
    let build = bed.start_build(["--network=host"]);
    let step = gate.reached();
    let pruned = bed.lbuild(["prune", "--all"]).success();
    assert!(pruned.text().contains("unpacked layers       1"), "{}", pruned.text());
    bed.lbuild(["rmi", "base"]).success();
    bed.lbuild(["prune", "--all"]).success();
    step.go_on();
    build.end().success();
    let image = bed.image(&bed.name());
    assert_eq!(image.top_layer().entry("2").content, b"1\n");
}
