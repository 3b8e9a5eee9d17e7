//! Wrong Dockerfiles and wrong command lines: what is wrong, where, and what to do.

use std::fs;
use std::process::Command;

use lbuild_tests::{Run, TestBed};

const FAILED: i32 = 1;
const USAGE: i32 = 2;
const DOCKERFILE: i32 = 3;
const STORE: i32 = 4;

#[track_caller]
fn check(build: Run, code: i32, parts: &[&str]) {
    let build = build.failure(code).says(parts);
    for word in ["os error", "RUST_BACKTRACE", "Err(", "Some("] {
        assert!(!build.stderr.contains(word), "{word:?} is in the message of {build}");
    }
}

#[test]
fn a_wrong_dockerfile_is_shown_with_its_place_and_help() {
    for (text, parts) in [
        ("FORM base\n", ["Dockerfile:1:1", "FORM", "help: "]),
        ("RUN true\n", ["Dockerfile:1:1", "FROM", "help: "]),
        ("", ["Dockerfile", "no instructions", "help: "]),
        ("FROM base\nCOPY --chwon=1 a /\n", ["Dockerfile:2:6", "--chwon", "--chown"]),
        ("FROM base\nCOPY a\n", ["Dockerfile:2:1", "COPY", "help: "]),
        ("FROM base\nENV A\n", ["Dockerfile:2:5", "ENV", "help: "]),
        ("FROM base\nRUN true \\\n  && true\nCOPPY a /\n", ["Dockerfile:4:1", "COPPY", "COPY"]),
        ("FROM base AS 1st\n", ["Dockerfile:1:14", "1st", "help: "]),
        ("FROM base\nHEALTHCHECK --interval=soon CMD true\n", ["Dockerfile:2:24", "soon", "help: "]),
    ] {
        let bed = TestBed::with_base(text);
        check(bed.build([""; 0]), DOCKERFILE, &parts);
    }
}

#[test]
fn every_problem_of_a_dockerfile_is_shown_at_once() {
    let bed = TestBed::with_base("FROM base\nRNU true\nRUN true\nCOPPY a /\n");
    check(bed.build([""; 0]), DOCKERFILE, &["Dockerfile:2:1", "RNU", "Dockerfile:4:1", "COPPY"]);
}

#[test]
fn a_step_that_cannot_be_done_is_shown_with_its_place_and_help() {
    for (text, parts) in [
        ("FROM no-such-image\n", ["Dockerfile:1:6", "no-such-image", "lbuild load"]),
        ("FROM base\nCOPY --from=no-such-image /a /\n", ["Dockerfile:2", "no-such-image", "help: "]),
        ("FROM base\nCOPY folder/fiel /\n", ["Dockerfile:2:", "folder/fiel", "help: "]),
        ("FROM base\nCOPY ignored /\n", ["Dockerfile:2:", "excluded by line 1 of .dockerignore", "help: "]),
        ("FROM base\nUSER nobody-here\nRUN true\n", ["Dockerfile:", "nobody-here", "/etc/passwd"]),
        ("FROM base\nCOPY --from=base /d/no-such-file /\n", ["Dockerfile:2:", "/d/no-such-file", "help: "]),
        ("FROM base\nEXPOSE http\n", ["Dockerfile:2:", "http", "help: "]),
        (
            "FROM base\nCOPY Dockerfile /d\nCOPY folder /etc/motd\n",
            ["Dockerfile:3", "/etc/motd", "directory"],
        ),
    ] {
        let bed = TestBed::with_base(text);
        bed.file("folder/file", "").file("ignored", "").file(".dockerignore", "ignored\n");
        check(bed.build([""; 0]), FAILED, &parts);
    }
}

#[test]
fn a_missing_dockerfile_or_context_is_named() {
    let bed = TestBed::new();
    check(bed.build([""; 0]), FAILED, &["Dockerfile", "/context", "help: ", "-f"]);
    check(bed.build(["-f", "/no/such/Dockerfile"]), FAILED, &["/no/such/Dockerfile"]);
    check(bed.lbuild(["build", "/no/such/folder"]), FAILED, &["/no/such/folder"]);
    bed.file("folder/file", "FROM scratch\n");
    let file = bed.context().join("folder/file");
    check(bed.lbuild(["build", file.to_str().unwrap()]), USAGE, &["folder/file is not a folder", "help: "]);
    check(bed.lbuild(["build", "file:///no/such/repository"]), FAILED, &["help: ", "without file://"]);
    check(bed.lbuild(["biuld"]), FAILED, &["did you mean", "lbuild build"]);
    for arguments in [
        &["check", "nothing"][..],
        &["context", "ls", "nothing"],
        &["context", "ls", "-f", "nothing"],
        &["cache", "prune", "--older-than=1d", "--dest=nothing"],
        &["umount", "nothing"],
    ] {
        let run = bed.lbuild(arguments);
        assert!(!run.stderr.contains("a command"), "{run}");
        check(run, FAILED, &["nothing", "No such file or directory"]);
    }
    for arguments in [&["check", file.to_str().unwrap()][..], &["login", "--password-stdin"]] {
        check(bed.lbuild(arguments), USAGE, &["help: "]);
    }
    let folder = bed.context().join("folder");
    check(bed.build(["-f", folder.to_str().unwrap()]), FAILED, &["did you mean -f ", "folder/Dockerfile?"]);
    bed.file("Dockerfile/file", "");
    check(bed.build([""; 0]), FAILED, &["context/Dockerfile: it is no regular file", "help: "]);
}

#[test]
fn a_current_folder_that_was_removed_is_told() {
    let bed = TestBed::with_base("FROM base\n");
    let context = bed.context().to_str().unwrap();
    for (arguments, code) in [
        (&["build", "."][..], FAILED),
        (&["build", "-o", "image.tar", context], FAILED),
        (&["--root", "store", "images"], STORE),
    ] {
        let lbuild = bed.command(arguments);
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"mkdir gone && cd gone && rmdir ../gone && exec "$@""#, "sh"]);
        shell.arg(lbuild.get_program()).args(lbuild.get_args()).current_dir(bed.folder());
        shell.envs(lbuild.get_envs().filter_map(|(name, value)| Some((name, value?))));
        check(Run::of(&mut shell), code, &["help: ", "folder has been removed"]);
    }
}

#[test]
fn variables_without_a_value_are_as_good_as_not_set_and_wrong_ones_are_told() {
    let bed = TestBed::with_base("FROM base\n");
    let context = bed.context().to_str().unwrap();
    let store = bed.store().to_str().unwrap();
    let mut command = bed.command(["--root", store, "build", "--pull=never", context]);
    for variable in ["LBUILD_ROOT", "LBUILD_ISOLATION", "LBUILD_ARCHIVE_LIMIT", "LBUILD_IMAGE_SOURCES"] {
        command.env(variable, "");
    }
    Run::of(&mut command).success();
    check(bed.lbuild(["--root", "", "images"]), USAGE, &["--root"]);
    let mut pull = bed.command(["pull", "127.0.0.1:1/app"]);
    let parts = ["LBUILD_REGISTRY_TIMEOUT", "soon", "seconds"];
    check(Run::of(pull.env("LBUILD_REGISTRY_TIMEOUT", "soon")), FAILED, &parts);
}

#[test]
fn what_docker_build_takes_from_its_command_line_and_environment_is_taken() {
    let bed = TestBed::with_base("FROM base\nRUN echo hello\n");
    let context = bed.context().to_str().unwrap().to_owned();
    let id = format!("{}\n", bed.inspect("base")["Id"].as_str().unwrap());
    let quiet = |arguments: &[&str], variable: (&str, &str)| {
        let run = Run::of(bed.command(arguments).arg(&context).env(variable.0, variable.1)).success();
        assert_eq!((run.text().lines().count(), &run.stderr[..]), (1, ""), "{run}");
        run.text()
    };
    let none = ("DOCKER_BUILDKIT", "0");
    let built = quiet(&["build", "-q"], none);
    assert_ne!(built, id);
    assert_eq!(quiet(&["buildx", "build", "--progress=quiet", "--push=false", "--load=false"], none), built);
    assert_eq!(quiet(&["build", "--quiet=true"], ("BUILDKIT_PROGRESS", "plain")), built);
    assert_eq!(quiet(&["build"], ("BUILDKIT_PROGRESS", "quiet")), built);

    let mut foreign = bed.build_command([""; 0]);
    check(Run::of(foreign.env("DOCKER_DEFAULT_PLATFORM", "linux/s390x")), FAILED, &["linux/s390x", "help: "]);
    check(bed.build(["--squash"]), USAGE, &["--squash", "help: ", "FROM scratch"]);
}

#[test]
fn very_long_words_are_cut_in_errors() {
    let long = "x".repeat(100_000);
    let bed = TestBed::with_base(&format!("FROM base\nCOPY --{long} a b\n"));
    let context = bed.context().to_str().unwrap();
    let gap = "kB left out)";
    for (arguments, code, parts) in [
        (&["build", context][..], DOCKERFILE, ["unknown flag", gap, "help: "]),
        (&["build", "--memory", &long, "."], USAGE, ["invalid value", gap, "--memory"]),
        (&["inspect", &long], FAILED, ["no image", gap, "help: "]),
    ] {
        let run = bed.lbuild(arguments);
        assert!(run.stderr.len() < 2000, "{run}");
        check(run, code, &parts);
    }
}

#[test]
fn a_command_that_is_longer_than_the_kernel_takes_is_told_with_what_to_do() {
    let long = "x".repeat(200_000);
    let bed = TestBed::with_base(&format!("FROM base\nRUN : {long}\n"));
    check(bed.build([""; 0]), FAILED, &["too long for the kernel", "Dockerfile:2:1", "heredoc"]);
    bed.dockerfile(&format!("FROM base\nRUN <<E\n#!/bin/sh\n: {long}\nE\n"));
    bed.build([""; 0]).success();
}

#[test]
fn a_shell_that_cannot_be_had_is_told_once() {
    let bed = TestBed::with_base("FROM base\n");
    let build = bed.build(["--on-failure=shell"]).success();
    assert_eq!(build.stderr.matches("--on-failure=shell has no effect").count(), 1, "{build}");
}

#[test]
fn a_target_that_does_not_exist_is_told_with_those_that_do() {
    let bed = TestBed::with_base("FROM base AS first\nFROM base AS second\n");
    check(bed.build(["--target", "third"]), FAILED, &["third", "first", "second"]);
    bed.build(["--target", ""]).success();
}

#[test]
fn wrong_command_lines_are_refused() {
    let bed = TestBed::with_base("FROM base\n");
    for (arguments, parts) in [
        (vec!["build", "--taf", "x", "."], ["--taf", "--tag"]),
        (vec!["build", "-t", "Upper", "."], ["Upper", "lower"]),
        (vec!["build", "--progress", "loud", "."], ["loud", "plain"]),
        (vec!["build", "-o", "type=zip,dest=x", "."], ["zip", "docker"]),
        (vec!["inspect"], ["IMAGE", "Usage"]),
        (vec!["prune", "--keep-duration", "soon"], ["soon", "keep-duration"]),
    ] {
        check(bed.lbuild(arguments), USAGE, &parts);
    }
}

#[test]
fn an_image_that_does_not_exist_is_named() {
    let bed = TestBed::new();
    for arguments in [
        ["inspect", "none:1"],
        ["history", "none:1"],
        ["save", "none:1"],
        ["rmi", "none:1"],
        ["mount", "none:1"],
    ] {
        check(bed.lbuild(arguments), FAILED, &["none:1", "lbuild images"]);
    }
    check(bed.lbuild(["tag", "none:1", "other"]), FAILED, &["none:1"]);
}

#[test]
fn a_file_that_is_no_image_is_refused() {
    let bed = TestBed::new();
    let file = bed.folder().join("file");
    let path = file.to_str().unwrap();
    for (content, part) in [(b"no archive at all".as_slice(), "archive"), (b"".as_slice(), "empty")] {
        fs::write(&file, content).unwrap();
        check(bed.lbuild(["load", "-i", path]), FAILED, &[path, part]);
    }
    check(bed.lbuild(["load", "-i", "/no/such/file"]), FAILED, &["/no/such/file"]);
}

#[test]
fn a_store_that_cannot_be_used_is_named() {
    let bed = TestBed::new();
    let file = bed.folder().join("file");
    fs::write(&file, "").unwrap();
    let store = file.join("store");
    check(bed.lbuild(["--root", store.to_str().unwrap(), "images"]), STORE, &[store.to_str().unwrap()]);
}

#[test]
fn warnings_do_not_fail_a_build() {
    let bed = TestBed::with_base("from base as First\nRUN true\n");
    let build = bed.build([""; 0]).success().says(&["Dockerfile:1"]);
    assert!(build.stderr.contains("warning"), "{build}");
}
