//! Images and archives, made file by file so that any of them can be wrong.

// Each test binary uses its part.
#![allow(dead_code)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{self, Write};

use lbuild_archive::{EntryKind, Header, Writer};
use lbuild_importer::{ImportError, LoadOptions, Loaded, load};
use lbuild_layer_store::{Store, StoreOptions};
use lbuild_oci::Digest;
use serde_json::{Value, json};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A store in a folder of its own.
pub struct Bed {
    pub store: Store,
    _folder: tempfile::TempDir,
}

impl Bed {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), StoreOptions::default()).unwrap();
        Self { store, _folder: folder }
    }

    pub fn load(&self, archive: &[u8]) -> Result<Vec<Loaded>, ImportError> {
        self.load_with(archive, &LoadOptions::default())
    }

    pub fn load_with(&self, archive: &[u8], options: &LoadOptions) -> Result<Vec<Loaded>, ImportError> {
        load(&self.store, Pipe(archive), options)
    }
}

/// A reader that gives a little at a time, as a pipe does.
struct Pipe<'a>(&'a [u8]);

impl io::Read for Pipe<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(1000);
        self.0.read(&mut buffer[..length])
    }
}

/// The files and links of an archive, in the order in which they are added.
#[derive(Clone, Default)]
pub struct Files {
    entries: Vec<(Header, Vec<u8>)>,
}

impl Files {
    pub fn file(&mut self, path: &str, content: impl Into<Vec<u8>>) -> &mut Self {
        let content = content.into();
        let header = Header { size: content.len() as u64, ..Header::new(path, EntryKind::File, 0o644) };
        self.entries.push((header, content));
        self
    }

    pub fn json(&mut self, path: &str, document: &Value) -> &mut Self {
        self.file(path, document.to_string())
    }

    pub fn entry(&mut self, path: &str, kind: EntryKind) -> &mut Self {
        self.entries.push((Header::new(path, kind, 0o755), Vec::new()));
        self
    }

    /// Adds `content` as a blob and returns its descriptor.
    pub fn blob(&mut self, media_type: &str, content: &[u8]) -> Value {
        let digest = Digest::of(content);
        self.file(&format!("blobs/sha256/{}", digest.hex()), content);
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    /// Leaves out the file `path`.
    pub fn without(mut self, path: &str) -> Self {
        self.entries.retain(|(header, _)| header.path != path.as_bytes());
        self
    }

    pub fn tar(&self) -> Vec<u8> {
        let mut tar = Writer::new(Vec::new());
        for (header, content) in &self.entries {
            tar.append(header, &mut &content[..]).unwrap();
        }
        tar.finish().unwrap()
    }

    /// The regular files by their path.
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let files = self.entries.iter().filter(|(header, _)| header.kind == EntryKind::File);
        let text = |path: &[u8]| String::from_utf8(path.to_vec()).unwrap();
        files.map(|(header, content)| (text(&header.path), content.clone())).collect()
    }
}

/// The tar of a layer with one file.
pub fn layer(path: &str, content: &str) -> Vec<u8> {
    let mut files = Files::default();
    files.file(path, content);
    files.tar()
}

/// A configuration for these layers.
pub fn config(architecture: &str, layers: &[Vec<u8>]) -> Vec<u8> {
    let diff_ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
    let document = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {"Env": ["A=b"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    document.to_string().into_bytes()
}

/// Adds an image to a layout; its layers are stored as `compress` makes them. Returns the
/// descriptor of its manifest.
pub fn add_image(
    files: &mut Files,
    architecture: &str,
    layers: &[Vec<u8>],
    compress: impl Fn(&[u8]) -> (&'static str, Vec<u8>),
) -> Value {
    let config = files.blob(CONFIG, &config(architecture, layers));
    let mut descriptors = Vec::new();
    for layer in layers {
        let (suffix, blob) = compress(layer);
        descriptors.push(files.blob(&format!("{LAYER}{suffix}"), &blob));
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config,
        "layers": descriptors,
        "annotations": {"test": "kept"},
    });
    files.blob(MANIFEST, manifest.to_string().as_bytes())
}

/// Adds `index.json` and `oci-layout`.
pub fn add_index(files: &mut Files, descriptors: &[Value]) {
    files.json("index.json", &json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}));
    files.file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
}

/// `descriptor` with more fields.
pub fn with(descriptor: &Value, more: &Value) -> Value {
    let mut descriptor = descriptor.clone();
    for (key, value) in more.as_object().unwrap() {
        descriptor[key] = value.clone();
    }
    descriptor
}

/// A layout with one image of two layers, uncompressed, named `app:1`.
pub fn layout() -> Files {
    let mut files = Files::default();
    let image = add_image(&mut files, "amd64", &layers(), plain);
    add_index(&mut files, &[with(&image, &json!({"annotations": {"io.containerd.image.name": "app:1"}}))]);
    files
}

/// A docker archive with the same image, in the form of Docker 20.10, named `app:1`.
pub fn docker_archive() -> Files {
    let mut files = Files::default();
    let [first, second] = &layers()[..] else { unreachable!("there are two") };
    let config = config("amd64", &layers());
    let hex = Digest::of(&config).hex();
    files.file(&format!("{hex}.json"), config);
    files.entry("1/", EntryKind::Directory);
    files.file("1/VERSION", "1.0").file("1/json", "{}").file("1/layer.tar", first.clone());
    files.file("2.tar", second.clone());
    files.entry("2/layer.tar", EntryKind::Symlink(b"../2.tar".to_vec()));
    files.json(
        "manifest.json",
        &json!([{"Config": format!("{hex}.json"), "RepoTags": ["app:1"], "Layers": ["1/layer.tar", "2/layer.tar"]}]),
    );
    files
}

pub fn layers() -> Vec<Vec<u8>> {
    vec![layer("etc/motd", "hello"), layer("etc/issue", "world")]
}

pub fn plain(tar: &[u8]) -> (&'static str, Vec<u8>) {
    ("", tar.to_vec())
}

pub fn gzip(tar: &[u8]) -> (&'static str, Vec<u8>) {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(tar).unwrap();
    ("+gzip", encoder.finish().unwrap())
}

pub fn zstd(tar: &[u8]) -> (&'static str, Vec<u8>) {
    ("+zstd", zstd::encode_all(tar, 1).unwrap())
}

pub fn bzip2(tar: &[u8]) -> (&'static str, Vec<u8>) {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(tar).unwrap();
    ("", encoder.finish().unwrap())
}

pub fn xz(tar: &[u8]) -> (&'static str, Vec<u8>) {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(tar).unwrap();
    ("", encoder.finish().unwrap())
}
