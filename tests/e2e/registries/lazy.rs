//! Bases that stay in the registry, and the layers that are made on them all the same.

use std::fs;

use lbuild_tests::{BaseImage, FaultProxy, Registry, Run, entry};
use serde_json::Value;
use tar::EntryType;

use super::{RegistryBed, noise, skopeo};

/// What a plain COPY may find in its base: directories with modes and owners, links on the way, files in
/// the way, names of owners.
const DOCKERFILE: &str = "ENV A=1
COPY noise /app/data/
COPY --chown=user:user noise /through/new/
COPY --link noise /t/linked
WORKDIR /app/w
COPY noise e
";

/// A base that a build must look at, and that is too large to go unnoticed.
fn base() -> BaseImage {
    let mut tar = tar::Builder::new(Vec::new());
    let mut put = |path: &str, kind, mode, content: &[u8]| entry(&mut tar, path, kind, mode, content);
    put("app/", EntryType::Directory, 0o750, b"");
    put("app/noise", EntryType::Regular, 0o640, &noise(2_000_000));
    put("srv/", EntryType::Directory, 0o711, b"");
    put("through", EntryType::Symlink, 0o777, b"srv");
    put("t/", EntryType::Directory, 0o1777, b"");
    put("d/.wh.a", EntryType::Regular, 0o644, b"");
    BaseImage::busybox().layer(tar.into_inner().unwrap())
}

/// A machine whose store is empty, and a registry with the base.
struct Scene {
    registry: Registry,
    proxy: FaultProxy,
    /// Last, for it looks for what the others left behind.
    bed: RegistryBed,
}

fn scene(dockerfile: &str) -> Scene {
    let mut bed = RegistryBed::new();
    bed.bed.load_base("base", &base());
    let registry = Registry::start(&bed.path("registry"));
    let proxy = FaultProxy::start(registry.address());
    bed.push_base(&registry.name("team/base:1"));
    bed.empty_store();
    bed.bed.dockerfile(&format!("FROM {}\n{dockerfile}", proxy.name("team/base:1")));
    bed.bed.file("noise", noise(300_000));
    Scene { registry, proxy, bed }
}

impl Scene {
    /// Builds and pushes, with a store that has nothing; returns what the build said, the image's
    /// configuration, and the bytes that passed the proxy in both directions.
    fn push(&mut self, arguments: &[String]) -> (Run, Value, u64) {
        self.bed.empty_store();
        self.proxy.bytes();
        let mut command = self.bed.command([
            "build",
            "--progress",
            "plain",
            "-t",
            &self.proxy.name("team/app:1"),
            "--push",
        ]);
        // The times of the builds are no part of their images.
        command.env("SOURCE_DATE_EPOCH", "1700000000").args(arguments).arg(self.bed.bed.context());
        let run = Run::of(&mut command).success();
        let (up, down) = self.proxy.bytes();
        let name = format!("docker://{}", self.registry.name("team/app:1"));
        (run, skopeo(["inspect", "--tls-verify=false", "--config", &name]).json(), up + down)
    }

    fn cache(&self, option: &str) -> String {
        format!("{option}={}", self.bed.path("cache").display())
    }
}

#[test]
fn a_copy_on_a_base_that_was_listed_moves_no_byte_of_it_and_gives_the_same_image() {
    let mut scene = scene(DOCKERFILE);
    let (to, from) = (scene.cache("--cache-to=type=local,dest"), scene.cache("--cache-from=type=local,src"));
    // The first machine fetches the base, and lists it for the others.
    let (_, _, bytes) = scene.push(&[to]);
    assert!(bytes > 2_000_000, "the base was not there: {bytes}");
    scene.bed.bed.file("noise", noise(310_000));
    let (run, image, bytes) = scene.push(&[from]);
    assert!(run.text().contains("5 run, 0 cached"), "{run}");
    // Four copies of one file, of which two have other paths than the rest.
    assert!(bytes < 4 * 310_000 + 100_000, "{bytes} bytes: {run}");
    let (_, expected, bytes) = scene.push(&[]);
    assert!(bytes > 2_000_000, "{bytes}");
    assert_eq!(image, expected);
}

#[test]
fn a_listing_that_is_damaged_costs_the_base_and_changes_nothing() {
    let mut scene = scene("COPY noise /through/\n");
    let (to, from) = (scene.cache("--cache-to=type=local,dest"), scene.cache("--cache-from=type=local,src"));
    let (_, expected, _) = scene.push(&[to]);
    for blob in fs::read_dir(scene.bed.path("cache/blobs/sha256")).unwrap() {
        let blob = blob.unwrap().path();
        let length = fs::metadata(&blob).unwrap().len();
        fs::write(blob, vec![7; length as usize]).unwrap();
    }
    scene.bed.bed.file("noise", noise(300_001));
    let (_, image, bytes) = scene.push(&[from]);
    assert!(bytes > 2_000_000, "{bytes}");
    assert_ne!(image, expected);
    assert_eq!(image, scene.push(&[]).1);
}

#[test]
fn a_copy_that_needs_what_a_file_holds_fetches_it() {
    // A list of users that is too long to be listed.
    let mut scene = scene("COPY --chown=user noise /x\n");
    let (to, from) = (scene.cache("--cache-to=type=local,dest"), scene.cache("--cache-from=type=local,src"));
    let mut tar = tar::Builder::new(Vec::new());
    let mut many = b"user:x:77:78::/:/bin/sh\n".to_vec();
    many.extend(noise(200_000).into_iter().filter(|byte| *byte != 0));
    entry(&mut tar, "etc/passwd", EntryType::Regular, 0o644, &many);
    scene.bed.bed.load_base("base", &base().layer(tar.into_inner().unwrap()));
    scene.bed.push_base(&scene.registry.name("team/base:1"));
    scene.push(&[to]);
    scene.bed.bed.file("noise", noise(310_000));
    let (run, image, bytes) = scene.push(&[from]);
    assert!(bytes > 2_000_000, "{bytes}: {run}");
    assert_eq!(image, scene.push(&[]).1);
}

#[test]
fn layers_that_stay_in_the_registry_are_shown_with_their_compressed_size() {
    let scene = scene("");
    let bed = &scene.bed;
    let build = bed.build(["-t", "app"]).success();
    let summary = build.text();
    let size = summary.lines().find(|line| line.starts_with("size")).unwrap();
    assert!(size.ends_with("MB compressed in 2 layers"), "{build}");
    assert!(bed.lbuild(["images"]).success().text().contains("MB compressed"));
    let check = bed.lbuild(["store", "check"]).success().text();
    assert!(
        check.contains(" 0 damaged\nlayers not here, to be verified when they are fetched: 2\n"),
        "{check}"
    );
    let history = bed.lbuild(["history", "--format", "json", "app"]).success().text();
    let steps: Vec<Value> = history.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let bytes = |field: &str| steps.iter().map(|step| step[field].as_u64().unwrap()).sum::<u64>();
    assert!(bytes("Size") > 2_000_000, "{history}");
    assert_eq!(bytes("Size"), bytes("CompressedSize"), "{history}");
    // This needs the layers' folders, and so fetches them.
    let inspected = bed.lbuild(["inspect", "app"]).success().json();
    assert_eq!(inspected[0]["CompressedSize"], 0, "{inspected}");
    assert!(inspected[0]["Size"].as_u64().unwrap() > 2_000_000, "{inspected}");
    assert!(!bed.lbuild(["images"]).success().text().contains("compressed"));
}
