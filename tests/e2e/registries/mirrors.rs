//! Mirrors from `registries.conf`.

use lbuild_tests::{Fault, FaultProxy, Registry, RegistryOptions};

use super::RegistryBed;

fn mirrored(registry: &str, mirrors: &[&str]) -> String {
    let mut text = format!("[[registry]]\nlocation = \"{registry}\"\n");
    for mirror in mirrors {
        text += &format!("[[registry.mirror]]\nlocation = \"{mirror}\"\n");
    }
    text
}

#[test]
fn a_pull_through_mirror_gives_what_its_registry_has() {
    let mut bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let options =
        RegistryOptions { mirrors: Some(registry.address().to_owned()), ..RegistryOptions::default() };
    let mirror = Registry::start_with(&bed.path("mirror"), &options);
    let seen = FaultProxy::start(mirror.address());
    bed.push_base(&registry.name("team/base:1"));
    bed.registries_conf(&mirrored("registry.invalid", &[seen.address()]));
    bed.empty_store();
    bed.lbuild(["pull", "registry.invalid/team/base:1"]).success();
    assert!(seen.seen().iter().any(|seen| seen.line.contains("/v2/team/base/blobs/")));
    // What is pushed goes to the registry itself, which is nowhere.
    bed.lbuild(["push", "registry.invalid/team/base:1"]).failure(1).says(&["registry.invalid"]);
}

#[test]
fn the_registry_serves_where_its_mirrors_do_not() {
    let mut bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    bed.push_base(&registry.name("base:1"));
    let broken = FaultProxy::start(registry.address());
    let empty = Registry::start(&bed.path("empty"));
    // Nothing listens on port 1; the second has no such image; the third damages all blobs.
    let mirrors = ["127.0.0.1:1", empty.address(), broken.address()];
    bed.registries_conf(&mirrored(registry.address(), &mirrors));
    broken.fault("GET", "/blobs/", 99, Fault::Damage);
    bed.empty_store();
    bed.lbuild(["pull", &registry.name("base:1")]).success();
    assert_eq!(bed.file_of(&registry.name("base:1"), "etc/motd"), b"Welcome.\n");
}
