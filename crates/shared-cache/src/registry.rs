//! A cache in a registry: `type=registry`. Documents are tags of one repository.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::OnceLock;
use std::time::Duration;

use lbuild_layer_store::{Blob, BlobOrigin};
use lbuild_oci::MediaType;
use lbuild_registry::{Mounted, Repository, Version};

use crate::CacheError;
use crate::document::{EMPTY, empty_blob};
use crate::storage::{Listed, Storage};

/// A cache in a repository of a registry.
#[derive(Debug)]
pub struct RegistryStorage {
    repository: Repository,
    /// Whether the blob is there that every document names.
    has_empty: OnceLock<()>,
}

impl RegistryStorage {
    /// The cache in `repository`, which may have images besides.
    pub fn new(repository: Repository) -> Self {
        Self { repository, has_empty: OnceLock::new() }
    }

    /// Puts the blob that every document names, once.
    fn put_empty(&self) -> Result<(), CacheError> {
        if self.has_empty.get().is_none() {
            let blob = empty_blob();
            if !self.repository.has_blob(&blob.digest)? {
                self.repository.upload_blob(&blob.digest, blob.size, &mut || Ok(Box::new(EMPTY)))?;
            }
            let _ = self.has_empty.set(());
        }
        Ok(())
    }
}

impl Storage for RegistryStorage {
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        match self.repository.manifest(Version::Tag(name)) {
            Ok(manifest) => Ok(Some(manifest.bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn prepare(&self) -> Result<(), CacheError> {
        self.put_empty()
    }

    fn put_document(&self, name: &str, document: &[u8]) -> Result<(), CacheError> {
        self.put_empty()?;
        self.repository.put_manifest(Version::Tag(name), MediaType::Manifest.as_str(), document)?;
        Ok(())
    }

    /// Many registries remove no tags, but manifests with all their tags: each of ours has one.
    fn remove_document(&self, name: &str) -> Result<(), CacheError> {
        let Some(digest) = self.repository.manifest_digest(Version::Tag(name))? else { return Ok(()) };
        match self.repository.delete(Version::Digest(&digest)) {
            Err(error) if error.is_not_found() => Ok(()),
            result => Ok(result?),
        }
    }

    fn documents(&self, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Listed>, CacheError> {
        let tags = self.repository.tags(is_wanted)?;
        Ok(tags.into_iter().map(|name| Listed { name, age: None }).collect())
    }

    fn has_blob(&self, blob: &Blob) -> Result<bool, CacheError> {
        Ok(self.repository.has_blob(&blob.digest)?)
    }

    fn take_blob(&self, blob: &Blob, from: &BlobOrigin) -> Result<bool, CacheError> {
        if from.registry != self.repository.registry() || from.repository == self.repository.path() {
            return Ok(false);
        }
        Ok(matches!(self.repository.mount(&blob.digest, &from.repository)?, Mounted::Done))
    }

    fn put_blob(&self, blob: &Blob, file: &File) -> Result<(), CacheError> {
        let mut open = || -> io::Result<Box<dyn Read>> {
            let mut file = file.try_clone()?;
            file.rewind()?;
            Ok(Box::new(file))
        };
        Ok(self.repository.upload_blob(&blob.digest, blob.size, &mut open)?)
    }

    fn blob(&self, blob: &Blob) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(self.repository.blob(&blob.digest, blob.size)))
    }

    fn sweep(&self, _: Duration) -> Result<u64, CacheError> {
        Ok(0)
    }

    fn source(&self) -> String {
        format!("registry:{}", self.repository.name())
    }

    fn origin(&self) -> Option<BlobOrigin> {
        let (registry, repository) = (self.repository.registry(), self.repository.path());
        Some(BlobOrigin { registry: registry.to_owned(), repository: repository.to_owned() })
    }
}
