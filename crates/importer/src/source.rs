//! Where an image's files come from.

use std::io::{self, Read};
use std::path::Path;

use lbuild_confined::Root;
use lbuild_layer_store::Store;
use lbuild_oci::{Digest, MediaType};

use crate::ImportError;
use crate::document::Descriptor;

/// A file that is a blob of the store now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stored {
    /// Of the bytes as they came.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// The file `path` of the folder `root`, which errors call `folder`; `None` if it is not there.
///
/// # Errors
/// [`ImportError::DocumentTooLarge`] for one of more than `limit` bytes, [`ImportError::Read`].
pub(crate) fn document(
    root: &Root,
    folder: &Path,
    path: &str,
    limit: u64,
) -> Result<Option<Vec<u8>>, ImportError> {
    match root.read(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            Err(ImportError::DocumentTooLarge { path: path.to_owned(), limit })
        }
        Err(source) => Err(ImportError::Read { path: folder.join(path).display().to_string(), source }),
    }
}

impl Stored {
    /// Makes what `reader` gives a blob of the store. `path` is what errors call it.
    ///
    /// # Errors
    /// [`ImportError::Read`] if `reader` fails, [`ImportError::Store`] otherwise.
    pub fn keep(
        store: &Store,
        path: &str,
        reader: &mut dyn Read,
        expected: Option<&Digest>,
    ) -> Result<Self, ImportError> {
        let mut reader = Watched { inner: reader, error: None };
        let result = store.write_blob(&mut reader, expected);
        match (result, reader.error) {
            (Ok((digest, size)), _) => Ok(Self { digest, size }),
            (Err(_), Some(source)) => Err(ImportError::Read { path: path.to_owned(), source }),
            (Err(source), None) => Err(ImportError::Store { what: path.to_owned(), source }),
        }
    }
}

/// Remembers an error of the reader: what cannot be read is no failure of the store.
struct Watched<'a> {
    inner: &'a mut dyn Read,
    error: Option<io::Error>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }
}

/// An archive or a folder that holds images.
pub(crate) trait Source {
    /// The content of the file `path`, at most `limit` bytes; `None` if there is none.
    fn document(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ImportError>;

    /// The document that `descriptor` names, not checked yet; `None` if there is none.
    fn described(&self, descriptor: &Descriptor, limit: u64) -> Result<Option<Vec<u8>>, ImportError> {
        self.document(&blob_path(&descriptor.digest), limit)
    }

    /// Makes the file `path` a blob of the store; `None` if there is none.
    fn blob(&self, path: &str) -> Result<Option<Stored>, ImportError>;

    /// Says what this is, if it holds neither an index nor a manifest.
    fn not_an_image(&self) -> ImportError;
}

/// Where a layout keeps the blob `digest`.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The digest that a layout's blob is named after.
pub(crate) fn named_digest(path: &str) -> Option<Digest> {
    Digest::from_hex(path.strip_prefix("blobs/sha256/")?).ok()
}

/// The document that `descriptor` names, checked against it.
pub(crate) fn described_document(
    source: &dyn Source,
    descriptor: &Descriptor,
    limit: u64,
) -> Result<Vec<u8>, ImportError> {
    let path = blob_path(&descriptor.digest);
    let bytes = source.described(descriptor, limit)?.ok_or(ImportError::Missing { path: path.clone() })?;
    check_size(&path, descriptor, bytes.len() as u64)?;
    check_digest(&path, &descriptor.digest, Digest::of(&bytes))?;
    Ok(bytes)
}

/// Makes the layer that `descriptor` names a blob of the store, checked against it.
pub(crate) fn described_blob(source: &dyn Source, descriptor: &Descriptor) -> Result<Stored, ImportError> {
    let path = blob_path(&descriptor.digest);
    if !descriptor.media_type.is_layer() {
        return Err(unsupported(path, &descriptor.media_type));
    }
    let stored = source.blob(&path)?.ok_or(ImportError::Missing { path: path.clone() })?;
    check_size(&path, descriptor, stored.size)?;
    check_digest(&path, &descriptor.digest, stored.digest)?;
    Ok(stored)
}

pub(crate) fn unsupported(path: String, media_type: &MediaType) -> ImportError {
    ImportError::UnsupportedMediaType { path, media_type: media_type.as_str().to_owned() }
}

pub(crate) fn check_digest(path: &str, expected: &Digest, found: Digest) -> Result<(), ImportError> {
    if found == *expected {
        return Ok(());
    }
    Err(ImportError::DigestMismatch { path: path.to_owned(), expected: *expected, found })
}

fn check_size(path: &str, descriptor: &Descriptor, found: u64) -> Result<(), ImportError> {
    if found == descriptor.size {
        return Ok(());
    }
    Err(ImportError::SizeMismatch { path: path.to_owned(), expected: descriptor.size, found })
}
