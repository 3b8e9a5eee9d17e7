//! `--platform` with several: one build for each, and an index of their images.

use std::fs;
use std::process::Command;

use lbuild_tests::{Run, TestBed};
use serde_json::{Value, json};

const BOTH: &str = "linux/amd64,linux/arm64";

/// A build whose images differ, with a step that does not depend on the platform.
fn bed() -> TestBed {
    let bed = TestBed::with_base(
        "FROM --platform=$BUILDPLATFORM base AS tools\nRUN echo made > /made\n\
         FROM scratch\nARG TARGETARCH\nCOPY --from=tools /made /\nCOPY bin-$TARGETARCH /bin\n",
    );
    bed.file("bin-amd64", "for amd64\n").file("bin-arm64", "for arm64\n");
    bed
}

fn json_file(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn skopeo_finds_each_platform_in_the_archive() {
    let bed = bed();
    let (archive, metadata, id) =
        (bed.folder().join("image.tar"), bed.folder().join("metadata"), bed.folder().join("id"));
    let output = format!("type=oci,dest={}", archive.display());
    let files = ["--metadata-file", metadata.to_str().unwrap(), "--iidfile", id.to_str().unwrap()];
    let platforms = ["--platform", BOTH, "--platform", "linux/amd64", "-o", &output];
    let run = bed.build(platforms.into_iter().chain(files)).success();
    let run = run.says(&["== linux/amd64", "== linux/arm64"]);
    let text = run.text();
    assert!(text.contains("(linux/arm64)\n") && text.contains("in the store the image for"), "{run}");
    let metadata = json_file(&metadata);
    assert_eq!(metadata["containerimage.descriptor"]["mediaType"], "application/vnd.oci.image.index.v1+json");
    assert_eq!(json!(fs::read_to_string(id).unwrap()), metadata["containerimage.digest"]);
    assert_eq!(metadata.get("containerimage.config.digest"), None);
    for architecture in ["amd64", "arm64"] {
        let folder = bed.folder().join(architecture);
        let (from, to) = (format!("oci-archive:{}", archive.display()), format!("dir:{}", folder.display()));
        Run::of(
            Command::new("skopeo")
                .args(["--insecure-policy", "--override-arch", architecture, "copy", "--quiet"])
                .args([&from, &to]),
        )
        .success();
        let digest =
            json_file(&folder.join("manifest.json"))["config"]["digest"].as_str().unwrap().to_owned();
        let config = json_file(&folder.join(digest.trim_start_matches("sha256:")));
        assert_eq!(config["architecture"], architecture);
        assert_eq!(config["rootfs"]["diff_ids"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn what_does_not_depend_on_the_platform_is_built_once() {
    let bed = bed();
    let run = bed.build(["--platform", BOTH]).success().stderr;
    let (_, second) = run.split_once("== linux/arm64").unwrap();
    // Lines of other steps may come between.
    let step = second.lines().find(|line| line.ends_with("RUN echo made > /made")).unwrap();
    let number = step.split_once(' ').unwrap().0;
    let is_cached = format!("{number} CACHED");
    assert!(second.lines().any(|line| line.starts_with(&is_cached)), "{run}");
    let run = bed.build(["--platform", BOTH, "--frozen"]).success();
    assert!(run.text().contains("steps  0 run"), "{run}");
}

#[test]
fn a_folder_has_a_folder_for_each_platform() {
    let bed = bed();
    let folder = bed.folder().join("files");
    bed.build(["--platform", BOTH, "-o", folder.to_str().unwrap()]).success();
    for architecture in ["amd64", "arm64"] {
        let file = folder.join(format!("linux_{architecture}/bin"));
        assert_eq!(fs::read_to_string(file).unwrap(), format!("for {architecture}\n"));
    }
}

#[test]
fn an_output_for_one_image_refuses_several_before_anything_runs() {
    let bed = bed();
    for (output, reason) in [
        ("x.tar", "has one image"),
        ("-", "has one image"),
        ("type=docker", "has one image"),
        ("type=tar,dest=x", "is for one platform"),
    ] {
        let run = bed.build(["--platform", BOTH, "-o", output]).failure(2);
        assert!(run.stderr.contains(reason) && !run.stderr.contains("RUN"), "{output}: {run}");
    }
    bed.build(["--platform", BOTH, "--load"]).failure(2).says(&["push them, write type=oci"]);
    bed.build(["--annotation", "index:a=b"]).failure(2).says(&["needs several platforms"]);
}
