//! What goes through a registry to Docker, and from it.

use lbuild_tests::{Docker, Registry, TestBed};

/// The image's file `/made`, which its last step made.
#[track_caller]
fn made(bed: &TestBed, image: &str) -> Vec<u8> {
    let image = bed.image(image);
    image
        .layers
        .iter()
        .rev()
        .flat_map(|layer| &layer.entries)
        .find(|entry| entry.path == "made")
        .unwrap()
        .content
        .clone()
}

#[test]
fn docker_pulls_what_lbuild_pushed() {
    let bed = TestBed::with_base("FROM base\nRUN echo made by lbuild > /made\nCMD [\"cat\", \"/made\"]\n");
    let docker = Docker::connect();
    let folder = bed.folder().join("registry");
    let registry = Registry::start(&folder);
    let theirs = docker.registry(&folder);
    for (tag, output, option) in [
        ("oci", "", None),
        ("docker", ",oci-mediatypes=false", None),
        ("plain", ",compression=uncompressed", None),
        ("inline", "", Some("--cache-to=type=inline")),
    ] {
        let name = registry.name(&format!("team/app:{tag}"));
        let output = format!("-o=type=registry,\"name={name}\"{output}");
        bed.build([Some(&*output), option].into_iter().flatten()).success();
        let id = bed.inspect(&bed.name())["Id"].clone();
        let name = theirs.name(&format!("team/app:{tag}"));
        docker.docker(["pull", "--quiet", &name]).success();
        assert_eq!(docker.inspect(&name)["Id"], id, "{tag}");
        let run = docker.docker(["run", "--rm", "--network=none", &name]).success();
        assert_eq!(run.text(), "made by lbuild\n", "{tag}");
        docker.docker(["rmi", "--force", &name]).success();
    }
}

#[test]
fn lbuild_pulls_what_docker_pushed() {
    let bed = TestBed::with_base("FROM base\nRUN echo made by lbuild > /made\n");
    let docker = super::load_into_docker(&bed);
    let folder = bed.folder().join("registry");
    let registry = Registry::start(&folder);
    let theirs = docker.registry(&folder);
    let pushed = theirs.name("team/app:1");
    docker.docker(["tag", &bed.name(), &pushed]).success();
    docker.docker(["push", "--quiet", &pushed]).success();
    let (id, content) = (bed.inspect(&bed.name())["Id"].clone(), made(&bed, &bed.name()));

    let mut other = TestBed::new();
    other.move_store("other");
    let name = registry.name("team/app:1");
    other.lbuild(["pull", &name]).success();
    assert_eq!(other.inspect(&name)["Id"], id);
    assert_eq!(made(&other, &name), content);
    docker.docker(["rmi", "--force", &pushed, &bed.name()]).success();
}
