//! lbuild reads what skopeo and Buildah push.

use std::process::Command;

use lbuild_tests::{Registry, Run};
use serde_json::Value;

use super::{RegistryBed, skopeo};

#[test]
fn images_of_every_form_are_pulled() {
    let mut bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let archive = bed.bed.save("base");
    for (form, options) in [
        ("v2s2", &["--format", "v2s2"][..]),
        ("oci", &["--format", "oci"]),
        ("zstd", &["--format", "oci", "--dest-compress-format", "zstd"]),
        ("plain", &["--format", "oci", "--dest-decompress"]),
    ] {
        let name = registry.name(&format!("base:{form}"));
        let from = format!("docker-archive:{}", archive.display());
        let to = format!("docker://{name}");
        let copy = ["copy", "--quiet", "--dest-tls-verify=false"].into_iter().chain(options.iter().copied());
        skopeo(copy.chain([from.as_str(), to.as_str()]));
        bed.empty_store();
        bed.lbuild(["pull", &name]).success();
        assert_eq!(bed.file_of(&name, "etc/motd"), b"Welcome.\n", "{form}");
    }
}

#[test]
fn what_buildah_made_is_pulled() {
    let bed = RegistryBed::new();
    let registry = Registry::start(&bed.path("registry"));
    let name = registry.name("made:1");
    std::fs::write(bed.path("file"), "by buildah\n").unwrap();
    let buildah = |arguments: &[&str]| buildah(&bed, arguments);
    let container = buildah(&["from", "scratch"]);
    buildah(&["copy", &container, bed.path("file").to_str().unwrap(), "/file"]);
    let image = buildah(&["commit", "--quiet", "--rm", &container]);
    buildah(&["push", "--tls-verify=false", &image, &format!("docker://{name}")]);
    bed.lbuild(["pull", &name]).success();
    assert_eq!(bed.file_of(&name, "file"), b"by buildah\n");
    bed.bed.dockerfile(&format!("FROM {name}\nCOPY --from={name} /file /again\n"));
    bed.build(["-t", "app"]).success();
    assert_eq!(bed.file_of("app", "again"), b"by buildah\n");
}

/// Runs Buildah with a storage of the bed's; returns what it prints.
fn buildah(bed: &RegistryBed, arguments: &[&str]) -> String {
    let root = bed.path("buildah");
    let mut command = Command::new("buildah");
    command.arg("--storage-driver=vfs").arg("--root").arg(&root).arg("--runroot").arg(root.join("run"));
    Run::of(command.args(arguments)).success().text().trim().to_owned()
}

#[test]
fn the_image_for_the_platform_is_chosen_from_what_buildah_pushes() {
    let mut bed = RegistryBed::new();
    let registry = Registry::start(&bed.path("registry"));
    let name = registry.name("many:1");
    let tool = RegistryBed::new();
    let buildah = |arguments: &[&str]| buildah(&tool, arguments);
    buildah(&["manifest", "create", "many"]);
    for (arch, variant) in [("amd64", ""), ("arm64", "v8"), ("arm", "v6"), ("arm", "v7")] {
        let container = buildah(&["from", "scratch"]);
        let label = format!("which={arch}{variant}");
        buildah(&[
            "config",
            "--arch",
            arch,
            "--variant",
            variant,
            "--os",
            "linux",
            "--label",
            &label,
            &container,
        ]);
        let image = buildah(&["commit", "--quiet", "--rm", &container]);
        buildah(&["manifest", "add", "--arch", arch, "--variant", variant, "--os", "linux", "many", &image]);
    }
    buildah(&["manifest", "push", "--all", "--tls-verify=false", "many", &format!("docker://{name}")]);

    for (platform, expected) in [
        ("linux/amd64", "amd64"),
        ("linux/arm64", "arm64v8"),
        ("linux/arm/v7", "armv7"),
        ("linux/arm/v6", "armv6"),
    ] {
        bed.empty_store();
        bed.lbuild(["pull", "--platform", platform, &name]).success();
        let label = label_of(&bed.bed.inspect(&name));
        assert_eq!(label.as_deref(), Some(expected), "{platform}");
    }
    bed.lbuild(["pull", "--platform", "linux/s390x", &name]).failure(1).says(&["linux/s390x", "linux/arm64"]);
}

fn label_of(inspected: &Value) -> Option<String> {
    let config =
        ["Config", "config"].into_iter().map(|key| &inspected[key]).find(|value| value.is_object())?;
    let labels = ["Labels", "labels"].into_iter().map(|key| &config[key]).find(|value| value.is_object())?;
    labels["which"].as_str().map(str::to_owned)
}
