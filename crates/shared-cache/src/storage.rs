//! Where a shared cache is kept.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

use lbuild_layer_store::{Blob, BlobOrigin};

use crate::CacheError;

/// Small documents by name, and layers by digest; shared by any number of machines.
pub trait Storage: fmt::Debug + Send + Sync {
    /// The document `name`; `None` if there is none. It may be anything.
    ///
    /// # Errors
    /// [`CacheError`].
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError>;

    /// Makes all ready that documents need, so that putting one then is quick.
    ///
    /// # Errors
    /// [`CacheError`].
    fn prepare(&self) -> Result<(), CacheError> {
        Ok(())
    }

    /// Puts a document, which is an image manifest whose blobs are there, in the place of one of that
    /// name.
    ///
    /// # Errors
    /// [`CacheError`].
    fn put_document(&self, name: &str, document: &[u8]) -> Result<(), CacheError>;

    /// Removes a document.
    ///
    /// # Errors
    /// [`CacheError`].
    fn remove_document(&self, name: &str) -> Result<(), CacheError>;

    /// The names of documents for which `is_wanted`, with their ages where that is known without
    /// reading them.
    ///
    /// # Errors
    /// [`CacheError`].
    fn documents(&self, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Listed>, CacheError>;

    /// Whether a blob is there.
    ///
    /// # Errors
    /// [`CacheError`].
    fn has_blob(&self, blob: &Blob) -> Result<bool, CacheError>;

    /// Takes a blob from another repository without moving it, and says whether that could be done.
    ///
    /// # Errors
    /// [`CacheError`].
    fn take_blob(&self, _blob: &Blob, _from: &BlobOrigin) -> Result<bool, CacheError> {
        Ok(false)
    }

    /// Puts a blob, which `file` holds from its beginning.
    ///
    /// # Errors
    /// [`CacheError`].
    fn put_blob(&self, blob: &Blob, file: &File) -> Result<(), CacheError>;

    /// Reads a blob. What comes may be anything.
    ///
    /// # Errors
    /// As open(2).
    fn blob(&self, blob: &Blob) -> io::Result<Box<dyn Read>>;

    /// Removes blobs that no document names and that are older than `age`; returns how many. A registry
    /// does that by itself.
    ///
    /// # Errors
    /// [`CacheError`].
    fn sweep(&self, age: Duration) -> Result<u64, CacheError>;

    /// Where a layer's blob is, as [`Layer::sources`](lbuild_layer_store::Layer::sources) has it.
    fn source(&self) -> String;

    /// The repository that the blobs are in, if they are in one.
    fn origin(&self) -> Option<BlobOrigin> {
        None
    }
}

/// A document in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// How long ago it was written; `None`: it has to be read to know.
    pub age: Option<Duration>,
}
