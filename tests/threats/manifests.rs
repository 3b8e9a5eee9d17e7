//! Documents of an image that mean two things, or too much.
//!
//! CVE-2021-41190: a document that was manifest and index at once was one thing to the client that checked
//! it and another to the one that used it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::raw_tar::RawTar;
use crate::row::Mode;
use crate::scene::Scene;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// An OCI layout in the making.
struct Layout<'a>(&'a Path);

impl<'a> Layout<'a> {
    fn new(folder: &'a Path) -> Self {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self(folder)
    }

    /// Adds a blob and returns its descriptor.
    fn blob(&self, media_type: &str, content: &[u8]) -> Value {
        let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        fs::write(self.0.join("blobs/sha256").join(&hex), content).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{hex}"), "size": content.len()})
    }

    fn index(&self, manifests: &[Value]) {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        fs::write(self.0.join("index.json"), index.to_string()).unwrap();
    }

    /// The descriptors of an honest configuration and its one layer.
    fn parts(&self) -> (Value, Value) {
        let tar = RawTar::default().file("f", "x").end();
        let layer = self.blob(LAYER, &tar);
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
            "config": {}, "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        (self.blob(CONFIG, config.to_string().as_bytes()), layer)
    }
}

/// Takes the layout as a base image, in each way that there is.
fn refused(scene: &Scene, layout: &Path, what: &str) {
    let start = Instant::now();
    scene.dockerfile("FROM given\nCOPY Dockerfile /\n");
    let context = format!("given=oci-layout://{}", layout.display());
    let run = scene.tried(&["--build-context", &context]);
    assert!(!run.status.success(), "{what} was taken: {run}");
    let archive = scene.folder().join("layout.tar");
    let packed =
        std::process::Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(layout).arg(".").status();
    assert!(packed.unwrap().success());
    let run = scene.lbuild(["load", "-i", archive.to_str().unwrap()]);
    assert!(run.status.code().is_some_and(|code| (1..100).contains(&code)), "{what} was taken: {run}");
    assert!(!run.stderr.contains("panicked"), "{run}");
    assert!(start.elapsed() < Duration::from_secs(60), "{what}: {:?}", start.elapsed());
    fs::remove_file(archive).unwrap();
}

pub fn a_document_that_is_two_things(mode: Mode) {
    let scene = Scene::new(mode);
    let folder = scene.folder().join("layout");
    for media_type in [MANIFEST, INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"] {
        for inner_type in [Some(MANIFEST), Some(INDEX), None] {
            let layout = Layout::new(&folder);
            let (config, layer) = layout.parts();
            let mut both = json!({
                "schemaVersion": 2, "config": config, "layers": [layer],
                "manifests": [{"mediaType": MANIFEST, "digest": config["digest"], "size": config["size"]}],
            });
            if let Some(inner_type) = inner_type {
                both["mediaType"] = json!(inner_type);
            }
            let descriptor = layout.blob(media_type, both.to_string().as_bytes());
            layout.index(&[descriptor]);
            refused(&scene, &folder, &format!("a {media_type} that calls itself {inner_type:?}"));
        }
    }
}

/// A manifest's key that stands twice is read by some from the front and by others from the back.
pub fn a_key_that_stands_twice(mode: Mode) {
    let scene = Scene::new(mode);
    let folder = scene.folder().join("layout");
    let layout = Layout::new(&folder);
    let (config, layer) = layout.parts();
    let evil = layout.blob(LAYER, &RawTar::default().file("f", "evil").end());
    let text = format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":[{evil}],"layers":[{layer}]}}"#
    );
    let descriptor = layout.blob(MANIFEST, text.as_bytes());
    layout.index(&[descriptor]);
    refused(&scene, &folder, "a manifest with its layers twice");
}

/// Descriptors that are no digests, or do not fit.
pub fn descriptors_that_lie(mode: Mode) {
    let scene = Scene::new(mode);
    let folder = scene.folder().join("layout");
    let up = format!("sha256:../../../outside/{}", "victim");
    for (what, key, value) in [
        ("a digest that is a path", "digest", json!(up)),
        ("a digest that is a short path", "digest", json!("sha256:../index.json")),
        ("a digest in capitals", "digest", json!(format!("SHA256:{}", "A".repeat(64)))),
        ("an empty digest", "digest", json!("")),
        ("an algorithm that is a path", "digest", json!(format!("../sha256:{}", "0".repeat(64)))),
        ("a short digest", "digest", json!("sha256:00")),
        ("a weak digest", "digest", json!("md5:d41d8cd98f00b204e9800998ecf8427e")),
        ("a size of 2^63", "size", json!(9_223_372_036_854_775_808_u64)),
        ("a negative size", "size", json!(-1)),
        ("a fraction as a size", "size", json!(1.5)),
        ("another size", "size", json!(1)),
        ("a media type that is none", "mediaType", json!("\u{0}/../..")),
        ("no digest", "digest", Value::Null),
    ] {
        for place in ["config", "layer", "manifest"] {
            let layout = Layout::new(&folder);
            let (mut config, mut layer) = layout.parts();
            match place {
                "config" => config[key] = value.clone(),
                "layer" => layer[key] = value.clone(),
                _ => {}
            }
            let manifest =
                json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
            let mut descriptor = layout.blob(MANIFEST, manifest.to_string().as_bytes());
            if place == "manifest" {
                descriptor[key] = value.clone();
            }
            layout.index(&[descriptor]);
            refused(&scene, &folder, &format!("{what} of the {place}"));
        }
    }
}

/// Documents that are deep, long or of the wrong shape.
pub fn documents_that_cost_too_much(mode: Mode) {
    let scene = Scene::new(mode);
    let folder = scene.folder().join("layout");
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let long = format!("[{}0]", "0,".repeat(6_000_000));
    for (what, text) in [
        ("nested lists", deep.as_str()),
        ("nested objects", &objects),
        ("a huge list", &long),
        ("an endless string", "\"aaaa"),
        ("nothing", ""),
        ("no JSON", "\u{1}\u{2}"),
        ("a list", "[]"),
        ("null", "null"),
        ("a number", "1e999999"),
    ] {
        for place in ["index", "manifest", "config", "inner"] {
            let layout = Layout::new(&folder);
            let (config, layer) = layout.parts();
            let manifest = match place {
                "manifest" => text.to_owned(),
                "inner" => format!(
                    r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":{text},"x":{text}}}"#
                ),
                "config" => {
                    let config = layout.blob(CONFIG, text.as_bytes());
                    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]})
                        .to_string()
                }
                _ => "{}".to_owned(),
            };
            let descriptor = layout.blob(MANIFEST, manifest.as_bytes());
            layout.index(&[descriptor]);
            if place == "index" {
                fs::write(folder.join("index.json"), text).unwrap();
            }
            refused(&scene, &folder, &format!("{what} as the {place}"));
        }
    }
}

/// An index that leads to itself.
pub fn an_index_without_an_end(mode: Mode) {
    let scene = Scene::new(mode);
    let folder = scene.folder().join("layout");
    let layout = Layout::new(&folder);
    let mut descriptor = layout.blob(INDEX, b"{\"schemaVersion\":2,\"manifests\":[]}");
    for _ in 0..200 {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor, descriptor]});
        descriptor = layout.blob(INDEX, index.to_string().as_bytes());
    }
    layout.index(&[descriptor]);
    refused(&scene, &folder, "indexes in indexes");
}

/// The layout's files are links to outside, or no files.
pub fn a_layout_of_links(mode: Mode) {
    let scene = Scene::new(mode);
    let folder = scene.folder().join("layout");
    let victim = scene.outside().join("victim");
    for file in ["index.json", "oci-layout", "config", "layer"] {
        for kind in ["link", "fifo"] {
            let layout = Layout::new(&folder);
            let (config, layer) = layout.parts();
            let manifest =
                json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
            let descriptor = layout.blob(MANIFEST, manifest.to_string().as_bytes());
            layout.index(&[descriptor]);
            let blob = |descriptor: &Value| {
                folder.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
            };
            let path = match file {
                "config" => blob(&config),
                "layer" => blob(&layer),
                name => folder.join(name),
            };
            fs::remove_file(&path).unwrap();
            match kind {
                "link" => std::os::unix::fs::symlink(&victim, &path).unwrap(),
                _ => rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RWXU).unwrap(),
            }
            scene.dockerfile("FROM given\nCOPY Dockerfile /\n");
            let context = format!("given=oci-layout://{}", folder.display());
            let run = scene.tried(&["--build-context", &context]);
            assert!(!run.status.success(), "{file} as a {kind} was taken: {run}");
        }
    }
}
