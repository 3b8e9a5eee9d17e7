//! Bytes as they came from elsewhere, by their digest.

use std::collections::hash_map::Entry;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use lbuild_oci::{Digest, HasherBeside, lock};

use crate::error::OnPath;
use crate::{Store, StoreError};

const BUFFER_BYTES: usize = 128 << 10;

impl Store {
    /// Keeps what `reader` gives, under its digest; returns that and the number of bytes.
    ///
    /// A blob that is here already is replaced at the next [`Store::flush`]: the disk may have damaged
    /// it, and this one was just verified.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`] if it is not `expected`, and nothing is kept.
    pub fn write_blob(
        &self,
        reader: &mut dyn Read,
        expected: Option<&Digest>,
    ) -> Result<(Digest, u64), StoreError> {
        let (mut file, path) = self.staging.file()?;
        let result = copy(reader, &mut file, &path).and_then(|(actual, size)| match expected {
            Some(&expected) if expected != actual => {
                Err(StoreError::DigestMismatch { what: "the blob".to_owned(), expected, actual })
            }
            _ => Ok((actual, size)),
        });
        let (digest, size) = match result {
            Ok(result) => result,
            Err(error) => {
                // What cannot be removed now goes with the staging area.
                let _ = fs::remove_file(&path);
                return Err(error);
            }
        };
        self.keep_blob(digest, path)?;
        Ok((digest, size))
    }

    /// Takes the verified file `path` of the staging area as a blob.
    pub(crate) fn keep_blob(&self, digest: Digest, path: PathBuf) -> Result<(), StoreError> {
        self.hold([&digest])?;
        let mut pending = lock(&self.pending);
        match pending.blobs.entry(digest) {
            // A flush may be about to rename that one.
            Entry::Occupied(_) => fs::remove_file(&path).on("remove", path)?,
            Entry::Vacant(vacant) => {
                vacant.insert(path);
            }
        }
        Ok(())
    }

    /// Opens a blob. What is read may have been damaged on the disk: its digest tells.
    ///
    /// # Errors
    /// [`StoreError::UnknownBlob`].
    pub fn open_blob(&self, digest: &Digest) -> Result<File, StoreError> {
        let pending = lock(&self.pending);
        let path = pending.blobs.get(digest).cloned().unwrap_or_else(|| self.layout.blob(digest));
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::UnknownBlob(*digest)),
            result => result.on("open", path),
        }
    }

    /// Whether a blob is here.
    pub fn has_blob(&self, digest: &Digest) -> bool {
        lock(&self.pending).blobs.contains_key(digest) || self.layout.blob(digest).exists()
    }
}

fn copy(reader: &mut dyn Read, file: &mut File, path: &Path) -> Result<(Digest, u64), StoreError> {
    let mut hasher = HasherBeside::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                hasher.update(&buffer[..length]);
                file.write_all(&buffer[..length]).on("write", path)?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).on("receive", path),
        }
    }
    let size = hasher.written();
    Ok((hasher.finish(), size))
}
