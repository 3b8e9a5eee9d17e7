//! Layers on their way from a registry: kept as they come, and verified on the way.
//!
//! One thread writes what comes into the store and digests it; another one decompresses the same
//! bytes meanwhile and digests the tar. So a layer is verified when its last byte is there.

use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use lbuild_archive::{Compression, decompress_within};
use lbuild_layer_store::{BlobOrigin, Layer, Store};
use lbuild_oci::{DiffId, Digest, Hasher, MediaType};
use lbuild_registry::{BlobReader, RegistryError, Repository};

use crate::document::Descriptor;
use crate::layer::{self, Claim};
use crate::source::{Stored, blob_path, unsupported};
use crate::stream::Bounded;
use crate::{ImportError, Limits};

/// Layers that are fetched at the same time.
const AT_ONCE: usize = 3;
/// Buffers between the two threads of a layer.
const BUFFERS: usize = 16;

/// Fetches layers.
pub(crate) struct Downloads<'a> {
    pub store: &'a Store,
    pub repository: &'a Repository,
    pub limits: &'a Limits,
    /// Whether layers may come from where the manifest says, outside the registry.
    pub allow_foreign: bool,
    /// Is told how many bytes came.
    pub progress: &'a (dyn Fn(u64) + Sync),
}

/// A layer to be fetched.
pub(crate) struct Wanted {
    pub descriptor: Descriptor,
    pub diff_id: DiffId,
}

impl Downloads<'_> {
    /// Brings all of `wanted` into the store, several at a time, the lowest first; returns them in
    /// their order. Whatever fails ends the others.
    pub fn fetch_all(&self, wanted: &[Wanted]) -> Result<Vec<Layer>, ImportError> {
        let next = AtomicUsize::new(0);
        let failed = AtomicBool::new(false);
        let done: Mutex<Vec<(usize, Result<Layer, ImportError>)>> = Mutex::default();
        let work = || {
            while !failed.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(layer) = wanted.get(index) else { break };
                let result = self.fetch(layer, &failed);
                failed.fetch_or(result.is_err(), Ordering::Relaxed);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((index, result));
            }
        };
        thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(wanted.len()) {
                scope.spawn(work);
            }
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The first failure tells why; those that it ended do not.
        if let Some(at) = done.iter().position(|(_, result)| result.is_err()) {
            return done.swap_remove(at).1.map(|layer| vec![layer]);
        }
        done.sort_by_key(|(index, _)| *index);
        done.into_iter().map(|(_, result)| result).collect()
    }

    fn fetch(&self, wanted: &Wanted, ended: &AtomicBool) -> Result<Layer, ImportError> {
        let Wanted { descriptor, diff_id } = wanted;
        if !descriptor.media_type.is_layer() {
            return Err(unsupported(blob_path(&descriptor.digest), &descriptor.media_type));
        }
        let store_error = |source| ImportError::Store { what: format!("layer {diff_id}"), source };
        // What is known of a layer was verified when it came.
        if let Some(known) = self.store.layer(diff_id).map_err(store_error)? {
            (self.progress)(descriptor.size);
            if known.blob.as_ref().is_some_and(|blob| blob.digest == descriptor.digest) {
                self.remember(wanted);
            }
            return Ok(known);
        }
        let layer =
            match self.attempt(wanted, self.repository.blob(&descriptor.digest, descriptor.size), ended) {
                // The next attempt asks another mirror, if there is one.
                Err(ImportError::Registry(RegistryError::Digest { .. })) => {
                    self.attempt(wanted, self.repository.blob(&descriptor.digest, descriptor.size), ended)
                }
                Err(ImportError::Registry(error)) if error.is_not_found() && !descriptor.urls.is_empty() => {
                    self.fetch_foreign(wanted, ended)
                }
                result => result,
            }?;
        self.remember(wanted);
        Ok(layer)
    }

    fn fetch_foreign(&self, wanted: &Wanted, ended: &AtomicBool) -> Result<Layer, ImportError> {
        let Descriptor { digest, size, urls, .. } = &wanted.descriptor;
        if !self.allow_foreign {
            let url = urls.first().cloned().unwrap_or_default();
            return Err(ImportError::Foreign { layer: *digest, url });
        }
        self.attempt(wanted, self.repository.foreign_blob(urls, digest, *size), ended)
    }

    fn attempt(&self, wanted: &Wanted, blob: BlobReader, ended: &AtomicBool) -> Result<Layer, ImportError> {
        let Wanted { descriptor, diff_id } = wanted;
        let is_tar = descriptor.digest == *diff_id.digest();
        let (sender, receiver) = sync_channel(BUFFERS);
        let (stored, unpacked) = thread::scope(|scope| {
            let unpacker = (!is_tar).then(|| scope.spawn(|| self.digest_tar(descriptor, receiver)));
            let sender = (!is_tar).then_some(sender);
            let mut reader = Tee { blob, sender, ended, progress: self.progress };
            let path = format!("layer {}", descriptor.digest);
            let stored = Stored::keep(self.store, &path, &mut reader, Some(&descriptor.digest));
            drop(reader);
            let unpacked =
                unpacker.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            (stored, unpacked)
        });
        let blob = stored.map_err(unwrap_registry)?;
        let claim = Claim { blob, diff_id: *diff_id };
        match unpacked.transpose()? {
            None => Ok(layer::imported(*diff_id, blob.size, blob, MediaType::Layer)),
            Some(Tar { digest, size, media_type: Some(media_type) }) if digest == *diff_id.digest() => {
                Ok(layer::imported(*diff_id, size, blob, media_type))
            }
            // A compression that no image may have, or no layer of this image.
            Some(Tar { media_type: None, .. }) => layer::verify(self.store, &claim, self.limits),
            Some(Tar { digest, .. }) => Err(layer::mismatch(&claim, digest)),
        }
    }

    fn digest_tar(&self, descriptor: &Descriptor, receiver: Receiver<Vec<u8>>) -> Result<Tar, ImportError> {
        let unreadable = |source| ImportError::Layer { layer: descriptor.digest, source };
        let limits = lbuild_archive::Limits { ratio: self.limits.ratio, ..self.limits.archive };
        let bytes = Received { receiver, current: Vec::new(), at: 0 };
        let (compression, tar) = decompress_within(bytes, &limits).map_err(unreadable)?;
        let mut tar = Bounded::new(tar, self.limits.layer);
        let media_type = match compression {
            Compression::Gzip => Some(MediaType::LayerGzip),
            Compression::Zstd => Some(MediaType::LayerZstd),
            Compression::None | Compression::Bzip2 | Compression::Xz => None,
        };
        let mut hasher = Hasher::new();
        let size = io::copy(&mut tar, &mut hasher).map_err(unreadable)?;
        Ok(Tar { digest: hasher.finish(), size, media_type })
    }

    /// Remembers where the layer is, for a push to the same registry.
    fn remember(&self, wanted: &Wanted) {
        let origin = BlobOrigin {
            registry: self.repository.registry().to_owned(),
            repository: self.repository.path().to_owned(),
        };
        self.store.add_blob_origin(&wanted.descriptor.digest, &origin, &wanted.diff_id);
    }
}

/// What a blob unpacked to.
struct Tar {
    digest: Digest,
    size: u64,
    media_type: Option<MediaType>,
}

/// Reads a blob and passes on a copy.
struct Tee<'a> {
    blob: BlobReader,
    /// `None` once nobody wants the copy.
    sender: Option<SyncSender<Vec<u8>>>,
    ended: &'a AtomicBool,
    progress: &'a (dyn Fn(u64) + Sync),
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended.load(Ordering::Relaxed) {
            return Err(io::Error::other("another layer failed"));
        }
        let count = self.blob.read(buffer)?;
        if count > 0
            && let Some(sender) = &self.sender
            && sender.send(buffer[..count].to_vec()).is_err()
        {
            self.sender = None;
        }
        (self.progress)(count as u64);
        Ok(count)
    }
}

/// What came, for the thread that unpacks it.
struct Received {
    receiver: Receiver<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

impl Read for Received {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            match self.receiver.recv() {
                Ok(bytes) => (self.current, self.at) = (bytes, 0),
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The registry's own error where that is what failed to be read.
fn unwrap_registry(error: ImportError) -> ImportError {
    match error {
        ImportError::Read { path, source } => match RegistryError::of_read(source) {
            Ok(error) => error.into(),
            Err(source) => ImportError::Read { path, source },
        },
        error => error,
    }
}
