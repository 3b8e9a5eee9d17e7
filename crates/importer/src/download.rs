//! Layers on their way from a registry: kept as they come, verified and unpacked on the way.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use lbuild_archive::{ArchiveError, Compression};
use lbuild_layer_store::{BlobOrigin, Incoming, Layer, Place, StepLock, Store, StoreError};
use lbuild_oci::{DiffId, MediaType};
use lbuild_registry::{BlobReader, RegistryError, Repository};

use crate::document::Descriptor;
use crate::layer::{self, Claim};
use crate::source::{Stored, blob_path, unsupported};
use crate::{ImportError, Limits};

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
    /// Brings all of `wanted`, a stack, into the store and unpacks it, several layers at a time; returns
    /// them in their order, and the locks that other processes wait for until the store is flushed.
    /// Whatever fails ends the others.
    pub fn fetch_all(&self, wanted: &[Wanted]) -> Result<(Vec<Layer>, Vec<StepLock>), ImportError> {
        let stack: Vec<DiffId> = wanted.iter().map(|layer| layer.diff_id).collect();
        let done: Mutex<Vec<(usize, Layer)>> = Mutex::default();
        let work = |place: &Place<'_>| -> Result<(), Failure> {
            let layer = self.fetch(&wanted[place.index()], place)?;
            done.lock().unwrap_or_else(PoisonError::into_inner).push((place.index(), layer));
            Ok(())
        };
        let locks = self.store.unpack_each(&stack, &work).map_err(|Failure(error)| error)?;
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(index, _)| *index);
        Ok((done.into_iter().map(|(_, layer)| layer).collect(), locks))
    }

    fn fetch(&self, wanted: &Wanted, place: &Place<'_>) -> Result<Layer, ImportError> {
        let Wanted { descriptor, diff_id } = wanted;
        if !descriptor.media_type.is_layer() {
            return Err(unsupported(blob_path(&descriptor.digest), &descriptor.media_type));
        }
        let store_error = |source| ImportError::Store { what: format!("layer {diff_id}"), source };
        // What is known of a layer was verified when it came.
        if let Some(known) = self.store.layer(diff_id).map_err(store_error)? {
            place.unpack().map_err(store_error)?;
            (self.progress)(descriptor.size);
            if known.blob.as_ref().is_some_and(|blob| blob.digest == descriptor.digest) {
                self.remember(wanted);
            }
            return Ok(known);
        }
        let blob = || self.repository.blob(&descriptor.digest, descriptor.size);
        let layer = match self.attempt(wanted, blob(), place) {
            // The next attempt asks another mirror, if there is one.
            Err(ImportError::Registry(RegistryError::Digest { .. })) => self.attempt(wanted, blob(), place),
            Err(ImportError::Registry(error)) if error.is_not_found() && !descriptor.urls.is_empty() => {
                self.fetch_foreign(wanted, place)
            }
            result => result,
        }?;
        // Before the others' locks are let go.
        self.store.add_layer(&layer).map_err(store_error)?;
        self.remember(wanted);
        Ok(layer)
    }

    fn fetch_foreign(&self, wanted: &Wanted, place: &Place<'_>) -> Result<Layer, ImportError> {
        let Descriptor { digest, size, urls, .. } = &wanted.descriptor;
        if !self.allow_foreign {
            let url = urls.first().cloned().unwrap_or_default();
            return Err(ImportError::Foreign { layer: *digest, url });
        }
        self.attempt(wanted, self.repository.foreign_blob(urls, digest, *size), place)
    }

    fn attempt(&self, wanted: &Wanted, blob: BlobReader, place: &Place<'_>) -> Result<Layer, ImportError> {
        let Wanted { descriptor, diff_id } = wanted;
        let incoming = Incoming {
            digest: descriptor.digest,
            is_tar: descriptor.digest == *diff_id.digest(),
            max_bytes: self.limits.layer,
            limits: lbuild_archive::Limits { ratio: self.limits.ratio, ..self.limits.archive },
        };
        let mut reader = Watched { blob, progress: self.progress, error: None };
        let received = place.receive(&mut reader, &incoming);
        let received = match (received, reader.error) {
            (Err(StoreError::Io { .. }), Some(error)) => return Err(not_received(descriptor, error)),
            (Err(error), _) => return Err(refused(wanted, error)),
            (Ok(received), _) => received,
        };
        let blob = Stored { digest: descriptor.digest, size: received.blob_size };
        let media_type = match received.compression {
            Compression::None => MediaType::Layer,
            Compression::Gzip => MediaType::LayerGzip,
            Compression::Zstd => MediaType::LayerZstd,
            // A compression that no image may have.
            Compression::Bzip2 | Compression::Xz => {
                return layer::verify(self.store, &Claim { blob, diff_id: *diff_id }, self.limits);
            }
        };
        Ok(layer::imported(*diff_id, received.size, blob, media_type))
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

/// Reads a blob, tells how much came, and keeps what went wrong.
struct Watched<'a> {
    blob: BlobReader,
    progress: &'a (dyn Fn(u64) + Sync),
    error: Option<io::Error>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.blob.read(buffer) {
            Ok(count) => {
                (self.progress)(count as u64);
                Ok(count)
            }
            Err(error) => {
                let kind = error.kind();
                self.error = Some(error);
                Err(kind.into())
            }
        }
    }
}

/// Why an image does not come, also where the store says so.
struct Failure(ImportError);

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self(error)
    }
}

impl From<StoreError> for Failure {
    fn from(source: StoreError) -> Self {
        Self(ImportError::Store { what: "the image's layers".to_owned(), source })
    }
}

/// The registry's own error where that is what failed to be read.
fn not_received(descriptor: &Descriptor, error: io::Error) -> ImportError {
    match RegistryError::of_read(error) {
        Ok(error) => error.into(),
        Err(source) => ImportError::Read { path: format!("layer {}", descriptor.digest), source },
    }
}

/// What is wrong with a layer that came.
fn refused(wanted: &Wanted, error: StoreError) -> ImportError {
    let layer = wanted.descriptor.digest;
    match error {
        StoreError::DigestMismatch { expected, actual, .. } if expected == *wanted.diff_id.digest() => {
            ImportError::DiffIdMismatch { layer, expected: wanted.diff_id, found: DiffId(actual) }
        }
        StoreError::ReadLayer { source: ArchiveError::Read(source), .. } => {
            ImportError::Layer { layer, source }
        }
        StoreError::ReadLayer { source, .. } => {
            ImportError::Layer { layer, source: io::Error::other(source) }
        }
        source => ImportError::Store { what: format!("layer {layer}"), source },
    }
}
