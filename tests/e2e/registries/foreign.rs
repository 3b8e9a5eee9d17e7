//! Layers that a registry does not have, because their licence forbids it: `--allow-foreign-layers`.

use std::fs;

use lbuild_tests::{ConnectProxy, Registry, RegistryOptions, Run, certificates};
use serde_json::{Value, json};

use super::RegistryBed;

/// Where the layer is: a name that only a proxy knows, so that it is not this machine.
const ELSEWHERE: &str = "https://registry.invalid/v2/base/blobs";
const MEDIA_TYPE: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";

/// A registry with an image whose layer is at another server, with TLS.
struct Scene {
    registry: Registry,
    manifest: Value,
    proxy: ConnectProxy,
    _elsewhere: Registry,
    bed: RegistryBed,
}

impl Scene {
    fn new() -> Self {
        let mut bed = RegistryBed::with_base();
        let registry = Registry::start(&bed.path("registry"));
        bed.push_base(&registry.name("base:1"));
        let other = Registry::start(&bed.path("elsewhere"));
        bed.push_base(&other.name("base:1"));
        drop(other);
        bed.empty_store();
        certificates(&bed.path("tls"));
        let trusted = bed.path("config/containers/certs.d/registry.invalid");
        fs::create_dir_all(&trusted).unwrap();
        fs::copy(bed.path("tls/ca.crt"), trusted.join("ca.crt")).unwrap();
        let options = RegistryOptions { tls: Some(bed.path("tls")), ..RegistryOptions::default() };
        let elsewhere = Registry::start_with(&bed.path("elsewhere"), &options);
        let proxy = ConnectProxy::start(elsewhere.address());
        let mut manifest = registry.manifest("base", "1");
        manifest["layers"][0]["mediaType"] = json!(MEDIA_TYPE);
        let scene = Self { registry, manifest, proxy, _elsewhere: elsewhere, bed };
        scene.forget_layer();
        scene
    }

    fn layer(&self) -> &str {
        self.manifest["layers"][0]["digest"].as_str().unwrap()
    }

    /// The registry loses the layer.
    fn forget_layer(&self) {
        let hex = self.layer().strip_prefix("sha256:").unwrap();
        let data = self.bed.path("registry/data/docker/registry/v2");
        fs::remove_dir_all(data.join("repositories/base/_layers/sha256").join(hex)).unwrap();
        fs::remove_dir_all(data.join("blobs/sha256").join(&hex[..2]).join(hex)).unwrap();
    }

    /// Pulls the image whose layer is said to be at `urls`.
    fn pull(&self, urls: &[&str], flags: &[&str]) -> Run {
        let mut manifest = self.manifest.clone();
        manifest["layers"][0]["urls"] = json!(urls);
        self.registry.put_manifest("base", "1", &manifest);
        let name = self.registry.name("base:1");
        let mut command = self.bed.command(["pull"].iter().chain(flags).chain([&name.as_str()]));
        for variable in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(variable).env_remove(variable.to_lowercase());
        }
        command.env("HTTPS_PROXY", self.proxy.address()).env("NO_PROXY", "127.0.0.1");
        Run::of(&mut command)
    }
}

#[test]
fn a_foreign_layer_is_fetched_only_if_that_is_allowed_and_only_if_it_is_the_layer() {
    let scene = Scene::new();
    let there = format!("{ELSEWHERE}/{}", scene.layer());
    let refused = scene.pull(&[&there], &[]).failure(1);
    refused.says(&["is not in the registry but at", &there, "--allow-foreign-layers"]);
    assert!(scene.proxy.targets().is_empty(), "it was asked for without leave");

    let config = format!("{ELSEWHERE}/{}", scene.manifest["config"]["digest"].as_str().unwrap());
    let plain = there.replace("https:", "http:");
    let here = format!("https://{}/layer", scene.registry.address());
    for (url, reason) in [
        (&config, "bytes"),
        (&plain, "it is without TLS"),
        (&here, "it is this machine"),
        (&"https://169.254.169.254/layer".to_owned(), "clouds keep the secrets"),
    ] {
        scene.pull(&[url], &["--allow-foreign-layers"]).failure(1).says(&[reason]);
    }
    assert_eq!(scene.bed.lbuild(["images", "-q"]).success().text(), "");

    // The first place does not have it.
    let missing = format!("{ELSEWHERE}/sha256:{}", "0".repeat(64));
    scene.proxy.targets();
    scene.pull(&[&missing, &there], &["--allow-foreign-layers"]).success();
    assert_eq!(scene.proxy.targets().first().map(String::as_str), Some("registry.invalid:443"));
    assert_eq!(scene.bed.file_of(&scene.registry.name("base:1"), "etc/motd"), b"Welcome.\n");
}
