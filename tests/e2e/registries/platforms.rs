//! Images for several platforms under one name.

use lbuild_tests::{Registry, sha256};

use super::{RegistryBed, skopeo};

#[test]
fn an_index_is_pushed_and_each_platform_pulled() {
    let mut bed = RegistryBed::new();
    let registry = Registry::start(&bed.path("registry"));
    let name = registry.name("app:1");
    bed.bed.file("bin-amd64", "for amd64\n").file("bin-arm64", "for arm64\n");
    bed.bed.dockerfile("FROM scratch\nARG TARGETARCH\nCOPY bin-$TARGETARCH /bin\n");
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    for (media_types, index, manifest) in [
        ("true", "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"),
        (
            "false",
            "application/vnd.docker.distribution.manifest.list.v2+json",
            "application/vnd.docker.distribution.manifest.v2+json",
        ),
    ] {
        let output = format!("type=registry,oci-mediatypes={media_types}");
        let run = bed
            .build(platforms.into_iter().chain(["-t", &name, "-o", &output, "--annotation", "index:a=b"]))
            .success();
        let raw = skopeo(["inspect", "--tls-verify=false", "--raw", &format!("docker://{name}")]);
        let document = raw.json();
        assert_eq!(document["mediaType"], index);
        assert_eq!(document["manifests"][1]["mediaType"], manifest);
        assert_eq!(document["manifests"][1]["platform"]["architecture"], "arm64");
        assert_eq!(document.get("annotations").is_some(), media_types == "true");
        assert!(run.text().contains(&sha256(&raw.stdout)), "{run}");
    }
    bed.empty_store();
    for architecture in ["amd64", "arm64"] {
        bed.lbuild(["pull", "--platform", &format!("linux/{architecture}"), &name]).success();
        assert_eq!(bed.file_of(&name, "bin"), format!("for {architecture}\n").into_bytes());
    }
}

#[test]
fn an_image_that_is_for_another_platform_than_was_asked_for_is_told() {
    let mut bed = RegistryBed::new();
    let registry = Registry::start(&bed.path("registry"));
    let name = registry.name("app:1");
    bed.bed.file("file", "").dockerfile("FROM scratch\nCOPY file /\n");
    bed.build(["--platform", "linux/amd64", "-t", &name, "--push"]).success();
    bed.empty_store();
    let pull = bed.lbuild(["pull", "--platform", "linux/s390x", &name]).success();
    pull.says(&["warning: ", &name, "linux/amd64 alone", "linux/s390x"]);
    let pull = bed.lbuild(["pull", "--platform", "linux/amd64", &name]).success();
    assert!(!pull.stderr.contains("warning"), "{pull}");
}
