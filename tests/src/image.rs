//! Image archives, read by other code than the project's own.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

/// File contents up to this size are kept, in bytes.
const KEPT: u64 = 1 << 20;

/// An archive that is an OCI layout, and perhaps a docker archive too.
#[derive(Debug)]
pub struct Image {
    /// The configuration.
    pub config: Value,
    /// The configuration's digest: the image's id.
    pub id: String,
    /// The OCI manifest.
    pub manifest: Value,
    /// The OCI manifest's digest.
    pub manifest_digest: String,
    /// `index.json`.
    pub index: Value,
    /// `oci-layout`.
    pub layout: Value,
    /// `manifest.json`, which makes it a docker archive.
    pub docker_manifest: Option<Value>,
    /// The layers, bottom first.
    pub layers: Vec<Layer>,
}

/// One layer.
#[derive(Debug)]
pub struct Layer {
    /// The digest of its uncompressed tar.
    pub diff_id: String,
    /// Bytes of its uncompressed tar.
    pub size: u64,
    /// Its entries, in order.
    pub entries: Vec<Entry>,
}

/// One entry of a layer.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// As written: a folder ends with a slash.
    pub path: String,
    /// Its type.
    pub kind: EntryType,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// The owner.
    pub uid: u64,
    /// The group.
    pub gid: u64,
    /// In seconds since the Unix epoch.
    pub mtime: u64,
    /// The target of a link.
    pub link: Option<String>,
    /// Bytes of content.
    pub size: u64,
    /// The content, if it is not too large to keep.
    pub content: Vec<u8>,
    /// Its PAX records.
    pub pax: BTreeMap<String, Vec<u8>>,
}

impl Image {
    /// Reads an archive and checks each digest and size that it names.
    #[track_caller]
    pub fn read(path: &Path) -> Self {
        let mut archive = Members::open(path);
        let index = archive.json("index.json");
        let docker_manifest = archive.has("manifest.json").then(|| archive.json("manifest.json"));
        let layout = archive.json("oci-layout");
        let descriptor = &index["manifests"][0];
        let manifest: Value = serde_json::from_slice(&archive.blob(descriptor)).unwrap();
        let config_bytes = archive.blob(&manifest["config"]);
        let config: Value = serde_json::from_slice(&config_bytes).unwrap();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        let descriptors = manifest["layers"].as_array().unwrap();
        assert_eq!(descriptors.len(), diff_ids.len(), "numbers of layers");
        if let Some(docker_manifest) = &docker_manifest {
            let config = docker_manifest[0]["Config"].as_str().unwrap();
            assert_eq!(archive.read(config), config_bytes, "manifest.json names another configuration");
            let names: Vec<_> = descriptors.iter().map(blob_path).collect();
            assert_eq!(docker_manifest[0]["Layers"], serde_json::json!(names), "manifest.json's layers");
        }
        let layers = descriptors
            .iter()
            .zip(diff_ids)
            .map(|(descriptor, diff_id)| archive.layer(descriptor, diff_id.as_str().unwrap()))
            .collect();
        Self {
            id: manifest["config"]["digest"].as_str().unwrap().to_owned(),
            manifest_digest: descriptor["digest"].as_str().unwrap().to_owned(),
            config,
            manifest,
            index,
            layout,
            docker_manifest,
            layers,
        }
    }

    /// The last layer.
    pub fn top_layer(&self) -> &Layer {
        self.layers.last().expect("the image has no layer")
    }

    /// The layers' DiffIDs, bottom first.
    pub fn diff_ids(&self) -> Vec<&str> {
        self.layers.iter().map(|layer| layer.diff_id.as_str()).collect()
    }

    /// For each step in the history, whether it made a layer.
    pub fn history_layers(&self) -> Vec<bool> {
        let history = self.config["history"].as_array().unwrap();
        history.iter().map(|step| step["empty_layer"] != Value::Bool(true)).collect()
    }
}

impl Layer {
    /// The paths of its entries, in order.
    pub fn paths(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.path.as_str()).collect()
    }

    /// The entry of that path.
    #[track_caller]
    pub fn entry(&self, path: &str) -> &Entry {
        let found = self.entries.iter().find(|entry| entry.path == path);
        found.unwrap_or_else(|| panic!("{path} is not among {:?}", self.paths()))
    }
}

impl Entry {
    /// Whether it is what an OCI layer marks a deletion with: a plain empty file.
    pub fn is_plain_empty_file(&self) -> bool {
        self.kind == EntryType::Regular && self.size == 0 && self.link.is_none()
    }

    /// The names of its extended attributes.
    pub fn xattrs(&self) -> Vec<&str> {
        self.pax.keys().filter_map(|key| key.strip_prefix("SCHILY.xattr.")).collect()
    }
}

/// `bytes` in hexadecimal.
/// The SHA-256 of `bytes` in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The members of the outer tar, by name: offset and size.
struct Members {
    file: File,
    members: BTreeMap<String, (u64, u64)>,
}

impl Members {
    #[track_caller]
    fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut members = BTreeMap::new();
        let mut archive = Archive::new(&file);
        for entry in archive.entries_with_seek().unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().unwrap().to_string_lossy().into_owned();
            let previous = members.insert(name.clone(), (entry.raw_file_position(), entry.size()));
            assert_eq!(previous, None, "{name} is twice in the archive");
        }
        Self { file, members }
    }

    fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    fn reader(&mut self, name: &str) -> impl Read + '_ {
        let (offset, size) =
            *self.members.get(name).unwrap_or_else(|| panic!("{name} is not in the archive"));
        self.file.seek(SeekFrom::Start(offset)).unwrap();
        (&self.file).take(size)
    }

    fn read(&mut self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.reader(name).read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn json(&mut self, name: &str) -> Value {
        serde_json::from_slice(&self.read(name)).unwrap()
    }

    /// The blob of a descriptor, its size and digest checked.
    fn blob(&mut self, descriptor: &Value) -> Vec<u8> {
        let bytes = self.read(&blob_path(descriptor));
        assert_eq!(descriptor["size"].as_u64(), Some(bytes.len() as u64), "size in {descriptor}");
        assert_eq!(descriptor["digest"].as_str().unwrap(), format!("sha256:{}", sha256(&bytes)));
        bytes
    }

    fn layer(&mut self, descriptor: &Value, diff_id: &str) -> Layer {
        let size = self.members.get(&blob_path(descriptor)).map(|(_, size)| *size);
        assert_eq!(descriptor["size"].as_u64(), size, "size in {descriptor}");
        let media_type = descriptor["mediaType"].as_str().unwrap().to_owned();
        let mut blob = Hashed::new(self.reader(&blob_path(descriptor)));
        let mut layer = {
            let plain: Box<dyn Read> = match media_type.rsplit('+').next() {
                Some("gzip") => Box::new(flate2::read::GzDecoder::new(&mut blob)),
                Some("zstd") => Box::new(zstd::Decoder::new(&mut blob).unwrap()),
                _ => Box::new(&mut blob),
            };
            read_layer(plain)
        };
        std::io::copy(&mut blob, &mut std::io::sink()).unwrap();
        assert_eq!(descriptor["digest"].as_str().unwrap(), blob.digest(), "a layer's blob");
        assert_eq!(layer.diff_id, diff_id, "a layer's DiffID");
        layer.entries.shrink_to_fit();
        layer
    }
}

fn blob_path(descriptor: &Value) -> String {
    format!("blobs/{}", descriptor["digest"].as_str().unwrap().replace(':', "/"))
}

fn read_layer(tar: impl Read) -> Layer {
    let mut tar = Hashed::new(tar);
    let mut archive = Archive::new(&mut tar);
    let entries = archive.entries().unwrap().map(|entry| read_entry(entry.unwrap())).collect();
    std::io::copy(&mut tar, &mut std::io::sink()).unwrap();
    Layer { size: tar.length, diff_id: tar.digest(), entries }
}

fn read_entry(mut entry: tar::Entry<'_, impl Read>) -> Entry {
    let mut pax = BTreeMap::new();
    for record in entry.pax_extensions().unwrap().into_iter().flatten() {
        let record = record.unwrap();
        pax.insert(record.key().unwrap().to_owned(), record.value_bytes().to_vec());
    }
    let number = |key: &str| pax.get(key).map(|value| std::str::from_utf8(value).unwrap().parse().unwrap());
    let header = entry.header();
    let (uid, gid) =
        (number("uid").unwrap_or(header.uid().unwrap()), number("gid").unwrap_or(header.gid().unwrap()));
    let (kind, mode, mtime) = (header.entry_type(), header.mode().unwrap(), header.mtime().unwrap());
    let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let link = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
    let size = entry.size();
    let mut content = Vec::new();
    if size <= KEPT {
        entry.read_to_end(&mut content).unwrap();
    }
    Entry { path, kind, mode, uid, gid, mtime, link, size, content, pax }
}

/// A reader that hashes what passes.
struct Hashed<R> {
    inner: R,
    hasher: Sha256,
    length: u64,
}

impl<R: Read> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new(), length: 0 }
    }

    fn digest(self) -> String {
        format!("sha256:{}", hex(&self.hasher.finalize()))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.length += count as u64;
        Ok(count)
    }
}
