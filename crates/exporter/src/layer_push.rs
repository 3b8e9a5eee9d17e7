//! One layer on its way into a repository: found there, mounted, or uploaded while it is compressed.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};

use lbuild_layer_store::{BlobOrigin, Layer, Store};
use lbuild_oci::{DiffId, Digest, Hasher, json};
use lbuild_registry::{FoundBlob, Mounted, RegistryError, Repository, Upload};
use serde_json::json;

use crate::encoder::Encoder;
use crate::package::{Readers, stays};
use crate::{Compression, Descriptor, ExportError, ExportOptions};

/// Brings layers into a repository.
#[derive(Clone, Copy)]
pub(crate) struct LayerPush<'a> {
    pub store: &'a Store,
    pub repository: &'a Repository,
    /// The image that has the layers, for errors.
    pub image: Digest,
    pub options: &'a ExportOptions,
}

/// A layer that is in the repository.
#[derive(Debug, Clone)]
pub(crate) struct PushedLayer {
    pub descriptor: Descriptor,
    pub way: Way,
}

/// How a layer came to be in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    WasThere,
    Mounted,
    Uploaded,
}

impl LayerPush<'_> {
    /// Brings a layer there, unless it is.
    pub fn push(&self, diff_id: &DiffId) -> Result<PushedLayer, ExportError> {
        let layer = self.store.layer(diff_id).map_err(|source| self.store_error(source))?;
        let layer = layer.ok_or(ExportError::MissingLayer { image: self.image, layer: *diff_id })?;
        let pushed = match &layer.blob {
            Some(blob) if stays(&blob.media_type, self.options, Readers::All) => {
                let (media_type, digest, size) = (blob.media_type.clone(), blob.digest, blob.size);
                self.push_blob(Descriptor { media_type, digest, size }, diff_id)?
            }
            _ => self.push_compressed(&layer)?,
        };
        let origin = BlobOrigin {
            registry: self.repository.registry().to_owned(),
            repository: self.repository.path().to_owned(),
        };
        self.store.add_blob_origin(&pushed.descriptor.digest, &origin, diff_id);
        Ok(pushed)
    }

    /// A layer that stays as it came.
    fn push_blob(&self, descriptor: Descriptor, diff_id: &DiffId) -> Result<PushedLayer, ExportError> {
        let digest = descriptor.digest;
        let upload = match self.look(&digest)? {
            Found::Way(way, blob) => {
                self.check_length(&descriptor, diff_id, blob)?;
                return Ok(PushedLayer { descriptor, way });
            }
            Found::Upload(upload) => upload,
        };
        let mut missing = None;
        let mut open = || match self.store.layer_blob(diff_id) {
            Ok(file) => Ok(Box::new(file) as Box<dyn Read>),
            Err(error) => {
                missing = Some(error);
                Err(io::ErrorKind::NotFound.into())
            }
        };
        let sent = upload.send(&digest, descriptor.size, &mut open);
        match (sent, missing) {
            (Ok(()), _) => Ok(PushedLayer { descriptor, way: Way::Uploaded }),
            (Err(_), Some(source)) => Err(self.store_error(source)),
            // The registry found that the bytes are not what their digest says: the disk damaged them.
            (Err(RegistryError::Status { status: 400, .. }), None) if !self.is_whole(&digest) => {
                Err(ExportError::DamagedBlob { blob: digest })
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    /// A layer that is compressed now, or was before for another push.
    fn push_compressed(&self, layer: &Layer) -> Result<PushedLayer, ExportError> {
        let upload = match self.known(layer) {
            None => Box::new(self.repository.upload()?),
            Some(descriptor) => match self.look(&descriptor.digest)? {
                Found::Way(way, _) => return Ok(PushedLayer { descriptor, way }),
                Found::Upload(upload) => upload,
            },
        };
        let failed = |source| ExportError::Compress { layer: layer.diff_id, source };
        let directory = self.store.scratch().map_err(|source| self.store_error(source))?;
        let file = BufWriter::with_capacity(128 << 10, tempfile::tempfile_in(directory).map_err(failed)?);
        let tee = Tee { upload: Ok(upload), file, hasher: Hasher::new() };
        let Tee { upload, file, hasher } = self.compress(layer, tee)?;
        let size = hasher.written();
        let digest = hasher.finish();
        let descriptor = Descriptor { media_type: self.options.compression.media_type(), digest, size };
        // What could not be uploaded on the way is, from the file.
        let mut file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        let is_uploaded = upload.is_ok_and(|upload| upload.finish().is_ok());
        if !is_uploaded {
            let mut open = || {
                file.rewind()?;
                Ok(Box::new(file.try_clone()?) as Box<dyn Read>)
            };
            self.repository.upload_blob(&digest, size, &mut open)?;
        }
        self.store.cache_put(&self.key(layer), json::canonical(&descriptor), &[layer.diff_id]);
        Ok(PushedLayer { descriptor, way: Way::Uploaded })
    }

    fn compress(&self, layer: &Layer, tee: Tee) -> Result<Tee, ExportError> {
        let failed = |source| ExportError::Compress { layer: layer.diff_id, source };
        let mut encoder = Encoder::new(tee, self.options.compression).map_err(failed)?;
        let written = self.store.write_layer_tar(&layer.diff_id, &mut encoder);
        written.map_err(|source| self.store_error(source))?;
        encoder.finish().map_err(failed)
    }

    /// Whether the repository has a blob, or can take it from another one of its registry.
    fn look(&self, digest: &Digest) -> Result<Found, ExportError> {
        if let Some(blob) = self.repository.find_blob(digest)? {
            return Ok(Found::Way(Way::WasThere, Some(blob)));
        }
        let origins = self.store.blob_origins(digest);
        let origin = origins.iter().find(|origin| {
            origin.registry == self.repository.registry() && origin.repository != self.repository.path()
        });
        let Some(origin) = origin else { return Ok(Found::Upload(Box::new(self.repository.upload()?))) };
        match self.repository.mount(digest, &origin.repository)? {
            Mounted::Done => Ok(Found::Way(Way::Mounted, None)),
            Mounted::Upload(upload) => Ok(Found::Upload(upload)),
        }
    }

    /// What is said of a layer whose bytes were never here may be wrong. Its digest stands for its bytes, so what
    /// can be seen without them is their number.
    fn check_length(
        &self,
        descriptor: &Descriptor,
        diff_id: &DiffId,
        blob: Option<FoundBlob>,
    ) -> Result<(), ExportError> {
        let is_here = self.store.has_layer_here(diff_id).map_err(|source| self.store_error(source))?;
        if is_here {
            return Ok(());
        }
        let blob = match blob {
            Some(blob) => Some(blob),
            None => self.repository.find_blob(&descriptor.digest)?,
        };
        match blob.and_then(|blob| blob.size).filter(|size| *size != descriptor.size) {
            None => Ok(()),
            Some(found) => {
                let (layer, blob, told) = (*diff_id, descriptor.digest, descriptor.size);
                Err(ExportError::WrongLength { layer, blob, told, found })
            }
        }
    }

    /// What the layer gave when it was compressed so before.
    fn known(&self, layer: &Layer) -> Option<Descriptor> {
        if self.options.compression == Compression::None {
            let media_type = self.options.compression.media_type();
            return Some(Descriptor { media_type, digest: *layer.diff_id.digest(), size: layer.size })
                .filter(|_| layer.size > 0);
        }
        serde_json::from_slice(&self.store.cache_get(&self.key(layer))?).ok()
    }

    fn key(&self, layer: &Layer) -> Digest {
        let compression = format!("{:?}", self.options.compression);
        Digest::of(json::canonical(&json!({ "layer": layer.diff_id, "compressed": compression })))
    }

    fn is_whole(&self, digest: &Digest) -> bool {
        let copied = self.store.open_blob(digest).map(|mut file| {
            let mut hasher = Hasher::new();
            io::copy(&mut file, &mut hasher).is_ok() && hasher.finish() == *digest
        });
        copied.unwrap_or(false)
    }

    fn store_error(&self, source: lbuild_layer_store::StoreError) -> ExportError {
        ExportError::Store { image: self.image, source }
    }
}

enum Found {
    /// It is there by now; with what the registry said of it.
    Way(Way, Option<FoundBlob>),
    Upload(Box<Upload>),
}

/// Writes to an upload and, should that fail, to a file all the same.
struct Tee {
    upload: Result<Box<Upload>, io::Error>,
    file: BufWriter<File>,
    hasher: Hasher,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        if let Ok(upload) = &mut self.upload
            && let Err(error) = upload.write_all(bytes)
        {
            match error.get_ref().and_then(|error| error.downcast_ref()) {
                // Then the rest need not be compressed.
                Some(RegistryError::Interrupted) => return Err(error),
                _ => self.upload = Err(error),
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
