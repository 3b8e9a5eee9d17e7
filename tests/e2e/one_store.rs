//! Several processes on one store: they share results, and none waits for another longer than it must.

use std::fs;

use lbuild_tests::{Gate, TestBed};
use rustix::process::Signal;

/// A step that leaves a line outside of the image each time it runs.
const COUNTED: &str =
    "FROM base\nRUN --mount=type=cache,target=/c sleep 1; echo ran >> /c/runs; echo made > /made\n";
/// Shows that line count in a layer.
const SHOWN: &str = "FROM base\nRUN --mount=type=cache,target=/c cp /c/runs /runs\n";

#[track_caller]
fn assert_ran(bed: &TestBed, times: usize) {
    bed.dockerfile(SHOWN);
    let runs = bed.built().top_layer().entry("runs").content.clone();
    assert_eq!(String::from_utf8_lossy(&runs), "ran\n".repeat(times));
}

#[test]
fn two_builds_of_the_same_step_wait_for_one_result() {
    let bed = TestBed::with_base(COUNTED);
    let builds: Vec<_> = (0..4).map(|_| bed.start_build([""; 0])).collect();
    let outputs: Vec<String> = builds.into_iter().map(|build| build.end().success().stderr.clone()).collect();
    assert!(outputs.iter().any(|output| output.contains("waiting for another build")), "{outputs:?}");
    assert_ran(&bed, 1);
}

#[test]
fn a_result_that_others_wait_for_does_not_wait_for_later_steps() {
    let bed = TestBed::with_base("");
    bed.file("long", format!("{COUNTED}RUN touch /tmp/{}; sleep 1000\n", bed.token()));
    bed.dockerfile(COUNTED);
    let mut long = bed.start_build(["-f", bed.context().join("long").to_str().unwrap()]);
    long.wait_until_it_says("sleep 1;");
    bed.build([""; 0]).success();
    long.signal(Signal::INT);
    long.end().failure(130);
    assert_ran(&bed, 1);
}

#[test]
fn who_waits_for_a_killed_build_goes_on_and_who_waits_can_be_interrupted() {
    let bed = TestBed::with_base("FROM base\nRUN sleep 1000\n");
    let mut first = bed.start_build([""; 0]);
    first.wait_until_it_says("RUN sleep 1000");
    let mut second = bed.start_build([""; 0]);
    second.wait_until_it_says("waiting for another build");
    let mut third = bed.start_build([""; 0]);
    third.wait_until_it_says("waiting for another build");
    second.signal(Signal::INT);
    second.end().failure(130);
    first.signal(Signal::KILL);
    assert_eq!(first.end().status.code(), None);
    // The third now runs the step itself: its command is there.
    std::thread::sleep(std::time::Duration::from_millis(300));
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
