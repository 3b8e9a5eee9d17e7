//! Registries: images from them and to them, with real ones and with what goes wrong on the way.

mod access;
mod cache;
mod cache_faults;
mod faults;
mod foreign;
mod inline;
mod lazy;
mod mirrors;
mod other_tools;
mod platforms;
mod pull;
mod push;
mod tls;
mod unpacking;

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use lbuild_tests::{BaseImage, Run, TestBed};

/// A bed whose commands know only the registries and credentials that the test gives them.
struct RegistryBed {
    bed: TestBed,
}

impl RegistryBed {
    fn new() -> Self {
        let bed = TestBed::new();
        for folder in ["config", "docker"] {
            fs::create_dir(bed.folder().join(folder)).unwrap();
        }
        let bed = Self { bed };
        bed.registries_conf("");
        bed
    }

    /// With a store that has `base`.
    fn with_base() -> Self {
        let bed = Self::new();
        bed.bed.load_base("base", &BaseImage::busybox());
        bed
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bed.folder().join(name)
    }

    fn registries_conf(&self, text: &str) {
        fs::write(self.path("registries.conf"), text).unwrap();
    }

    fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.bed.command(arguments);
        for variable in
            ["REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "XDG_RUNTIME_DIR", "LBUILD_IMAGE_SOURCES"]
        {
            command.env_remove(variable);
        }
        command.env("CONTAINERS_REGISTRIES_CONF", self.path("registries.conf"));
        command.env("DOCKER_CONFIG", self.path("docker")).env("XDG_CONFIG_HOME", self.path("config"));
        command
    }

    /// A command that takes a registry for dead which is silent for a second.
    fn impatient<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = self.command(arguments);
        command.env("LBUILD_REGISTRY_TIMEOUT", "1");
        command
    }

    fn lbuild<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        Run::of(&mut self.command(arguments))
    }

    /// Builds the context.
    fn build<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Run {
        let mut command = self.command(["build", "--progress", "plain"]);
        Run::of(command.args(arguments).arg(self.bed.context()))
    }

    /// Pushes the store's `base`.
    #[track_caller]
    fn push_base(&self, name: &str) {
        self.lbuild(["push", "base", name]).success();
    }

    /// Forgets all images and layers.
    fn empty_store(&mut self) {
        let next = format!("{}x", self.bed.store().file_name().unwrap().to_str().unwrap());
        self.bed.move_store(&next);
    }

    /// What the file `path` of a stored image holds.
    #[track_caller]
    fn file_of(&self, image: &str, path: &str) -> Vec<u8> {
        let image = self.bed.image(image);
        let mut entries = image.layers.iter().rev().flat_map(|layer| &layer.entries);
        let entry = entries.find(|entry| entry.path == path);
        entry.unwrap_or_else(|| panic!("the image has no {path}")).content.clone()
    }
}

/// A file that does not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        })
        .collect()
}

fn skopeo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy").args(arguments);
    Run::of(&mut command).success()
}
