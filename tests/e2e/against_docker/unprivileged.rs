//! lbuild inside of containers that give it no rights.

use lbuild_tests::{Docker, Image, Run, SharedBed, debian_rootfs};

use crate::rootless::{check_owners, write_context};

/// An image that lbuild runs in, with the C library that it may need.
const OUTER: &str = "lbuild-test/outer";

fn build_inside(docker: &Docker, bed: &SharedBed, options: &[&str]) -> Run {
    let folder = format!("{}:/bed", bed.folder().display());
    let store = format!("LBUILD_ROOT=/bed/store-{}", options.len());
    let script = "/bed/lbuild build --progress plain --tag built /bed/context && /bed/lbuild save -o /bed/built.tar built";
    let mut words = vec!["run", "--rm", "--network=none", "--volume", &folder, "--env", &store];
    words.extend(["--env", "SOURCE_DATE_EPOCH=1700000000"]);
    words.extend(options);
    words.extend([OUTER, "sh", "-c", script]);
    docker.docker(words)
}

#[test]
fn a_package_with_several_owners_is_built_inside_of_containers() {
    let docker = Docker::connect();
    let rootfs = debian_rootfs();
    docker.docker(["import", rootfs.to_str().unwrap(), OUTER]).success();
    let bed = SharedBed::new();
    write_context(&bed);

    let default = build_inside(&docker, &bed, &[]).success();
    assert!(default.stderr.contains("kept apart by chroot alone"), "{default}");
    check_owners(&Image::read(&bed.folder().join("built.tar")));

    let unconfined = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"];
    let unconfined = build_inside(&docker, &bed, &unconfined).success();
    assert!(!unconfined.stderr.contains("chroot"), "{unconfined}");
    check_owners(&Image::read(&bed.folder().join("built.tar")));
}
