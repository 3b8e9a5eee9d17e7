//! A layer: what the store knows of one tar.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;

use lbuild_archive::{ArchiveError, Limits, Reader};
use lbuild_oci::{ChainId, DiffId, Digest, HasherBeside, MediaType, lock};
use serde::{Deserialize, Serialize};

use crate::error::OnPath;
use crate::pack::{self, ListSink, TarSink};
use crate::seal::{self, Sink};
use crate::{Store, StoreError, directory};

/// Places that are kept for one layer.
const MAX_SOURCES: usize = 4;

/// Bounds on what a fetched layer may expand to, as on imported ones: uncompressed bytes for each byte,
/// and all of them.
pub(crate) const FOREIGN_RATIO: u64 = 2000;
pub(crate) const FOREIGN_BYTES: u64 = 1 << 40;

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of the uncompressed tar.
    pub diff_id: DiffId,
    /// The length of the uncompressed tar in bytes; 0 where an import did not tell.
    pub size: u64,
    /// The number of the tar's entries; 0 where an import did not tell.
    pub entries: u64,
    /// The layer as it came from elsewhere; `None` for a layer that was packed here, whose tar is
    /// reproduced from its snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blob: Option<Blob>,
    /// What times in the tar were clamped to, in seconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_mtime: Option<i64>,
    /// Where the blob can be fetched while it is not here, as the store's
    /// [`Fetcher`](crate::Fetcher) understands it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// Whether the blob was seen to hold the layer. Of one that has sources that is only said until somebody
    /// has read it; earlier versions did not keep it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_verified: bool,
    /// The snapshot that the tar is reproduced from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<ChainId>,
}

impl Layer {
    /// A layer that came from elsewhere as `blob`; `size` is the length of its uncompressed tar in
    /// bytes.
    pub fn imported(diff_id: DiffId, size: u64, blob: Blob) -> Self {
        Self {
            diff_id,
            size,
            entries: 0,
            blob: Some(blob),
            latest_mtime: None,
            sources: Vec::new(),
            is_verified: false,
            snapshot: None,
        }
    }

    /// A layer whose `blob` is not here and can be fetched from `source`. What is said of it need not be
    /// true: whoever reads it finds out.
    pub fn elsewhere(diff_id: DiffId, blob: Blob, source: String) -> Self {
        Self { sources: vec![source], ..Self::imported(diff_id, 0, blob) }
    }

    /// Whether somebody has said where the layer is to be fetched.
    pub(crate) fn is_to_be_had_elsewhere(&self) -> bool {
        self.blob.is_some() && !self.sources.is_empty()
    }

    /// Whether every place of `other` is known.
    fn has_sources(&self, other: &Self) -> bool {
        other.sources.iter().all(|source| self.sources.contains(source))
    }
}

/// A layer's bytes as they were received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// The digest of these bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// How they are compressed.
    pub media_type: MediaType,
}

/// One entry of a layer, for people to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerEntry {
    /// The path from the image's root, without a leading slash; of a deletion, what is deleted.
    pub path: PathBuf,
    /// What the entry is.
    pub kind: LayerEntryKind,
    /// Bytes of a file's content; else 0.
    pub size: u64,
}

/// What an entry of a layer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LayerEntryKind {
    /// A regular file.
    File,
    /// Another name of a file in the layer.
    HardLink,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A device node.
    Device,
    /// The deletion of what a lower layer has there.
    Whiteout,
    /// The deletion of all that lower layers have in this directory.
    Opaque,
}

impl Store {
    /// Makes a layer known that came from elsewhere, or that still is there; durable at the next
    /// [`Store::flush`].
    ///
    /// Its content is not looked at before it is needed, and then must have the layer's digest. A layer
    /// that is here is not replaced.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlob`] if its blob is neither here nor elsewhere.
    pub fn add_layer(&self, layer: &Layer) -> Result<(), StoreError> {
        let is_here = self.is_here(layer)?;
        if let (Some(blob), false, true) = (&layer.blob, is_here, layer.sources.is_empty()) {
            return Err(StoreError::UnknownBlob(blob.digest));
        }
        let mut layer = layer.clone();
        if let Some(known) = self.layer(&layer.diff_id)? {
            let tells_nothing = !is_here && known.blob == layer.blob && known.has_sources(&layer);
            if tells_nothing || self.is_here(&known)? {
                return Ok(());
            }
            if known.blob == layer.blob {
                // What was seen stays true; who brings a layer without sources has read it.
                layer.is_verified = known.is_verified || layer.sources.is_empty();
                if known.is_verified {
                    layer.size = known.size;
                }
                let more = known.sources.iter().filter(|source| !layer.sources.contains(source));
                let more: Vec<String> = more.cloned().collect();
                layer.sources.extend(more);
                layer.sources.truncate(MAX_SOURCES);
            }
        }
        self.hold([layer.diff_id.digest()])?;
        lock(&self.layers).remove(&layer.diff_id);
        lock(&self.pending).layers.insert(layer.diff_id, layer);
        Ok(())
    }

    /// What is known of a layer, here or elsewhere; `None` also if its bytes are gone.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn layer(&self, diff_id: &DiffId) -> Result<Option<Layer>, StoreError> {
        if let Some(layer) = lock(&self.pending).layers.get(diff_id) {
            return Ok(Some(layer.clone()));
        }
        if let Some(layer) = lock(&self.layers).get(diff_id) {
            return Ok(Some(layer.clone()));
        }
        let looking = self.looking()?;
        let layer: Option<Layer> = self.read_json_record(&self.layout.layer(diff_id))?;
        let Some(layer) = layer.filter(|layer| layer.diff_id == *diff_id) else { return Ok(None) };
        if !self.has_bytes(&layer)? {
            return Ok(None);
        }
        looking.hold(diff_id.digest());
        lock(&self.layers).insert(*diff_id, layer.clone());
        Ok(Some(layer))
    }

    /// Writes the layer's uncompressed tar and returns its length in bytes.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`] if what was written is not the layer: the disk damaged it. A layer
    /// that was packed here is then no longer known, so that the next build makes it again.
    pub fn write_layer_tar(&self, diff_id: &DiffId, output: &mut dyn Write) -> Result<u64, StoreError> {
        let layer = self.fetched(diff_id)?;
        let (actual, size) = match &layer.blob {
            Some(blob) => match self.decompress_to(&layer, blob, output) {
                Err(StoreError::ReadLayer { source, .. }) if !layer.sources.is_empty() => {
                    return Err(self.lose(&layer, source.into()));
                }
                result => result?,
            },
            None => {
                let mut sink = TarSink::new(Some(output));
                self.replay(&layer, &mut sink)?;
                let packed = sink.finish()?;
                (packed.diff_id.0, packed.size)
            }
        };
        if actual != diff_id.0 {
            if !layer.sources.is_empty() {
                let reason = format!("what {} gave has the digest {actual}", layer.sources.join(" or "));
                return Err(self.lose(&layer, reason.into()));
            }
            self.forget_damaged(&layer)?;
            return Err(StoreError::DigestMismatch {
                what: format!("layer {diff_id}"),
                expected: diff_id.0,
                actual,
            });
        }
        if !layer.sources.is_empty() && !layer.is_verified {
            self.keep_verified(layer, size)?;
        }
        Ok(size)
    }

    /// The layer's entries, in the tar's order.
    ///
    /// # Errors
    /// [`StoreError::UnknownLayer`], [`StoreError::ReadLayer`].
    pub fn layer_entries(&self, diff_id: &DiffId) -> Result<Vec<LayerEntry>, StoreError> {
        let layer = self.fetched(diff_id)?;
        let Some(blob) = &layer.blob else {
            let mut sink = ListSink::default();
            self.replay(&layer, &mut sink)?;
            return Ok(sink.entries);
        };
        let read = |source| StoreError::ReadLayer { diff_id: *diff_id, source };
        let mut reader = Reader::new(self.open_tar(&layer, blob)?, self.layer_limits());
        let mut entries = Vec::new();
        while let Some(entry) = reader.next().map_err(read)? {
            entries.extend(pack::describe(&entry.header));
        }
        Ok(entries)
    }

    /// Keeps that a layer's blob, which is here, was seen to hold a tar of `size` bytes which is the layer.
    pub(crate) fn keep_verified(&self, layer: Layer, size: u64) -> Result<(), StoreError> {
        self.hold([layer.diff_id.digest()])?;
        lock(&self.layers).remove(&layer.diff_id);
        lock(&self.pending).layers.insert(layer.diff_id, Layer { size, is_verified: true, ..layer });
        Ok(())
    }

    pub(crate) fn known_layer(&self, diff_id: &DiffId) -> Result<Layer, StoreError> {
        let unknown = || match lock(&self.lost).get(diff_id) {
            Some(reason) => StoreError::Lost { diff_id: *diff_id, source: reason.clone().into() },
            None => StoreError::UnknownLayer(*diff_id),
        };
        self.layer(diff_id)?.ok_or_else(unknown)
    }

    /// Whether the layer's tar can be had, here or elsewhere.
    pub(crate) fn has_bytes(&self, layer: &Layer) -> Result<bool, StoreError> {
        Ok(self.is_here(layer)? || layer.is_to_be_had_elsewhere())
    }

    /// Whether the layer's tar can be had without fetching anything; what it is made of then stays. A blob of
    /// which is only said that it holds the layer may be another layer's.
    pub(crate) fn is_here(&self, layer: &Layer) -> Result<bool, StoreError> {
        match (&layer.blob, &layer.snapshot) {
            (Some(blob), _) => {
                let looking = self.looking()?;
                looking.hold(&blob.digest);
                let is_the_layer = layer.is_verified || layer.sources.is_empty();
                Ok(is_the_layer && self.has_blob(&blob.digest))
            }
            (None, Some(snapshot)) => self.has_snapshot(snapshot),
            (None, None) => Ok(false),
        }
    }

    /// Sets aside what no longer gives the layer's tar.
    fn forget_damaged(&self, layer: &Layer) -> Result<(), StoreError> {
        const REASON: &str = "it is not what its layer's digest promises";
        match (&layer.blob, &layer.snapshot) {
            (Some(blob), _) => self.set_aside(&self.layout.blob(&blob.digest), REASON)?,
            (None, Some(chain)) => self.set_aside_snapshot(chain, REASON)?,
            (None, None) => {}
        }
        lock(&self.layers).remove(&layer.diff_id);
        lock(&self.pending).layers.remove(&layer.diff_id);
        Ok(())
    }

    /// The uncompressed tar that `blob` holds. How far it may expand was decided when it came: here it
    /// ends one byte after the layer's length.
    fn open_tar(&self, layer: &Layer, blob: &Blob) -> Result<Box<dyn Read>, StoreError> {
        let file = self.open_layer_blob(layer, blob)?;
        let length = if layer.size == 0 { u64::MAX } else { layer.size.saturating_add(1) };
        // Nobody decided that for a layer that was fetched.
        let is_foreign = !layer.sources.is_empty();
        // An uncompressed tar may begin as compressed data does.
        if blob.media_type == MediaType::Layer {
            return Ok(Box::new(file.take(length)));
        }
        let ratio = if is_foreign { FOREIGN_RATIO } else { u64::MAX };
        let limits = Limits { ratio, ..Limits::default() };
        let (_, tar) = lbuild_archive::decompress_within(file, &limits)
            .map_err(|error| read_error(&layer.diff_id, error))?;
        Ok(Box::new(tar.take(if is_foreign { length.min(FOREIGN_BYTES) } else { length })))
    }

    fn decompress_to(
        &self,
        layer: &Layer,
        blob: &Blob,
        output: &mut dyn Write,
    ) -> Result<(Digest, u64), StoreError> {
        let mut tar = self.open_tar(layer, blob)?;
        let mut hasher = HasherBeside::new();
        let mut buffer = vec![0; 128 << 10];
        loop {
            match tar.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    hasher.update(&buffer[..length]);
                    let written = output.write_all(&buffer[..length]);
                    written.map_err(|error| StoreError::Pack(ArchiveError::Write(error)))?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(read_error(&layer.diff_id, error)),
            }
        }
        let size = hasher.written();
        Ok((hasher.finish(), size))
    }

    /// Hands over the entries of a layer that was packed here.
    fn replay(&self, layer: &Layer, sink: &mut dyn Sink) -> Result<(), StoreError> {
        let unknown = || StoreError::UnknownLayer(layer.diff_id);
        let chain = layer.snapshot.as_ref().ok_or_else(unknown)?;
        if !self.has_snapshot(chain)? {
            return Err(unknown());
        }
        let directory = {
            let known = self.snapshots.known();
            let path = known.path(chain).ok_or_else(unknown)?;
            directory::open(path).on("open", path)?
        };
        seal::replay(directory.as_fd(), self.marks, layer.latest_mtime, sink)
    }
}

fn read_error(diff_id: &DiffId, error: std::io::Error) -> StoreError {
    StoreError::ReadLayer { diff_id: *diff_id, source: ArchiveError::Read(error) }
}
