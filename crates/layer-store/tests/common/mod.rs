//! A store in a temporary directory, and steps on it as a shell would make them.
//!
//! These tests mount overlays and make devices: they run as root.

#![allow(dead_code, reason = "every test file uses a part")]

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::Command;

use lbuild_archive::{EntryKind, Header, Limits, Reader, Writer};
use lbuild_confined::Root;
use lbuild_layer_store::{
    ActiveSnapshot, Blob, CommitOptions, ImageRecord, Layer, LayerEntryKind, PrepareOptions, Store,
    StoreError, StoreOptions,
};
use lbuild_oci::{DiffId, Digest, ImageConfig, MediaType, Platform, json};
use tempfile::TempDir;

pub struct Bed {
    pub store: Store,
    pub directory: TempDir,
}

impl Bed {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(&directory.path().join("store"));
        Self { store, directory }
    }

    /// With a store of another kind than root's.
    pub fn of(options: StoreOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("store"), options).unwrap();
        Self { store, directory }
    }

    pub fn path(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    /// Opens the store again, as another process would.
    pub fn reopen(self) -> Self {
        let Self { store, directory } = self;
        drop(store);
        let store = open(&directory.path().join("store"));
        Self { store, directory }
    }

    pub fn prepare(&self, layers: &[DiffId]) -> ActiveSnapshot {
        self.store.prepare(layers, &PrepareOptions::default()).unwrap()
    }

    /// Runs `script` in the root of a tree on `layers`, and commits.
    pub fn step(&self, layers: &[DiffId], script: &str) -> Option<Layer> {
        self.try_step(layers, script).unwrap()
    }

    pub fn try_step(&self, layers: &[DiffId], script: &str) -> Result<Option<Layer>, StoreError> {
        let active = self.prepare(layers);
        run(active.root(), script);
        self.store.commit(active, &CommitOptions::default())
    }

    /// A stack with `script`'s changes on top of `layers`.
    pub fn with(&self, layers: &[DiffId], script: &str) -> Vec<DiffId> {
        let layer = self.step(layers, script).expect("the script changes something");
        [layers, &[layer.diff_id]].concat()
    }

    /// A layer as if it was pulled.
    pub fn import(&self, entries: &[(Header, &[u8])]) -> DiffId {
        let tar = tar(entries);
        let (digest, size) = self.store.write_blob(&mut &tar[..], None).unwrap();
        let diff_id = DiffId(Digest::of(&tar));
        let blob = Blob { digest, size, media_type: MediaType::Layer };
        self.store.add_layer(&Layer::imported(diff_id, tar.len() as u64, blob)).unwrap();
        diff_id
    }

    /// The paths of the layer's tar, as written there.
    pub fn paths(&self, layer: &Layer) -> Vec<String> {
        self.headers(layer).into_iter().map(|header| String::from_utf8(header.path).unwrap()).collect()
    }

    pub fn headers(&self, layer: &Layer) -> Vec<Header> {
        let mut tar = Vec::new();
        let size = self.store.write_layer_tar(&layer.diff_id, &mut tar).unwrap();
        assert_eq!((size, size), (layer.size, tar.len() as u64));
        let mut reader = Reader::new(&tar[..], Limits::default());
        let mut headers = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            headers.push(entry.header.clone());
        }
        assert_eq!(headers.len() as u64, layer.entries);
        headers
    }

    pub fn header(&self, layer: &Layer, path: &str) -> Header {
        let found = self.headers(layer).into_iter().find(|header| header.path == path.as_bytes());
        found.unwrap_or_else(|| panic!("no {path} in {:?}", self.paths(layer)))
    }

    /// What `find` prints of the merged tree: type, mode, owner, path and link target.
    pub fn look(&self, layers: &[DiffId]) -> String {
        let view = self.store.view(layers).unwrap();
        run(
            view.root(),
            "find . -mindepth 1 -printf '%y %m %U:%G %P %l\\n' | sed 's/ $//' | LC_ALL=C sort -k4",
        )
    }

    pub fn read(&self, layers: &[DiffId], path: &str) -> String {
        let view = self.store.view(layers).unwrap();
        String::from_utf8(view.root().read(path, 1 << 20).unwrap()).unwrap()
    }
}

/// An image of `layers`, which the store has from now on; its digest.
pub fn image(bed: &Bed, layers: &[DiffId], author: &str) -> Digest {
    let mut config = ImageConfig::scratch(&Platform::host());
    config.author = Some(author.to_owned());
    config.rootfs.diff_ids = layers.to_vec();
    let bytes = json::canonical(&config);
    let image = ImageRecord {
        id: Digest::of(&bytes),
        layers: layers.to_vec(),
        platform: Platform::host(),
        created: None,
        manifest: None,
        annotations: [("key".to_owned(), "value".to_owned())].into(),
    };
    bed.store.put_image(&image, &bytes).unwrap();
    assert_eq!(bed.store.image(&image.id).unwrap(), Some(image.clone()));
    assert_eq!(bed.store.image_config(&image.id).unwrap(), (config, bytes));
    image.id
}

pub fn open(path: &std::path::Path) -> Store {
    Store::open(path, StoreOptions::default()).unwrap()
}

/// A path to the tree, for other processes too.
pub fn path_of(root: &Root) -> PathBuf {
    format!("/proc/{}/fd/{}", std::process::id(), root.as_fd().as_raw_fd()).into()
}

/// Runs a shell script in `root` and returns what it prints.
pub fn run(root: &Root, script: &str) -> String {
    let path = path_of(root);
    let script = format!("set -e; umask 022; cd {}/.; {script}", path.display());
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn tar(entries: &[(Header, &[u8])]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (header, content) in entries {
        let mut header = header.clone();
        header.size = content.len() as u64;
        writer.append(&header, &mut &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

pub fn directory(path: &str) -> (Header, &'static [u8]) {
    (Header::new(path, EntryKind::Directory, 0o755), b"")
}

pub fn file<'a>(path: &str, content: &'a str) -> (Header, &'a [u8]) {
    (Header::new(path, EntryKind::File, 0o644), content.as_bytes())
}

pub fn symlink(path: &str, target: &str) -> (Header, &'static [u8]) {
    (Header::new(path, EntryKind::Symlink(target.into()), 0o777), b"")
}

pub fn hard_link(path: &str, target: &str) -> (Header, &'static [u8]) {
    (Header::new(path, EntryKind::HardLink(target.into()), 0o644), b"")
}

/// Kinds and paths, for a short comparison.
pub fn entries(bed: &Bed, layer: &DiffId) -> Vec<(LayerEntryKind, String)> {
    let entries = bed.store.layer_entries(layer).unwrap();
    entries.into_iter().map(|entry| (entry.kind, entry.path.to_str().unwrap().to_owned())).collect()
}

/// Reads to the end.
pub fn content(mut reader: impl Read) -> Vec<u8> {
    let mut content = Vec::new();
    reader.read_to_end(&mut content).unwrap();
    content
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    Command::new("gzip").args(["-1", "-c"]).arg(file.path()).output().unwrap().stdout
}
