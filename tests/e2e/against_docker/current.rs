//! What a current Docker makes of the language: the system's own is often years old.

use std::thread;

use lbuild_tests::{Docker, Run, TestBed};

use super::language;
use crate::calls::{self, Call};
use crate::language::Case;

#[test]
fn docker_finds_in_each_case_what_lbuild_finds() {
    let built = language::build_all(&Docker::connect_to_current());
    let of_docker = Case::all().iter().filter(|case| !case.docker().starts_with("never")).count();
    assert_eq!(built, of_docker, "this Docker is too old");
}

#[test]
fn docker_answers_each_call_as_it_was_recorded() {
    let docker = &Docker::connect_to_current();
    thread::scope(|scope| {
        for name in calls::dockerfiles() {
            scope.spawn(move || {
                for call in Call::all_of(&name) {
                    let arguments = ["build".to_owned(), call.argument(), "--file".to_owned()];
                    let mut command = docker.command(arguments);
                    command.arg(call.dockerfile()).arg(".").current_dir(calls::folder());
                    let answer = calls::without_definitions(&Run::of(&mut command).text());
                    assert_eq!(answer, call.recorded(), "{}", call.file());
                }
            });
        }
    });
}

/// Dockerfiles whose images this compares by their configurations: `WORKDIR`s as they are written, in
/// absolute, relative and odd forms.
const WORKING_DIRECTORIES: [&str; 9] = [
    "WORKDIR /a/",
    "WORKDIR /a//b/",
    "WORKDIR //a",
    "WORKDIR a/",
    "WORKDIR /a/\nWORKDIR b/",
    "WORKDIR /a/\nWORKDIR ./",
    "WORKDIR /a/./b/..",
    "ENV d=/q/\nWORKDIR $d",
    "WORKDIR \"/a b/\"",
];

#[test]
fn a_working_directory_is_written_as_docker_writes_it() {
    let docker = &Docker::connect_to_current();
    thread::scope(|scope| {
        for instructions in WORKING_DIRECTORIES {
            scope.spawn(move || {
                let bed = TestBed::new();
                bed.dockerfile(&format!("FROM scratch\n{instructions}\nENV layer=none\n"));
                bed.build([""; 0]).success();
                let arguments = ["build", "--quiet", "--tag", &bed.name(), "."];
                let id = Run::of(docker.command(arguments).current_dir(bed.context())).success().text();
                let theirs = docker.inspect(id.trim())["Config"]["WorkingDir"].take();
                assert_eq!(bed.inspect(&bed.name())["Config"]["WorkingDir"], theirs, "{instructions}");
            });
        }
    });
}
