//! skopeo, umoci and buildah read what lbuild writes, and lbuild reads what they write.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lbuild_tests::{Run, TestBed};
use serde_json::Value;

fn bed() -> TestBed {
    TestBed::with_base(
        "FROM base\nRUN rm -r /d && mkdir /d && echo new > /d/n\nRUN rm /etc/motd\nENV COLOUR=blue\n",
    )
}

/// An archive of the bed's image.
fn archive(bed: &TestBed, output: &str) -> PathBuf {
    let archive = bed.folder().join("image.tar");
    bed.build(["-o", &format!("{output},dest={}", archive.display())]).success();
    archive
}

fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Run {
    Run::of(Command::new(program).args(arguments)).success()
}

fn skopeo(from: &str, to: &str) {
    run("skopeo", ["--insecure-policy", "copy", "--quiet", from, to]);
}

fn json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

/// The configuration of the image in an OCI layout's folder.
fn config_of_layout(layout: &Path) -> Value {
    let blob = |descriptor: &Value| {
        json(&layout.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/")))
    };
    let manifest = blob(&json(&layout.join("index.json"))["manifests"][0]);
    blob(&manifest["config"])
}

#[test]
fn skopeo_reads_the_archive_as_either_form() {
    let bed = bed();
    let expected = bed.built();
    for (output, transport) in [
        ("type=docker", "docker-archive"),
        ("type=docker", "oci-archive"),
        ("type=oci,compression=gzip", "oci-archive"),
        ("type=oci,compression=zstd", "oci-archive"),
    ] {
        let (archive, layout) = (archive(&bed, output), bed.folder().join("layout"));
        skopeo(&format!("{transport}:{}", archive.display()), &format!("oci:{}:copied", layout.display()));
        assert_eq!(config_of_layout(&layout), expected.config, "{output} as {transport}");
        fs::remove_dir_all(layout).unwrap();
    }
}

#[test]
fn umoci_unpacks_the_layout() {
    let bed = bed();
    let (layout, bundle) = (bed.folder().join("layout"), bed.folder().join("bundle"));
    bed.build(["-o", &format!("type=oci,tar=false,dest={}", layout.display())]).success();
    let tag =
        json(&layout.join("index.json"))["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
            .as_str()
            .expect("the image has no name in the layout")
            .to_owned();
    run("umoci", ["unpack", "--image", &format!("{}:{tag}", layout.display()), bundle.to_str().unwrap()]);
    let root = bundle.join("rootfs");
    assert_eq!(fs::read_to_string(root.join("d/n")).unwrap(), "new\n");
    assert!(!root.join("d/a").exists() && !root.join("etc/motd").exists());
    let environment = json(&bundle.join("config.json"))["process"]["env"].to_string();
    assert!(environment.contains("COLOUR=blue"), "{environment}");
}

#[test]
fn what_skopeo_writes_is_a_base_image() {
    let bed = bed();
    let source = format!("docker-archive:{}", archive(&bed, "type=docker").display());
    let expected = bed.built();
    for (transport, name) in [("docker-archive", "copied:1"), ("oci-archive", "copied:1"), ("oci", "copied")]
    {
        let target = bed.folder().join("target");
        skopeo(&source, &format!("{transport}:{}:{name}", target.display()));
        let other = TestBed::new();
        other.lbuild(["load", "-t", "base", "-i", target.to_str().unwrap()]).success();
        let inspect = other.inspect("base");
        assert_eq!(inspect["RootFS"]["Layers"], serde_json::json!(expected.diff_ids()), "{transport}");
        other.dockerfile("FROM base\nRUN test \"$COLOUR $(ls /d)\" = 'blue n' && test ! -e /etc/motd\n");
        other.build([""; 0]).success();
        if target.is_dir() {
            fs::remove_dir_all(target).unwrap();
        } else {
            fs::remove_file(target).unwrap();
        }
    }
}

#[test]
fn what_buildah_writes_is_a_base_image() {
    let bed = TestBed::new();
    let folder = |name: &str| bed.folder().join(name).display().to_string();
    let storage = ["--storage-driver", "vfs", "--root", &folder("root"), "--runroot", &folder("runroot")];
    let buildah =
        |arguments: &[&str]| run("buildah", storage.iter().chain(arguments)).text().trim().to_owned();
    let container = buildah(&["from", "scratch"]);
    bed.file("busybox", fs::read("/bin/busybox").unwrap()).file("f", "from buildah\n");
    let context = bed.context().display();
    buildah(&["copy", "--chmod", "755", &container, &format!("{context}/busybox"), "/bin/sh"]);
    buildah(&["copy", &container, &format!("{context}/f"), "/f"]);
    let image = buildah(&["commit", "--quiet", &container]);
    for transport in ["docker-archive", "oci-archive"] {
        let target = folder(transport);
        buildah(&["push", "--quiet", &image, &format!("{transport}:{target}:made:1")]);
        let other = TestBed::new();
        other.lbuild(["load", "-t", "base", "-i", &target]).success();
        other.dockerfile("FROM base\nRUN read line < /f && test \"$line\" = 'from buildah' && echo > /g\n");
        assert_eq!(other.built().top_layer().paths(), ["g"], "{transport}");
    }
}
