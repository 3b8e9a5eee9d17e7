//! FROM what is on this machine: containers-storage, layouts and archives, by names that say so.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use lbuild_tests::{BaseImage, Run, TestBed};

/// A bed whose folder has an archive with the image `base`, and whose store is empty.
fn bed() -> (TestBed, PathBuf) {
    let bed = TestBed::new();
    let archive = bed.folder().join("base.tar");
    BaseImage::busybox().write("base", &archive);
    (bed, archive)
}

fn skopeo(bed: &TestBed, from: &str, to: &str) {
    let mut command = std::process::Command::new("skopeo");
    command.args(["--insecure-policy", "--tmpdir"]).arg(bed.folder()).args(["copy", "--quiet", from, to]);
    Run::of(&mut command).success();
}

/// The message of the day that a build from `from` sees.
fn motd(bed: &TestBed, from: &str) -> String {
    bed.dockerfile(&format!("FROM {from}\nCOPY --from={from} /etc/motd /copied\nRUN cat /copied > /made\n"));
    let image = bed.built();
    String::from_utf8(image.top_layer().entry("made").content.clone()).unwrap()
}

#[test]
fn archives_and_layouts_are_bases() {
    let (bed, archive) = bed();
    let layout = bed.folder().join("layout");
    let oci = bed.folder().join("oci.tar");
    let docker = format!("docker-archive:{}", archive.display());
    skopeo(&bed, &docker, &format!("oci:{}:v1", layout.display()));
    skopeo(&bed, &docker, &format!("oci-archive:{}:v1", oci.display()));
    for from in [
        docker.clone(),
        format!("{docker}:base"),
        format!("oci:{}:v1", layout.display()),
        format!("oci:{}", layout.display()),
        format!("oci-archive:{}:v1", oci.display()),
    ] {
        assert_eq!(motd(&bed, &from), "Welcome.\n", "{from}");
    }
}

#[test]
fn a_named_context_may_be_an_archive() {
    let (bed, archive) = bed();
    bed.dockerfile("FROM base\nRUN true\n");
    bed.build(["--build-context", &format!("base=docker-archive:{}", archive.display())]).success();
}

#[test]
fn a_changed_archive_is_read_again() {
    let (bed, archive) = bed();
    let from = format!("docker-archive:{}", archive.display());
    motd(&bed, &from);
    let again = bed.build([""; 0]).success();
    assert!(again.stderr.contains("CACHED"), "{again}");
    let other = bed.folder().join("other.tar");
    BaseImage::busybox().layer(one_file("etc/motd", "Other.\n")).write("base", &other);
    fs::rename(&other, &archive).unwrap();
    assert_eq!(motd(&bed, &from), "Other.\n");
}

#[test]
fn images_of_containers_storage_are_bases_byte_for_byte() {
    let (bed, archive) = bed();
    let storage = bed.folder().join("storage");
    let place = format!("[vfs@{}+{}]", storage.display(), bed.folder().join("run").display());
    let docker = format!("docker-archive:{}", archive.display());
    skopeo(&bed, &docker, &format!("containers-storage:{place}localhost/base:1"));
    for name in ["base:1", "localhost/base:1"] {
        assert_eq!(motd(&bed, &format!("containers-storage:{place}{name}")), "Welcome.\n");
    }
    bed.dockerfile(&format!("FROM containers-storage:{place}base:2\n"));
    bed.build([""; 0]).failure(1).says(&["no such image in containers-storage", "Dockerfile:1"]);

    // A storage that another user prepared: the files of a layer are not those of this machine.
    let files = storage.join("vfs/dir");
    let layer = fs::read_dir(&files).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(layer.join("etc/motd")).unwrap();
    symlink("/etc/passwd", layer.join("etc/motd")).unwrap();
    let empty = TestBed::new();
    empty.dockerfile(&format!("FROM containers-storage:{place}base:1\n"));
    empty.build([""; 0]).failure(1).says(&["cannot get image", "cannot read layer"]);
}

#[test]
fn places_are_asked_in_their_order() {
    let (bed, archive) = bed();
    let graph = bed.folder().join("graph");
    let place = format!("[vfs@{}+{}]", graph.display(), bed.folder().join("run").display());
    let docker = format!("docker-archive:{}", archive.display());
    skopeo(&bed, &docker, &format!("containers-storage:{place}docker.io/library/here:1"));
    let configuration = bed.folder().join("storage.conf");
    fs::write(&configuration, format!("[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\n", graph.display()))
        .unwrap();
    bed.dockerfile("FROM here:1\nRUN true\n");
    bed.build([""; 0]).failure(1).says(&["here:1 is not in the store"]);
    let mut command = bed.build_command(["--image-sources", "store,docker-daemon,containers-storage"]);
    command.env("CONTAINERS_STORAGE_CONF", &configuration).env("DOCKER_HOST", "unix:///no/such.sock");
    Run::of(&mut command).success();
}

#[test]
fn what_is_wrong_with_a_name_is_said_where_it_stands() {
    let bed = TestBed::new();
    let path = bed.folder().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap();
    let fifo = format!("oci-archive:{}", path.display());
    for (from, reason) in [
        ("docker-archive:/no/such.tar", "cannot read /no/such.tar"),
        ("docker-archive:/dev/zero", "cannot read /dev/zero"),
        (&fifo, "cannot read"),
        ("oci:", "a name is missing"),
        ("containers-storage:[/x", "a ] is missing"),
        ("docker-daemon:x", "cannot reach Docker"),
    ] {
        bed.dockerfile(&format!("FROM {from}\n"));
        let mut command = bed.build_command([""; 0]);
        command.env("DOCKER_HOST", "unix:///no/such.sock");
        Run::of(&mut command).failure(1).says(&["Dockerfile:1", reason]);
    }
}

fn one_file(path: &str, content: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    lbuild_tests::entry(&mut tar, path, tar::EntryType::Regular, 0o644, content.as_bytes());
    tar.into_inner().unwrap()
}
