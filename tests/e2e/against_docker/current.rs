//! What a current Docker makes of the language: the system's own is often years old.

use std::thread;

use lbuild_tests::{Docker, Run};

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
