//! Fetches layers that the store knows and does not have, from where they are.

use std::io::{self, Read};
use std::sync::Mutex;

use lbuild_layer_store::{Blob, Fetcher};
use lbuild_oci::Reference;
use lbuild_registry::Client;
use lbuild_shared_cache::{Folder, Storage};

/// What begins the source of a layer in a registry, before the repository's name.
const REGISTRY: &str = "registry:";

/// Fetches from folders and registries. No registry is thought of before a layer is in one.
#[derive(Default)]
pub struct Fetch {
    client: Mutex<Option<Client>>,
}

impl Fetch {
    fn client(&self) -> io::Result<Client> {
        let mut client = self.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => {
                let new = Client::new(|| false).map_err(io::Error::other)?;
                Ok(client.insert(new).clone())
            }
        }
    }

    fn registry(&self, name: &str, blob: &Blob) -> io::Result<Box<dyn Read>> {
        let name: Reference = name.parse().map_err(io::Error::other)?;
        let repository = self.client()?.repository(&name).map_err(io::Error::other)?;
        Ok(Box::new(repository.blob(&blob.digest, blob.size)))
    }
}

impl Fetcher for Fetch {
    fn open(&self, source: &str, blob: &Blob) -> Option<io::Result<Box<dyn Read>>> {
        if let Some(name) = source.strip_prefix(REGISTRY) {
            return Some(self.registry(name, blob));
        }
        Some(Folder::of_source(source)?.blob(blob))
    }
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch").finish_non_exhaustive()
    }
}
