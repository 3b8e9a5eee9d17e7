//! lbuild inside of containers that give it no rights.

use lbuild_tests::{Docker, Image, Person, Run, SharedBed, debian_rootfs};

use crate::rootless::{check_owners, write_context};

/// An image that lbuild runs in, with the C library that it may need.
const OUTER: &str = "lbuild-test/outer";

/// Refuses user namespaces, and all else that a filter can give a new one by; allows the rest.
const WITHOUT_USER_NAMESPACES: &str = r#"{
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": ["unshare", "setns"], "action": "SCMP_ACT_ERRNO", "args": []},
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": []},
        {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "args": [
            {"index": 0, "value": 268435456, "valueTwo": 268435456, "op": "SCMP_CMP_MASKED_EQ"}
        ]}
    ]
}"#;

/// Builds in a container, and returns what lbuild printed, and the image.
#[track_caller]
fn build_inside(docker: &Docker, bed: &SharedBed, name: &str, options: &[&str]) -> (Run, Image) {
    let folder = format!("{}:/bed", bed.folder().display());
    let store = format!("LBUILD_ROOT=/bed/store-{name}");
    let script = format!(
        "/bed/lbuild build --progress plain --tag built /bed/context \
         && /bed/lbuild save -o /bed/{name}.tar built"
    );
    let mut words = vec!["run", "--rm", "--network=none", "--volume", &folder, "--env", &store];
    words.extend(["--env", "SOURCE_DATE_EPOCH=1700000000"]);
    words.extend(options);
    words.extend([OUTER, "sh", "-c", &script]);
    let run = docker.docker(words).success();
    let image = Image::read(&bed.folder().join(format!("{name}.tar")));
    (run, image)
}

#[test]
fn a_package_with_several_owners_is_built_inside_of_containers() {
    let docker = Docker::connect();
    let rootfs = debian_rootfs();
    docker.docker(["import", rootfs.to_str().unwrap(), OUTER]).success();
    let bed = SharedBed::new();
    write_context(&bed);
    let profile = bed.folder().join("profile.json");
    std::fs::write(&profile, WITHOUT_USER_NAMESPACES).unwrap();
    let profile = format!("seccomp={}", profile.display());

    let unconfined = ["--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined"];
    let without = ["--security-opt", &profile, "--security-opt", "apparmor=unconfined"];
    let root = bed.build(Person::Root).0;
    for (name, options, is_chroot) in
        [("default", &[][..], true), ("unconfined", &unconfined, false), ("without", &without, true)]
    {
        let (run, image) = build_inside(&docker, &bed, name, options);
        assert_eq!(run.stderr.contains("kept apart by chroot alone"), is_chroot, "{name}: {run}");
        check_owners(&image);
        assert_eq!(image.id, root, "{name}: {run}");
    }
}
