//! A repository of a registry as the source of an image's documents.

use lbuild_oci::MediaType;
use lbuild_registry::{Manifest, RegistryError, Repository, Version};

use crate::ImportError;
use crate::document::Descriptor;
use crate::source::{Source, Stored};

/// The documents of a repository.
pub(crate) struct RemoteSource<'a> {
    repository: &'a Repository,
    /// What the image's name stands for, which was fetched already.
    root: &'a Manifest,
}

impl<'a> RemoteSource<'a> {
    pub fn new(repository: &'a Repository, root: &'a Manifest) -> Self {
        Self { repository, root }
    }
}

impl Source for RemoteSource<'_> {
    /// A registry has no files.
    fn document(&self, _: &str, _: u64) -> Result<Option<Vec<u8>>, ImportError> {
        Ok(None)
    }

    fn described(&self, descriptor: &Descriptor, limit: u64) -> Result<Option<Vec<u8>>, ImportError> {
        if descriptor.digest == self.root.digest {
            return Ok(Some(self.root.bytes.clone()));
        }
        let found = match descriptor.media_type {
            MediaType::Manifest | MediaType::Index => {
                self.repository.manifest(Version::Digest(&descriptor.digest)).map(|found| found.bytes)
            }
            _ => self.repository.small_blob(&descriptor.digest, limit),
        };
        match found {
            Ok(bytes) => Ok(Some(bytes)),
            Err(RegistryError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn blob(&self, _: &str) -> Result<Option<Stored>, ImportError> {
        Ok(None)
    }

    fn not_an_image(&self) -> ImportError {
        ImportError::NotAnImage { reason: "the registry gives something else".to_owned() }
    }
}
