//! Shells, logs and differences of steps.

use std::io::Write;
use std::process::Stdio;

use lbuild_tests::{Run, Running, Terminal, TestBed, wait_until};
use rustix::process::Signal;

#[test]
fn a_shell_sees_an_image_as_a_run_does_and_changes_nothing() {
    let bed = TestBed::with_base(
        "FROM base\nENV A=1\nWORKDIR /w\nRUN touch first\nENV A=2\nRUN touch second\nUSER 7\n",
    );
    bed.build([""; 0]).success();
    let name = bed.name();
    let shell = |image: &str, command: &str| bed.lbuild(["shell", image, "--", "sh", "-c", command]);
    let all = shell(&name, "ls; echo $A; id -u; ls /proc/self/status").success();
    assert_eq!(all.text(), "first\nsecond\n2\n7\n/proc/self/status\n");
    let steps = bed.lbuild(["history", "--format", "json", &name]).success();
    let first = steps.text().lines().find(|line| line.contains("touch first")).map(|line| {
        let step: serde_json::Value = serde_json::from_str(line).unwrap();
        step["Step"].as_u64().unwrap()
    });
    let then = shell(&format!("{name}@{}", first.unwrap()), "ls; echo $A; id -u").success();
    assert_eq!(then.text(), "first\n1\n0\n");
    shell(&format!("{name}@3"), "touch /gone && rm /bin/ls").success();
    shell(&name, "test ! -e /gone && ls /bin/ls").success();
    assert_eq!(shell(&name, "exit 42").status.code(), Some(42));
    bed.lbuild(["shell", &name, "--", "no-such-program"]).failure(1).says(&["no-such-program"]);
    bed.lbuild(["shell", &format!("{name}@99")]).failure(1).says(&["steps"]);
}

#[test]
fn a_shell_without_a_terminal_reads_commands() {
    let bed = TestBed::with_base("FROM base\n");
    bed.build([""; 0]).success();
    let mut command = bed.command(["shell", &bed.name()]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"echo from the shell\nexit 3\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(3), &b"from the shell\n"[..]));
}

#[test]
fn a_failed_step_is_looked_into_on_a_terminal_only() {
    let bed = TestBed::with_base(
        "FROM base\nENV A=1\nRUN --mount=type=secret,id=s --mount=type=bind,target=/ctx \
         --mount=type=cache,target=/c,sharing=locked echo left > /file; touch /c/cached; false\n",
    );
    bed.file("f", "1");
    std::fs::write(bed.folder().join("secret"), "of the step\n").unwrap();
    let secret = format!("id=s,src={}", bed.folder().join("secret").display());
    let options = ["--on-failure=shell", "--secret", &secret];
    bed.build(options).failure(1).says(&["note: --on-failure=shell has no effect", "exit status 1"]);

    let mut terminal = Terminal::start(&bed.build_command(options));
    let typed = b"cat /file /run/secrets/s; ls /ctx /c; echo A=$A\nexit\n";
    terminal.answer("This is a shell in the failed step", typed);
    let (status, shown) = terminal.end();
    for part in ["This is a shell in the failed step", "left\nof the step\n", "cached\n", "A=1\n", "f\n"] {
        assert!(shown.contains(part), "{part:?} is missing: {shown}");
    }
    assert_eq!(status, Some(1), "the build has failed all the same: {shown}");
}

#[test]
fn logs_hold_all_that_every_step_printed() {
    let bed =
        TestBed::with_base("FROM base\nRUN seq 200000; printf 'no end'\nRUN printf '\\033[31mred\\n' >&2\n");
    bed.build([""; 0]).success();
    bed.build([""; 0]).success();
    let list = bed.lbuild(["logs", "--list"]).success();
    assert!(list.text().contains("2 of 3 ran") && list.text().contains("0 of 3 ran"), "{list}");
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    let log = bed.lbuild(["logs", "1", "2"]).success();
    assert_eq!(log.text(), expected + "no end\n");
    assert!(bed.lbuild(["logs", "1"]).success().text().contains("RUN printf"));
    assert_eq!(bed.lbuild(["logs", "1", "3"]).success().text(), "red\n");
    assert_eq!(bed.lbuild(["logs", "--raw", "1", "3"]).success().stdout, b"\x1b[31mred\n");
    assert_eq!(bed.lbuild(["logs", "--json", "1", "3"]).success().json()["line"], "\u{1b}[31mred");
    let of_nothing = bed.lbuild(["logs"]).success().says(&["printed nothing", "--list"]);
    assert_eq!(of_nothing.text(), "", "the last build ran nothing");
    bed.lbuild(["logs", "1", "9"]).failure(1).says(&["no step 9"]);
    bed.lbuild(["logs", "9"]).failure(1).says(&["no such build"]);
    let size = std::fs::metadata(bed.store().join("logs/1/1")).unwrap().len();
    assert!(size < 700_000, "{size} bytes for 1.3 MB of numbers");
}

#[test]
fn logs_of_failed_and_killed_builds_are_there() {
    let bed = TestBed::with_base("FROM base\nRUN echo before && false\n").without_check();
    bed.build([""; 0]).failure(1);
    assert_eq!(bed.lbuild(["logs", "1", "2"]).success().text(), "before\n");
    bed.dockerfile("FROM base\nRUN echo first; while sleep 0.1; do echo more; done\n");
    let mut build: Running = bed.start_build([""; 0]);
    build.wait_until_it_says("more\n");
    // What is printed comes to the disk from time to time.
    wait_until(|| bed.lbuild(["logs", "2", "2"]).success().text().starts_with("first\n"));
    build.signal(Signal::KILL);
    build.end();
    assert!(bed.lbuild(["logs", "2", "2"]).success().text().starts_with("first\n"));
    assert!(bed.lbuild(["logs", "--list"]).success().text().contains("not ended"));
}

#[test]
fn only_the_last_builds_are_remembered() {
    let bed = TestBed::with_base("FROM base\nARG N\nRUN echo $N\n");
    for number in 1..=4 {
        let mut command = bed.build_command(["--build-arg", &format!("N={number}")]);
        Run::of(command.env("LBUILD_KEEP_BUILDS", "2")).success();
    }
    let list = bed.lbuild(["logs", "--list", "--json"]).success();
    let numbers: Vec<_> = list
        .text()
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["build"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [4, 3]);
    assert_eq!(std::fs::read_dir(bed.store().join("logs")).unwrap().count(), 2);
    let mut command = bed.build_command([""; 0]);
    Run::of(command.env("LBUILD_KEEP_BUILDS", "many")).failure(2).says(&["LBUILD_KEEP_BUILDS"]);
}
