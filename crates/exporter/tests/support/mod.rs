//! An image in a store, and a look into what is written of it.

// Each test binary uses its part.
#![allow(dead_code)]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::PathBuf;

use lbuild_archive::{EntryKind, Header, Limits, Reader, Writer};
use lbuild_exporter::{ExportOptions, Written, write_archive};
use lbuild_importer::{LoadOptions, load};
use lbuild_layer_store::{CommitOptions, ImageRecord, PrepareOptions, Store, StoreOptions};
use lbuild_oci::{DiffId, Digest, ImageConfig, Platform, json};
use rustix::fs::{Mode, OFlags};
use serde_json::json;

/// A store with one image: a base layer that came as gzip, and a layer that was made here.
pub struct Bed {
    pub store: Store,
    pub image: ImageRecord,
    folder: tempfile::TempDir,
}

impl Bed {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store"), StoreOptions::default()).unwrap();
        let base = load(&store, &base_archive()[..], &LoadOptions::default()).unwrap();
        let mut layers = base[0].layers.clone();
        layers.push(own_layer(&store, &layers));
        let image = put_image(&store, layers, "linux/amd64");
        Self { store, image, folder }
    }

    /// A path that nothing is at.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn archive(&self, options: &ExportOptions) -> (Vec<u8>, Written) {
        let mut archive = Vec::new();
        let written = write_archive(&self.store, &self.image, &mut archive, options).unwrap();
        (archive, written)
    }
}

/// The digest of the base layer's tar, and of its gzip form.
pub fn base_layer() -> (Digest, Digest) {
    (Digest::of(base_tar()), Digest::of(gzip(&base_tar())))
}

fn base_tar() -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    let mut add = |header: Header, mut content: &[u8]| {
        let header = Header { size: content.len() as u64, mtime: 1000, ..header };
        tar.append(&header, &mut content).unwrap();
    };
    add(Header::new("etc/", EntryKind::Directory, 0o750), b"");
    add(Header::new("etc/motd", EntryKind::File, 0o640), b"hello");
    add(Header::new("etc/gone", EntryKind::File, 0o644), b"x");
    add(Header::new("etc/link", EntryKind::Symlink(b"/etc/motd".to_vec()), 0o777), b"");
    add(Header::new("su", EntryKind::File, 0o4755), &b"0123456789".repeat(40_000));
    add(Header::new("su2", EntryKind::HardLink(b"su".to_vec()), 0o4755), b"");
    tar.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn base_archive() -> Vec<u8> {
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [base_layer().0]},
    });
    let manifest = json!([{"Config": "config.json", "Layers": ["layer.tar"]}]);
    let mut tar = Writer::new(Vec::new());
    for (path, content) in [
        ("layer.tar", gzip(&base_tar())),
        ("config.json", config.to_string().into_bytes()),
        ("manifest.json", manifest.to_string().into_bytes()),
    ] {
        let header = Header { size: content.len() as u64, ..Header::new(path, EntryKind::File, 0o644) };
        tar.append(&header, &mut &content[..]).unwrap();
    }
    tar.finish().unwrap()
}

fn own_layer(store: &Store, parent: &[DiffId]) -> DiffId {
    let active = store.prepare(parent, &PrepareOptions::default()).unwrap();
    let root = active.root();
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = root.open_at("etc/new", flags, Mode::from(0o600)).unwrap();
    std::fs::File::from(file).write_all(&b"new and long ".repeat(50_000)).unwrap();
    let etc = root.locate("etc/gone").unwrap();
    rustix::fs::unlinkat(&etc.parent, &etc.name, rustix::fs::AtFlags::empty()).unwrap();
    store.commit(active, &CommitOptions { latest_mtime: Some(2000) }).unwrap().unwrap().diff_id
}

/// An image of these layers.
pub fn put_image(store: &Store, layers: Vec<DiffId>, platform: &str) -> ImageRecord {
    let platform: Platform = platform.parse().unwrap();
    let mut config = ImageConfig::scratch(&platform);
    config.created = Some("2020-01-01T00:00:00Z".to_owned());
    config.config.env = vec!["A=b".to_owned()];
    config.rootfs.diff_ids = layers.clone();
    let config = json::canonical(&config);
    let image = ImageRecord {
        id: Digest::of(&config),
        layers,
        platform,
        created: None,
        manifest: None,
        annotations: BTreeMap::from([("from".to_owned(), "image".to_owned())]),
    };
    store.put_image(&image, &config).unwrap();
    image
}

/// The entries of a tar by their path, in order.
pub fn entries(tar: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut reader = Reader::new(tar, Limits::default());
    let mut entries = Vec::new();
    while let Some(mut entry) = reader.next().unwrap() {
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        entries.push((entry.header, content));
    }
    entries
}

/// The files of a tar by their path.
pub fn files(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let files = entries(tar).into_iter().filter(|(header, _)| header.kind == EntryKind::File);
    files.map(|(header, content)| (String::from_utf8(header.path).unwrap(), content)).collect()
}
