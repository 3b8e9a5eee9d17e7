//! `lbuild push` and `--push`.

use std::fs;
use std::time::{Duration, Instant};

use lbuild_tests::{Fault, FaultProxy, Gate, Registry, Running, wait_until};
use rustix::process::Signal;
use serde_json::Value;

use super::{RegistryBed, noise, skopeo};

fn inspect(name: &str) -> Value {
    skopeo(["inspect", "--tls-verify=false", "--raw", &format!("docker://{name}")]).json()
}

#[test]
fn a_base_of_the_registry_does_not_travel() {
    let mut bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let proxy = FaultProxy::start(registry.address());
    bed.push_base(&proxy.name("team/base:1"));
    bed.empty_store();
    bed.lbuild(["pull", &proxy.name("team/base:1")]).success();
    proxy.bytes();

    let layer = noise(300_000);
    bed.bed.file("noise", &layer);
    bed.bed.dockerfile(&format!("FROM {}\nCOPY noise /\n", proxy.name("team/base:1")));
    let run = bed.build(["-t", &proxy.name("other/app:1"), "--push"]).success();
    assert!(run.text().contains("1 layer uploaded, 1 mounted, 0 were there"), "{run}");
    let (up, down) = proxy.bytes();
    assert!(up + down < layer.len() as u64 + 100_000, "{up} bytes up and {down} down");
    let run = bed.lbuild(["push", &proxy.name("other/app:1")]).success();
    assert!(run.text().contains("0 layers uploaded, 0 mounted, 2 were there"), "{run}");
    let (up, down) = proxy.bytes();
    assert!(up + down < 10_000, "{up} bytes up and {down} down");
}

/// A build that pushes a file of `bytes` bytes as `app:1`, and in whose last step `gate` stands before `last`.
fn slow_build(bed: &RegistryBed, proxy: &FaultProxy, gate: &Gate, bytes: usize, last: &str) -> Running {
    bed.bed.file("noise", noise(bytes));
    bed.bed.dockerfile(&format!("FROM base\nCOPY noise /\nRUN {}; {last}\n", gate.command()));
    let words = ["build", "--progress", "plain", "--network=host", "--push", "-t", &proxy.name("app:1")];
    Running::start(bed.command(words).arg(bed.bed.context()))
}

#[test]
fn layers_are_uploaded_while_later_steps_run_and_the_tag_comes_last() {
    let bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let (proxy, gate) = (FaultProxy::start(registry.address()), Gate::new());
    let build = slow_build(&bed, &proxy, &gate, 600_000, "echo done > /end");
    let step = gate.reached();
    let mut up = 0;
    wait_until(|| {
        up += proxy.bytes().0;
        up > 600_000
    });
    let seen: Vec<String> = proxy.seen().into_iter().map(|seen| seen.line).collect();
    assert!(!seen.iter().any(|line| line.starts_with("PUT") && line.contains("/manifests/")), "{seen:?}");
    step.go_on();
    let run = build.end().success();
    assert!(run.text().contains("3 layers uploaded, 0 mounted, 0 were there"), "{run}");
    let manifest = inspect(&registry.name("app:1"));
    let layers = manifest["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    let bytes: u64 = layers.iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    up += proxy.bytes().0;
    assert!(up < bytes + 100_000, "{up} bytes went up for {bytes}");
}

#[test]
fn a_build_that_fails_or_is_ended_leaves_no_tag() {
    let bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let (proxy, gate) = (FaultProxy::start(registry.address()), Gate::new());
    let failing = slow_build(&bed, &proxy, &gate, 600_000, "false");
    let step = gate.reached();
    wait_until(|| proxy.seen().iter().any(|seen| seen.line.starts_with("PUT")));
    step.go_on();
    failing.end().failure(1);

    // The registry wants the uploads to wait for longer than the build is let run.
    proxy.fault(
        "POST",
        "/blobs/uploads/",
        9,
        Fault::Answer("503 Service Unavailable", "Retry-After: 60\r\n".to_owned()),
    );
    let ended = slow_build(&bed, &proxy, &gate, 600_001, "true");
    let _step = gate.reached();
    wait_until(|| proxy.faults_left() < 9);
    let began = Instant::now();
    ended.signal(Signal::INT);
    ended.end().failure(130);
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    bed.lbuild(["pull", &registry.name("app:1")]).failure(1).says(&["is not on"]);
}

#[test]
fn what_cannot_be_uploaded_beside_the_build_is_pushed_after_it() {
    let bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let (proxy, gate) = (FaultProxy::start(registry.address()), Gate::new());
    proxy.fault("PUT", "/blobs/uploads/", 1, Fault::Answer("403 Forbidden", String::new()));
    let build = slow_build(&bed, &proxy, &gate, 600_000, "true");
    let step = gate.reached();
    wait_until(|| proxy.faults_left() == 0);
    step.go_on();
    let run = build.end().success();
    assert!(run.text().contains("pushed"), "{run}");
    assert_eq!(inspect(&registry.name("app:1"))["layers"].as_array().unwrap().len(), 2);
}

#[test]
fn every_name_gets_the_image_and_the_digest_is_told() {
    let bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    let names = ["app:1", "app:latest", "mirror/app:1"].map(|name| registry.name(name));
    bed.bed.dockerfile("FROM base\nRUN echo x > /x\n");
    let mut arguments = vec!["--push".to_owned(), "--annotation=colour=blue".to_owned()];
    arguments.extend(names.iter().flat_map(|name| ["-t".to_owned(), name.clone()]));
    let metadata = bed.path("metadata.json");
    arguments.push(format!("--metadata-file={}", metadata.display()));
    let run = bed.build(&arguments).success();

    let metadata: Value = serde_json::from_slice(&fs::read(metadata).unwrap()).unwrap();
    let digest = metadata["containerimage.digest"].as_str().unwrap();
    assert!(run.text().contains(digest), "{run}");
    for name in &names {
        let run = skopeo(["inspect", "--tls-verify=false", &format!("docker://{name}")]).json();
        assert_eq!(run["Digest"], digest, "{name}");
        assert_eq!(inspect(name)["annotations"]["colour"], "blue");
    }
}

#[test]
fn layers_and_documents_have_the_form_that_is_asked_for() {
    let bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    bed.bed.dockerfile("FROM base\nRUN echo x > /x\n");
    let oci = "application/vnd.oci.image.layer.v1.tar";
    for (options, expected) in [
        ("", format!("{oci}+gzip")),
        (",compression=zstd,compression-level=5", format!("{oci}+zstd")),
        (",compression=uncompressed", oci.to_owned()),
        (",oci-mediatypes=false", "application/vnd.docker.image.rootfs.diff.tar.gzip".to_owned()),
    ] {
        let name = registry.name("forms:1");
        bed.build(["-o", &format!("type=registry,name={name}{options}")]).success();
        let manifest = inspect(&name);
        assert_eq!(manifest["layers"][1]["mediaType"], *expected, "{options}");
        let folder = bed.path("copy");
        skopeo([
            "copy",
            "--quiet",
            "--src-tls-verify=false",
            &format!("docker://{name}"),
            &format!("dir:{}", folder.display()),
        ]);
    }
    bed.build(["-o", "type=registry,name=x/y,oci-mediatypes=false,compression=zstd"]).failure(1);
}

#[test]
fn an_image_can_be_known_by_its_digest_alone() {
    let bed = RegistryBed::with_base();
    let registry = Registry::start(&bed.path("registry"));
    bed.bed.dockerfile("FROM base\nRUN echo x > /x\n");
    let output = format!("type=image,push=true,push-by-digest=true,name={}", registry.name("app"));
    let metadata = bed.path("metadata.json");
    bed.build(["-o", &output, &format!("--metadata-file={}", metadata.display())]).success();
    let metadata: Value = serde_json::from_slice(&fs::read(metadata).unwrap()).unwrap();
    let digest = metadata["containerimage.digest"].as_str().unwrap();
    inspect(&format!("{}@{digest}", registry.name("app")));
    bed.lbuild(["pull", &registry.name("app:latest")]).failure(1);
}

#[test]
fn what_has_no_name_is_not_pushed() {
    let bed = RegistryBed::with_base();
    bed.bed.dockerfile("FROM base\n");
    bed.build(["--push"]).failure(2).says(&["-t"]);
    let digest = format!("localhost:1/x@sha256:{}", "0".repeat(64));
    bed.lbuild(["push", "base", &digest]).failure(2).says(&["has a digest"]);
}
