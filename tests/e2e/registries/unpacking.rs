//! Layers are unpacked while they come: whatever happens meanwhile, a whole one is unpacked once, and
//! nothing is left of another.

use std::fs;
use std::process::Command;

use lbuild_tests::{Fault, FaultProxy, Registry, Running, wait_until};
use rustix::process::Signal;

use super::{RegistryBed, noise};

/// Bytes of the file in each of the image's large layers.
const BYTES: usize = 2_000_000;

/// A registry behind a proxy, with an image of four layers; the upper ones delete from, and write into,
/// what the lower ones have.
struct Scene {
    registry: Registry,
    proxy: FaultProxy,
    bed: RegistryBed,
}

impl Scene {
    fn new() -> Self {
        let mut bed = RegistryBed::with_base();
        let registry = Registry::start(&bed.path("registry"));
        let proxy = FaultProxy::start(registry.address());
        bed.bed.file("one", noise(BYTES)).file("two", noise(BYTES + 1));
        bed.bed.dockerfile(
            "FROM base\nCOPY one /d/one\nRUN rm /d/a /etc/motd && rm -r /d/sub && echo x > /d/new\n\
             COPY two /d/one\n",
        );
        bed.build(["-t", "image"]).success();
        bed.lbuild(["push", "image", &registry.name("image:1")]).success();
        bed.empty_store();
        proxy.seen();
        proxy.bytes();
        Self { registry, proxy, bed }
    }

    fn name(&self) -> String {
        self.proxy.name("image:1")
    }

    /// The digest of the topmost layer, which is one of the large ones.
    fn large_layer(&self) -> String {
        let manifest = self.registry.manifest("image", "1");
        manifest["layers"].as_array().unwrap().last().unwrap()["digest"].as_str().unwrap().to_owned()
    }

    fn pull(&self) -> Command {
        let mut command = self.bed.command(["pull", &self.name()]);
        command.env("LBUILD_REGISTRY_TIMEOUT", "100");
        command
    }

    /// A pull that holds still in the middle of the large layer, when the others are unpacked or about to.
    fn stalled(&self) -> Running {
        self.proxy.fault("GET", &self.large_layer(), 1, Fault::Stall(BYTES / 2));
        let pull = Running::start(&mut self.pull());
        wait_until(|| self.proxy.faults_left() == 0);
        pull
    }

    /// How often the large layer was asked for, and how often only the rest of it, since the last time.
    fn requests(&self) -> (usize, usize) {
        let (layer, seen) = (self.large_layer(), self.proxy.seen());
        let of_layer: Vec<_> =
            seen.iter().filter(|seen| seen.line.starts_with("GET") && seen.line.contains(&layer)).collect();
        (of_layer.len(), of_layer.iter().filter(|seen| seen.header("range").is_some()).count())
    }

    /// The names in a folder of the store.
    fn stored(&self, folder: &str) -> usize {
        fs::read_dir(self.bed.bed.store().join(folder)).into_iter().flatten().count()
    }

    /// What the image holds is right, whole and unpacked, and the registry is not needed for it.
    fn check_image(&self) {
        let layers = self.registry.manifest("image", "1")["layers"].as_array().unwrap().len();
        assert_eq!(self.stored("snapshots"), layers, "not all of it is unpacked");
        assert_eq!(self.stored("locks"), 0);
        self.bed.lbuild(["store", "check"]).success();
        self.proxy.seen();
        let run =
            "RUN test ! -e /d/a && test ! -e /d/sub && test ! -e /etc/motd && cat /d/b /d/new > /seen\n";
        self.bed.bed.dockerfile(&format!("FROM {}\n{run}", self.name()));
        self.bed.build(["-t", "app"]).success();
        assert!(self.proxy.seen().is_empty(), "the registry is asked again");
        assert_eq!(self.bed.file_of("app", "seen"), b"b\nx\n");
        assert!(self.bed.bed.image("app").layers.iter().any(|layer| {
            layer.entries.iter().any(|entry| entry.path == "d/one" && entry.size == BYTES as u64 + 1)
        }));
    }

    /// Nothing of the image has a name.
    fn check_nothing(&self) {
        assert_eq!(self.bed.lbuild(["images", "-q"]).success().text(), "");
        for folder in ["snapshots", "blobs/sha256", "layers", "locks", "tmp"] {
            assert_eq!(self.stored(folder), 0, "{folder}");
        }
    }
}

#[test]
fn layers_that_break_off_go_on_and_are_unpacked_once() {
    let scene = Scene::new();
    let layer = scene.large_layer();
    for bytes in [700_000, 0, 900_000] {
        scene.proxy.fault("GET", &layer, 1, Fault::Cut(bytes));
    }
    scene.bed.lbuild(["pull", &scene.name()]).success();
    assert_eq!(scene.proxy.faults_left(), 0);
    assert_eq!(scene.requests(), (4, 3));
    let (_, down) = scene.proxy.bytes();
    assert!(down < 2 * BYTES as u64 + 1_500_000, "{down} bytes came: some came twice");
    scene.check_image();
}

#[test]
fn a_layer_that_is_not_what_it_should_be_leaves_nothing() {
    let scene = Scene::new();
    let layer = scene.large_layer();
    let gone = Fault::Answer("404 Not Found", String::new());
    for (first, rest, reason) in
        [(Fault::Damage, Fault::Damage, "digest"), (Fault::Cut(BYTES / 2), gone, "is not on")]
    {
        scene.proxy.fault("GET", &layer, 1, first).fault("GET", &layer, 99, rest);
        scene.bed.lbuild(["pull", &scene.name()]).failure(1).says(&[reason]);
        scene.proxy.heal();
        scene.check_nothing();
    }
    // Damaged once only, it is fetched anew.
    scene.proxy.fault("GET", &layer, 1, Fault::Damage);
    scene.bed.lbuild(["pull", &scene.name()]).success();
    scene.check_image();
}

#[test]
fn an_interrupted_pull_leaves_nothing_and_a_killed_one_nothing_that_has_a_name() {
    let scene = Scene::new();
    let pull = scene.stalled();
    pull.signal(Signal::INT);
    pull.end().failure(130).says(&["interrupted"]);
    assert_eq!(scene.stored("tmp"), 0);
    scene.check_nothing();

    let pull = scene.stalled();
    pull.signal(Signal::KILL);
    pull.end();
    scene.check_nothing();
    scene.bed.lbuild(["pull", &scene.name()]).success();
    scene.check_image();
}

#[test]
fn of_two_pulls_at_once_the_second_takes_what_the_first_one_has() {
    let scene = Scene::new();
    let first = scene.stalled();
    let mut second = Running::start(&mut scene.pull());
    second.wait_until_it_says("waiting for another lbuild");
    scene.proxy.end_stalls();
    first.end().success();
    second.end().success();
    assert_eq!(scene.requests(), (2, 1), "the layer was fetched by both");
    scene.check_image();
}

#[test]
fn who_waits_for_a_pull_that_is_killed_goes_on_himself() {
    let scene = Scene::new();
    let first = scene.stalled();
    scene.bed.bed.dockerfile(&format!("FROM {}\nRUN true\n", scene.name()));
    let mut command = scene.bed.command(["build", "--progress", "plain", "-t", "built"]);
    let mut second = Running::start(command.arg(scene.bed.bed.context()));
    second.wait_until_it_says("waiting for another lbuild");
    first.signal(Signal::KILL);
    first.end();
    second.end().success();
    scene.check_image();
}
