//! Builds that fail or are stopped: the message names the line, nothing is left, the next one is right.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lbuild_tests::{Gate, Run, Running, TestBed, lbuild_binary};
use rustix::process::Signal;

/// Steps that can be told from other tests' by their environment, with one that takes long.
fn slow(bed: &TestBed) -> String {
    format!(
        "FROM base\nENV BED={}\nRUN echo first > /first\nRUN echo half > /half; sleep 1000 & sleep 1000; wait\n",
        bed.token()
    )
}

/// Builds with the slow step gone: the image has nothing of it.
#[track_caller]
fn assert_next_build_is_right(bed: &TestBed) {
    bed.dockerfile(&format!(
        "FROM base\nENV BED={}\nRUN echo first > /first\nRUN test ! -e /half && echo second > /second\n",
        bed.token()
    ));
    let image = bed.built();
    assert_eq!(image.top_layer().paths(), ["second"]);
    bed.assert_nothing_left();
}

#[test]
fn a_command_that_fails_is_shown_with_its_line_output_and_status() {
    let bed = TestBed::with_base("FROM base\nRUN echo half > /half && echo 'the reason' >&2 && exit 3\n");
    bed.build([""; 0]).failure(1).says(&["Dockerfile:2:1", "exit 3", "exit status 3", "the reason"]);
    bed.assert_nothing_left();
    assert_next_build_is_right(&bed);
}

#[test]
fn commands_that_cannot_be_found_or_executed_are_told_apart() {
    for (instruction, parts) in [
        ("RUN no-such-command", ["127", "not found"]),
        (r#"RUN ["/no/such/program"]"#, ["not found", "/no/such/program"]),
        (r#"RUN ["/etc/motd"]"#, ["execut", "/etc/motd"]),
        ("RUN sh -c 'kill -9 $$'; exit $?", ["137", "killed"]),
    ] {
        let bed = TestBed::with_base(&format!("FROM base\n{instruction}\n"));
        bed.build([""; 0]).failure(1).says(&parts).says(&["Dockerfile:2"]);
    }
}

#[test]
fn an_owner_by_name_is_refused_where_there_are_no_files_yet() {
    for instruction in
        ["COPY --chown=web", "COPY --link --chown=7:web", "ADD --chown=web:7", "ENV a=b\nCOPY --chown=web"]
    {
        let bed = TestBed::new();
        bed.dockerfile(&format!("FROM scratch\n{instruction} Dockerfile /\n"));
        bed.build([""; 0]).failure(1).says(&["--chown", "\"web\"", "scratch", "numbers"]);
        bed.dockerfile(&format!("FROM scratch\nCOPY Dockerfile /\n{instruction} Dockerfile /\n"));
        bed.build([""; 0]).success();
    }
}

#[test]
fn a_file_of_a_heredoc_lies_in_no_folder() {
    for (name, is_refused) in [("a/b", true), ("/etc/motd", true), ("a/../b/../c", false), ("/c", false)] {
        let bed = TestBed::new();
        bed.dockerfile(&format!("FROM scratch\nCOPY <<{name} /d/\ntext\n{name}\n"));
        if is_refused {
            bed.build([""; 0]).failure(1).says(&["heredoc", "folder", name, "Dockerfile:2"]);
        } else {
            assert_eq!(bed.built().top_layer().paths(), ["d/", "d/c"], "{name}");
        }
    }
}

#[test]
fn a_working_directory_of_a_user_by_name_is_refused_where_there_are_no_files_yet() {
    let bed = TestBed::new();
    bed.dockerfile("FROM scratch\nUSER web\nWORKDIR /x\n");
    bed.build([""; 0]).failure(1).says(&["Dockerfile:3", "/x", "\"web\"", "scratch", "numbers"]);
    bed.dockerfile("FROM scratch\nUSER web\nWORKDIR /\nCOPY Dockerfile .\nWORKDIR /x\n");
    bed.build([""; 0]).success();
}

#[test]
fn an_interrupted_command_ends_with_all_its_children() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let bed = TestBed::with_base("");
        bed.dockerfile(&slow(&bed));
        let mut build = bed.start_build([""; 0]);
        build.wait_until_it_says("sleep 1000");
        build.signal(signal);
        build.end().failure(status).says(&["interrupted"]);
        bed.assert_nothing_left();
        assert_next_build_is_right(&bed);
    }
}

#[test]
fn signals_that_were_ignored_at_the_start_stay_so_and_steps_get_them_as_ever() {
    let bed = TestBed::with_base("");
    let gate = Gate::new();
    // The shell ignores one by itself.
    let look = r#"RUN ["cp", "/proc/self/status", "/status"]"#;
    bed.dockerfile(&format!("FROM base\nRUN {}\n{look}\n", gate.command()));
    let build = bed.build_command(["--network=host"]);
    let mut nohup = Command::new("env");
    nohup.arg("--ignore-signal=HUP,INT").arg(build.get_program()).args(build.get_args());
    nohup.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let build = Running::start(&mut nohup);
    let step = gate.reached();
    build.signal(Signal::HUP);
    build.signal(Signal::INT);
    step.go_on();
    build.end().success();
    let image = bed.image(&bed.name());
    let status = String::from_utf8_lossy(&image.top_layer().entry("status").content).into_owned();
    assert!(status.contains("\nSigIgn:\t0000000000000000\n"), "{status}");
}

#[test]
fn a_killed_build_leaves_no_process_and_its_files_go_with_the_next_build() {
    let bed = TestBed::with_base("");
    bed.dockerfile(&slow(&bed));
    let mut build = bed.start_build([""; 0]);
    build.wait_until_it_says("sleep 1000");
    build.signal(Signal::KILL);
    assert_eq!(build.end().status.code(), None);
    let left = bed.leftovers().find();
    assert!(left.iter().all(|line| line.starts_with("file: ")), "{left:?}");
    assert_next_build_is_right(&bed);
}

#[test]
fn an_interrupted_copy_leaves_nothing() {
    let bed = TestBed::with_base("FROM base\nRUN true\nCOPY big /big\n");
    // Long enough to be interrupted, and cheap to make.
    fs::File::create(bed.context().join("big")).unwrap().set_len(200 << 30).unwrap();
    let mut build = bed.start_build([""; 0]);
    build.wait_until_it_says("RUN true");
    // The file is read, for the key of the step, before the step is shown.
    sleep(Duration::from_secs(1));
    build.signal(Signal::INT);
    let interrupted = Instant::now();
    build.end().failure(130);
    // To read all of it takes many times as long.
    assert!(interrupted.elapsed() < Duration::from_secs(20), "{:?}", interrupted.elapsed());
    bed.assert_nothing_left();

    bed.file("big", "small now\n");
    assert_eq!(bed.built().top_layer().entry("big").content, b"small now\n");
}

#[test]
fn a_context_that_vanishes_fails_the_step_that_needs_it() {
    let (bed, gate) = (TestBed::with_base(""), Gate::new());
    let dockerfile = |command: &str| {
        format!("FROM base\nENV BED={}\nRUN {command}\nCOPY folder/f /f\nRUN true\n", bed.token())
    };
    bed.dockerfile(&dockerfile(&gate.command())).file("folder/f", "content\n");
    let build = bed.start_build(["--network=host"]);
    let step = gate.reached();
    fs::remove_dir_all(bed.context()).unwrap();
    step.go_on();
    build.end().failure(1).says(&["Dockerfile:4", "folder/f"]);
    bed.assert_nothing_left();

    bed.dockerfile(&dockerfile("true")).file("folder/f", "again\n");
    assert_eq!(bed.built().top_layer().entry("f").content, b"again\n");
}

#[test]
fn a_full_disk_fails_the_step_and_says_so() {
    let bed = TestBed::with_base("FROM scratch\nCOPY big /big\n");
    bed.file("big", vec![1; 30 << 20]);
    let script = r#"set -e
        mkdir "$BED/disk" && mount -t tmpfs -o size=8m disk "$BED/disk"
        status=0; "$LBUILD" --root "$BED/disk/store" build --progress plain "$BED/context" || status=$?
        test -z "$(ls -A "$BED/disk/store/tmp")"
        exit $status"#;
    let run = Run::of(
        Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .env("BED", bed.folder())
            .env("LBUILD", lbuild_binary()),
    );
    run.failure(4).says(&["Dockerfile:2", "space"]);
}

#[test]
fn a_failed_build_leaves_no_output_file() {
    let bed = TestBed::with_base("FROM base\nRUN false\n");
    let (archive, id) = (bed.folder().join("image.tar"), bed.folder().join("id"));
    bed.build(["-o", archive.to_str().unwrap(), "--iidfile", id.to_str().unwrap()]).failure(1);
    assert!(!archive.exists() && !id.exists());
    bed.lbuild(["inspect", &bed.name()]).failure(1).says(&["no image"]);
}
