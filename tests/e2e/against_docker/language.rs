//! The cases of [`crate::language`], built by Docker's BuildKit.

use lbuild_tests::{BaseImage, Docker, Run};

use crate::language::{Case, Surroundings};

#[test]
fn docker_finds_in_each_case_what_lbuild_finds() {
    let built = build_all(&Docker::connect());
    assert!(built >= 7, "only {built} cases were built");
}

/// Builds each case that `docker` is new enough for and checks it; returns how many these are.
#[expect(clippy::print_stdout, reason = "a case that is not built must be told")]
pub fn build_all(docker: &Docker) -> usize {
    let surroundings = Surroundings::new();
    let bed = &surroundings.bed;
    let archive = bed.folder().join("base.tar");
    BaseImage::busybox().write("base:latest", &archive);
    docker.load(&archive);
    let version = docker.docker(["version", "--format", "{{.Server.Version}}"]).success().text();
    let mut built = 0;
    for case in Case::all() {
        if !is_at_least(version.trim(), case.docker()) {
            println!("NOT RUN: {} needs Docker {}, and this is {}", case.name, case.docker(), version.trim());
            continue;
        }
        println!("{}", case.name);
        bed.dockerfile(&case.text);
        let mut command = docker.command(["build", "--network=host", "-t", &bed.name()]);
        command.args(case.arguments(&surroundings)).arg(bed.context());
        command.env("DOCKER_BUILDKIT", "1").env("LBUILD_CASE", "from the environment");
        Run::of(&mut command).success();
        case.check(&docker.inspect(&bed.name())["Config"]);
        built += 1;
    }
    built
}

/// Whether a version is one or a later one; what is no version is later than all.
fn is_at_least(version: &str, oldest: &str) -> bool {
    let number = |text: &str| -> Option<Vec<u32>> {
        text.split(['.', '+', '-']).take(2).map(|part| part.parse().ok()).collect()
    };
    match (number(version), number(oldest)) {
        (Some(version), Some(oldest)) => version >= oldest,
        _ => false,
    }
}
