//! Base images that are pulled, and `lbuild pull`.

use std::fs;

use lbuild_tests::{FaultProxy, Registry};

use super::RegistryBed;

#[test]
fn a_base_that_is_not_here_is_pulled_once() {
    let mut bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let proxy = FaultProxy::start(registry.address());
    bed.push_base(&registry.name("team/base:1"));
    bed.empty_store();
    bed.bed.dockerfile(&format!("FROM {}\nRUN cat /etc/motd > /seen\n", proxy.name("team/base:1")));
    bed.build(["-t", "app"]).success().says(&["pulling"]);
    assert_eq!(bed.file_of("app", "seen"), b"Welcome.\n");
    proxy.seen();
    bed.build(["-t", "app"]).success();
    assert!(proxy.seen().is_empty(), "the registry is asked for what was pulled before");
}

#[test]
fn pull_always_sees_that_a_tag_moved_and_a_digest_does_not_move() {
    let mut bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let name = registry.name("base:latest");
    bed.push_base(&name);
    let digest = bed.lbuild(["push", "-q", "base", &name]).success().text();
    let pinned = format!("{}@{}", registry.name("base"), digest.trim());
    bed.bed.dockerfile("FROM base\nRUN echo new > /etc/motd\n");
    bed.build(["-t", &name, "--push", "--pull=never"]).success();

    bed.empty_store();
    let build = |bed: &RegistryBed, from: &str, pull: &str| {
        bed.bed.dockerfile(&format!("FROM {from}\nRUN cat /etc/motd > /seen\n"));
        bed.build(["-t", "app", pull]).success();
        bed.file_of("app", "seen")
    };
    assert_eq!(build(&bed, &pinned, "--pull"), b"Welcome.\n");
    assert_eq!(build(&bed, &name, "--pull"), b"new\n");
    bed.empty_store();
    bed.bed.load_base("base", &lbuild_tests::BaseImage::busybox());
    bed.lbuild(["tag", "base", &name]).success();
    assert_eq!(build(&bed, &name, "--pull=missing"), b"Welcome.\n");
    assert_eq!(build(&bed, &name, "--pull"), b"new\n");
}

#[test]
fn what_is_nowhere_is_told_with_its_line() {
    let bed = RegistryBed::new();
    let registry = Registry::start(&bed.path("registry"));
    bed.bed.dockerfile(&format!("FROM {}\n", registry.name("none:1")));
    bed.build([""; 0]).failure(1).says(&["none:1 is not on", "Dockerfile:1", "help"]);
    bed.build(["--pull=never"]).failure(1).says(&["not in the store"]);
    bed.lbuild(["pull", &registry.name("none:1")]).failure(1).says(&["is not on"]);
}

#[test]
fn a_blocked_registry_is_not_asked() {
    let bed = RegistryBed::new();
    bed.registries_conf("[[registry]]\nlocation = \"blocked.invalid\"\nblocked = true\n");
    bed.lbuild(["pull", "blocked.invalid/app"]).failure(1).says(&["blocked by", "registries.conf"]);
    bed.registries_conf("[[registry]]\nlocation = \"https://x\"\n");
    bed.lbuild(["pull", "blocked.invalid/app"]).failure(1).says(&["registries.conf", "without a scheme"]);
}

#[test]
fn a_failed_pull_leaves_no_name_and_nothing_behind() {
    let mut bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let name = registry.name("base:1");
    bed.push_base(&name);
    damage_blobs(&bed);
    bed.empty_store();
    bed.lbuild(["pull", &name]).failure(1);
    assert_eq!(bed.lbuild(["images", "-q"]).success().text(), "");
}

/// Writes another byte into each blob that the registry has on its disk, and keeps its length.
fn damage_blobs(bed: &RegistryBed) {
    let blobs = bed.path("registry/data/docker/registry/v2/blobs/sha256");
    for prefix in fs::read_dir(blobs).unwrap() {
        for blob in fs::read_dir(prefix.unwrap().path()).unwrap() {
            let path = blob.unwrap().path().join("data");
            let mut bytes = fs::read(&path).unwrap();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(path, bytes).unwrap();
            }
        }
    }
}
