//! lbuild in a container of a user's own Podman.

use lbuild_tests::{Podman, SharedBed};

use super::{id, own_image, write_context};

#[test]
fn a_rootless_podman_container_builds_what_root_does() {
    let bed = SharedBed::new();
    let root = write_context(&bed);
    let image = own_image(&bed, "lbuild-test/lbuild:1");
    let podman = Podman::new(&bed.folder().join("podman"));
    podman.podman(["load", "--input", image.to_str().unwrap()]).success();
    let context = format!("{}:/context:ro", bed.context().display());
    let out = bed.folder().join("podman/out");
    let volume = format!("{}:/out", out.display());
    std::fs::create_dir(&out).unwrap();
    lbuild_tests::Person::WithSubordinateIds.own(&out);
    // The store is on the volume of the image; each setting has its own.
    let run = |options: &[&str], words: &[&str]| {
        let fixed = [
            "run",
            "--rm",
            "--network=none",
            "--env=SOURCE_DATE_EPOCH=1700000000",
            "--volume",
            &context,
            "--volume",
        ];
        podman.podman([&fixed[..], &[&volume], options, &["lbuild-test/lbuild:1"], words].concat())
    };
    let read_only = ["--read-only", "--security-opt=unmask=ALL", "--security-opt=no-new-privileges"];
    for (name, options) in [("default", &[][..]), ("read-only", &read_only)] {
        let archive = format!("type=docker,dest=/out/{name}.tar");
        let built = run(options, &["build", "--output", &archive, "/context"]).success();
        assert!(!built.stderr.contains("note:"), "{name}: {built}");
        assert_eq!(id(&out.join(format!("{name}.tar"))), root, "{name}: {built}");
    }
    let report = run(&[], &["doctor", "--json"]).success().json();
    assert_eq!(report["mode"], "user-namespace", "{report}");
}
