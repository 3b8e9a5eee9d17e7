//! An image as the blobs that it is written in.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};

use lbuild_layer_store::{ImageRecord, Layer, Store};
use lbuild_oci::{DiffId, Digest, Hasher, HasherBeside, MediaType};

use crate::encoder::Encoder;
use crate::{Compression, ExportError, ExportOptions, Written, document};

pub use crate::document::Descriptor;

/// An image's configuration, manifest and layers, ready to be written anywhere.
///
/// Layers that must be compressed have been, into nameless files on the store's disk.
#[derive(Debug)]
pub struct Package<'a> {
    store: &'a Store,
    image: &'a ImageRecord,
    config: Vec<u8>,
    manifest: Vec<u8>,
    layers: Vec<PackedLayer>,
}

/// A layer as a blob.
#[derive(Debug)]
pub struct PackedLayer {
    /// What the manifest says of it.
    pub descriptor: Descriptor,
    /// What it unpacks to.
    pub diff_id: DiffId,
    content: Content,
}

/// Where a blob's bytes are.
#[derive(Debug)]
enum Content {
    /// The tar, which the store reproduces.
    Tar,
    /// A blob of the store.
    Blob,
    /// Compressed just now.
    File(File),
}

/// Who must be able to read the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Whoever reads the image-spec's media types.
    All,
    /// Docker too, which until version 23 knows no zstd in archives.
    Docker,
}

impl<'a> Package<'a> {
    /// Finds or makes every blob of `image`.
    ///
    /// # Errors
    /// [`ExportError::Store`], [`MissingLayer`](ExportError::MissingLayer),
    /// [`Compress`](ExportError::Compress) or [`Level`](ExportError::Level).
    pub fn new(
        store: &'a Store,
        image: &'a ImageRecord,
        options: &ExportOptions,
    ) -> Result<Self, ExportError> {
        Self::build(store, image, options, Readers::All)
    }

    /// As [`Package::new`], but with layers that Docker reads, unless zstd was asked for.
    pub(crate) fn for_docker(
        store: &'a Store,
        image: &'a ImageRecord,
        options: &ExportOptions,
    ) -> Result<Self, ExportError> {
        Self::build(store, image, options, Readers::Docker)
    }

    fn build(
        store: &'a Store,
        image: &'a ImageRecord,
        options: &ExportOptions,
        readers: Readers,
    ) -> Result<Self, ExportError> {
        options.compression.check()?;
        let store_error = |source| ExportError::Store { image: image.id, source };
        let (_, config) = store.image_config(&image.id).map_err(store_error)?;
        let mut layers: Vec<PackedLayer> = Vec::new();
        let mut packed: HashMap<DiffId, usize> = HashMap::new();
        let mut blobs: HashMap<Digest, DiffId> = HashMap::new();
        for diff_id in &image.layers {
            // One layer may be in an image twice.
            let layer = match packed.get(diff_id) {
                Some(&index) => layers[index].try_clone()?,
                None => {
                    let layer = store.layer(diff_id).map_err(store_error)?;
                    let layer =
                        layer.ok_or(ExportError::MissingLayer { image: image.id, layer: *diff_id })?;
                    pack(store, &layer, options, readers)?
                }
            };
            let other = blobs.insert(layer.descriptor.digest, *diff_id);
            if let Some(other) = other.filter(|other| other != diff_id) {
                // One blob is one layer: what was said of the other is not true, and to read it tells.
                for claimed in [&other, diff_id] {
                    store.layer_blob(claimed).map_err(store_error)?;
                }
            }
            packed.insert(*diff_id, layers.len());
            layers.push(layer);
        }
        let descriptors: Vec<_> = layers.iter().map(|layer| layer.descriptor.clone()).collect();
        let mut annotations = image.annotations.clone();
        annotations.extend(options.annotations.clone());
        let manifest = document::manifest(&config, &descriptors, &annotations);
        Ok(Self { store, image, config, manifest, layers })
    }

    /// What the store knows of the image.
    pub fn image(&self) -> &ImageRecord {
        self.image
    }

    /// The configuration.
    pub fn config(&self) -> &[u8] {
        &self.config
    }

    /// The manifest.
    pub fn manifest(&self) -> &[u8] {
        &self.manifest
    }

    /// The manifest's digest.
    pub fn manifest_digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// The layers, bottom first.
    pub fn layers(&self) -> &[PackedLayer] {
        &self.layers
    }

    /// The layers' blobs, bottom first, each once.
    pub fn unique_layers(&self) -> impl Iterator<Item = &PackedLayer> {
        let mut seen = std::collections::HashSet::new();
        self.layers.iter().filter(move |layer| seen.insert(layer.descriptor.digest))
    }

    /// Writes a layer's blob: exactly the bytes that its descriptor names.
    ///
    /// # Errors
    /// [`ExportError::Output`] if `out` fails, [`ExportError::Store`] if the store does,
    /// [`ExportError::DamagedBlob`].
    pub fn write_layer(&self, layer: &PackedLayer, out: &mut dyn Write) -> Result<(), ExportError> {
        let store_error = |source| ExportError::Store { image: self.image.id, source };
        match &layer.content {
            Content::Tar => {
                let mut out = Watched { out, error: None };
                match (self.store.write_layer_tar(&layer.diff_id, &mut out), out.error) {
                    // The store says that it is damaged, and forgets it.
                    (_, Some(error)) if is_beyond_entry(&error) => {
                        let checked = self.store.write_layer_tar(&layer.diff_id, &mut io::sink());
                        checked.map_err(store_error)?;
                        Err(ExportError::Output(error))
                    }
                    (_, Some(error)) => Err(ExportError::Output(error)),
                    (result, None) => result.map(drop).map_err(store_error),
                }
            }
            Content::Blob => {
                let blob = self.store.layer_blob(&layer.diff_id).map_err(store_error)?;
                copy(blob, layer, out)
            }
            Content::File(file) => {
                let mut file = file.try_clone().map_err(|source| compress_error(layer.diff_id, source))?;
                file.rewind().map_err(|source| compress_error(layer.diff_id, source))?;
                copy(file, layer, out)
            }
        }
    }

    /// What a writer of the whole package reports.
    pub(crate) fn written(&self) -> Written {
        let layers: u64 = self.unique_layers().map(|layer| layer.descriptor.size).sum();
        Written {
            manifest: self.manifest_digest(),
            manifest_size: self.manifest.len() as u64,
            image: self.image.id,
            size: layers + self.config.len() as u64 + self.manifest.len() as u64,
        }
    }
}

impl PackedLayer {
    fn try_clone(&self) -> Result<Self, ExportError> {
        let content = match &self.content {
            Content::Tar => Content::Tar,
            Content::Blob => Content::Blob,
            Content::File(file) => {
                Content::File(file.try_clone().map_err(|source| compress_error(self.diff_id, source))?)
            }
        };
        Ok(Self { descriptor: self.descriptor.clone(), diff_id: self.diff_id, content })
    }
}

/// Copies a stored blob and checks on the way that it is still what it was.
fn copy(mut blob: impl Read, layer: &PackedLayer, out: &mut dyn Write) -> Result<(), ExportError> {
    let mut hasher = HasherBeside::new();
    let mut buffer = vec![0; 128 << 10];
    let read_error = |source| compress_error(layer.diff_id, source);
    loop {
        let count = match blob.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(error)),
        };
        hasher.update(&buffer[..count]);
        out.write_all(&buffer[..count]).map_err(|error| match is_beyond_entry(&error) {
            true => ExportError::DamagedBlob { blob: layer.descriptor.digest },
            false => ExportError::Output(error),
        })?;
    }
    if hasher.finish() != layer.descriptor.digest {
        return Err(ExportError::DamagedBlob { blob: layer.descriptor.digest });
    }
    Ok(())
}

/// Whether an archive's writer, not the system, refused more bytes than the entry's header says.
fn is_beyond_entry(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::FileTooLarge && error.raw_os_error().is_none()
}

fn pack(
    store: &Store,
    layer: &Layer,
    options: &ExportOptions,
    readers: Readers,
) -> Result<PackedLayer, ExportError> {
    let (descriptor, content) = match (&layer.blob, options.compression) {
        (Some(blob), _) if stays(&blob.media_type, options, readers) => {
            let media_type = blob.media_type.clone();
            (Descriptor { media_type, digest: blob.digest, size: blob.size }, Content::Blob)
        }
        (_, Compression::None) => {
            let digest = *layer.diff_id.digest();
            (Descriptor { media_type: MediaType::Layer, digest, size: layer.size }, Content::Tar)
        }
        (_, wanted) => {
            let (descriptor, file) = compress_layer(store, layer, wanted)?;
            (descriptor, Content::File(file))
        }
    };
    Ok(PackedLayer { descriptor, diff_id: layer.diff_id, content })
}

/// Whether a layer that came as a blob of type `own` stays that.
pub(crate) fn stays(own: &MediaType, options: &ExportOptions, readers: Readers) -> bool {
    match (own, options.compression) {
        (MediaType::Layer, wanted) => wanted == Compression::None,
        _ if options.force_compression => false,
        (MediaType::LayerZstd, wanted) => {
            readers == Readers::All || matches!(wanted, Compression::Zstd { .. })
        }
        _ => true,
    }
}

/// Compresses a layer into a nameless file, since its digest must be known before it is written.
///
/// # Errors
/// [`ExportError::ReadLayer`], [`ExportError::Compress`].
pub fn compress_layer(
    store: &Store,
    layer: &Layer,
    compression: Compression,
) -> Result<(Descriptor, File), ExportError> {
    let failed = |source| compress_error(layer.diff_id, source);
    let store_error = |source| ExportError::ReadLayer { layer: layer.diff_id, source };
    let directory = store.scratch().map_err(store_error)?;
    let file = tempfile::tempfile_in(directory).map_err(failed)?;
    let hashed = Hashed { output: BufWriter::with_capacity(128 << 10, file), hasher: Hasher::new() };
    let mut encoder = Encoder::new(hashed, compression).map_err(failed)?;
    let mut watched = Watched { out: &mut encoder, error: None };
    let result = store.write_layer_tar(&layer.diff_id, &mut watched);
    if let Some(error) = watched.error {
        return Err(failed(error));
    }
    result.map_err(store_error)?;
    let Hashed { output, hasher } = encoder.finish().map_err(failed)?;
    let file = output.into_inner().map_err(|error| failed(error.into_error()))?;
    let size = hasher.written();
    let descriptor = Descriptor { media_type: compression.media_type(), digest: hasher.finish(), size };
    Ok((descriptor, file))
}

fn compress_error(layer: DiffId, source: io::Error) -> ExportError {
    ExportError::Compress { layer, source }
}

/// Keeps the error of a writer that was given to the store, which would be taken for the store's own.
struct Watched<'a> {
    out: &'a mut dyn Write,
    error: Option<io::Error>,
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Digests what passes through it.
struct Hashed<W> {
    output: W,
    hasher: Hasher,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_compressed_stays_unless_it_is_forced() {
        use MediaType::{Layer, LayerGzip, LayerZstd};
        const NONE: Compression = Compression::None;
        for (own, compression, force_compression, readers, expected) in [
            (Layer, NONE, true, Readers::All, true),
            (Layer, Compression::GZIP, false, Readers::All, false),
            (LayerGzip, NONE, false, Readers::Docker, true),
            (LayerGzip, NONE, true, Readers::All, false),
            (LayerGzip, Compression::ZSTD, false, Readers::All, true),
            (LayerGzip, Compression::GZIP, true, Readers::All, false),
            (LayerZstd, NONE, false, Readers::All, true),
            (LayerZstd, NONE, false, Readers::Docker, false),
            (LayerZstd, Compression::ZSTD, false, Readers::Docker, true),
        ] {
            let options = ExportOptions { compression, force_compression, ..ExportOptions::default() };
            assert_eq!(stays(&own, &options, readers), expected, "{own:?} {options:?} {readers:?}");
        }
    }
}
