//! An image as one tar.

use std::io::Write;

use lbuild_archive::{EntryKind, Header, Writer};
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::Digest;

use crate::contents::Contents;
use crate::document::{self, blob_path};
use crate::package::PackedLayer;
use crate::{ExportError, ExportOptions, Package, Written};

/// For whom an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For every reader.
    Both,
    /// A docker archive only, whose layers need not all be there.
    Docker,
}

/// Writes `image` as an OCI layout and a docker archive in one tar, which Docker, Podman, skopeo and
/// containerd load. `out` may be a pipe. Layers that came as zstd do not stay that here unless
/// [`ExportOptions::compression`] is zstd, since Docker 20.10 could not read them.
///
/// # Errors
/// As [`Package::new`]; [`ExportError::Archive`] and [`Output`](ExportError::Output) if `out` fails,
/// after which what was written is of no use.
pub fn write_archive(
    store: &Store,
    image: &ImageRecord,
    out: &mut dyn Write,
    options: &ExportOptions,
) -> Result<Written, ExportError> {
    let package = Package::for_docker(store, image, options)?;
    write_package(&package, out, options, Form::Both, &|_| true)?;
    Ok(package.written())
}

/// Writes `images`, one for each platform, as an OCI layout in a tar; several are tied together by an
/// image index.
///
/// # Errors
/// As [`write_archive`]; [`ExportError::NoImage`].
pub fn write_oci_archive(
    store: &Store,
    images: &[ImageRecord],
    out: &mut dyn Write,
    options: &ExportOptions,
) -> Result<Written, ExportError> {
    let contents = Contents::new(store, images, options)?;
    let mut tar = ImageTar::new(out, options);
    tar.file("index.json", &document::index(&contents.entries(&options.names)))?;
    tar.file("oci-layout", document::LAYOUT)?;
    tar.blob_folders()?;
    for (digest, document) in contents.documents() {
        tar.file(&blob_path(&digest), document)?;
    }
    for (package, layer) in contents.layers() {
        tar.layer(package, layer)?;
    }
    tar.finish()?;
    Ok(contents.written())
}

/// Writes `package`, of its layers only those that `is_needed`.
///
/// The documents come first: a reader of a pipe then knows what the blobs are as they pass.
pub(crate) fn write_package(
    package: &Package<'_>,
    out: &mut dyn Write,
    options: &ExportOptions,
    form: Form,
    is_needed: &dyn Fn(&PackedLayer) -> bool,
) -> Result<(), ExportError> {
    let mut tar = ImageTar::new(out, options);
    let config = Digest::of(package.config());
    if form != Form::Docker {
        let entries = document::index_entries(package.image(), package.manifest(), &options.names);
        tar.file("index.json", &document::index(&entries))?;
    }
    let descriptors: Vec<_> = package.layers().iter().map(|layer| layer.descriptor.clone()).collect();
    tar.file("manifest.json", &document::docker_manifest(&config, &descriptors, &options.names))?;
    if form != Form::Docker {
        tar.file("oci-layout", document::LAYOUT)?;
    }
    tar.blob_folders()?;
    tar.file(&blob_path(&config), package.config())?;
    if form != Form::Docker {
        tar.file(&blob_path(&package.manifest_digest()), package.manifest())?;
    }
    for layer in package.unique_layers().filter(|layer| is_needed(layer)) {
        tar.layer(package, layer)?;
    }
    tar.finish()
}

struct ImageTar<W: Write> {
    tar: Writer<W>,
    mtime: i64,
}

impl<W: Write> ImageTar<W> {
    fn new(out: W, options: &ExportOptions) -> Self {
        Self { tar: Writer::new(out), mtime: options.timestamp.unwrap_or(0) }
    }

    fn finish(self) -> Result<(), ExportError> {
        self.tar.finish().and_then(|mut out| out.flush()).map_err(ExportError::Output)
    }

    fn blob_folders(&mut self) -> Result<(), ExportError> {
        self.directory("blobs/")?;
        self.directory("blobs/sha256/")
    }

    fn directory(&mut self, path: &str) -> Result<(), ExportError> {
        let header = self.header(path, EntryKind::Directory, 0o755, 0);
        Ok(self.tar.append(&header, &mut std::io::empty())?)
    }

    fn file(&mut self, path: &str, mut content: &[u8]) -> Result<(), ExportError> {
        let header = self.header(path, EntryKind::File, 0o644, content.len() as u64);
        Ok(self.tar.append(&header, &mut content)?)
    }

    fn layer(&mut self, package: &Package<'_>, layer: &PackedLayer) -> Result<(), ExportError> {
        let path = blob_path(&layer.descriptor.digest);
        let header = self.header(&path, EntryKind::File, 0o644, layer.descriptor.size);
        let mut entry = self.tar.begin(&header)?;
        package.write_layer(layer, &mut entry)?;
        Ok(entry.finish()?)
    }

    fn header(&self, path: &str, kind: EntryKind, mode: u32, size: u64) -> Header {
        Header { size, mtime: self.mtime, ..Header::new(path, kind, mode) }
    }
}
