//! Fetches layers that the store knows and does not have, from where they are.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use lbuild_builder::Cancel;
use lbuild_layer_store::{Blob, Fetcher};
use lbuild_oci::{Reference, lock};
use lbuild_registry::Client;
use lbuild_shared_cache::{Folder, Storage};

use crate::{diagnostics, registry, units};

/// What begins the source of a layer in a registry, before the repository's name.
const REGISTRY: &str = "registry:";

/// How often people are told how far a layer is.
const NEWS: Duration = Duration::from_secs(5);

/// Tells people something, one line.
type Tell = dyn Fn(String) + Send + Sync;

/// Fetches from folders and registries. No registry is thought of before a layer is in one.
pub struct Fetch {
    client: Mutex<Option<Client>>,
    cancel: OnceLock<Cancel>,
    tell: Mutex<Arc<Tell>>,
}

impl Default for Fetch {
    fn default() -> Self {
        let tell = Mutex::new(Arc::new(|text: String| diagnostics::print(&text)) as Arc<Tell>);
        Self { client: Mutex::default(), cancel: OnceLock::new(), tell }
    }
}

impl Fetch {
    /// Fetches nothing more once `cancel` says so. To be called before the first layer is fetched.
    pub fn heed(&self, cancel: &Cancel) {
        // Of two, the first one counts: there is one build in a process.
        let _ = self.cancel.set(cancel.clone());
    }

    /// Says from now on with `tell` how far layers are.
    pub fn tell_with(&self, tell: impl Fn(String) + Send + Sync + 'static) {
        *lock(&self.tell) = Arc::new(tell);
    }

    fn client(&self) -> io::Result<Client> {
        let mut client = lock(&self.client);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => {
                let new = registry::client(self.cancel.get()).map_err(io::Error::other)?;
                Ok(client.insert(new).clone())
            }
        }
    }

    fn registry(&self, name: &str, blob: &Blob) -> io::Result<Box<dyn Read>> {
        let name: Reference = name.parse().map_err(io::Error::other)?;
        let repository = self.client()?.repository(&name).map_err(io::Error::other)?;
        Ok(Box::new(Told {
            inner: repository.blob(&blob.digest, blob.size),
            what: format!("fetching layer {} of {}", blob.digest.short(), name.familiar_repository()),
            done: 0,
            size: blob.size,
            told: Instant::now(),
            tell: Arc::clone(&lock(&self.tell)),
        }))
    }
}

impl Fetcher for Fetch {
    fn open(&self, source: &str, blob: &Blob) -> Option<io::Result<Box<dyn Read>>> {
        if let Some(name) = source.strip_prefix(REGISTRY) {
            return Some(self.registry(name, blob));
        }
        Some(Folder::of_source(source)?.blob(blob))
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.get().is_some_and(Cancel::is_cancelled)
    }

    fn waits(&self) {
        let tell = Arc::clone(&lock(&self.tell));
        tell("waiting for another lbuild that unpacks the same layers".to_owned());
    }
}

impl std::fmt::Debug for Fetch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetch").finish_non_exhaustive()
    }
}

/// A layer on its way, which tells how far it is if that takes long.
struct Told<R> {
    inner: R,
    what: String,
    /// Bytes that came, of `size`.
    done: u64,
    size: u64,
    told: Instant,
    tell: Arc<Tell>,
}

impl<R: Read> Read for Told<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.done += count as u64;
        if self.told.elapsed() >= NEWS && self.done < self.size {
            self.told = Instant::now();
            let (done, all) = (units::size(self.done), units::size(self.size));
            (self.tell)(format!("{}: {done} of {all}", self.what));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_takes_long_tells_how_far_it_is() {
        let said = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&said);
        let long_ago = Instant::now().checked_sub(NEWS).unwrap();
        let mut told = Told {
            inner: io::repeat(7).take(1_000_000),
            what: "fetching layer 0123 of app".to_owned(),
            done: 0,
            size: 1_000_000,
            told: long_ago,
            tell: Arc::new(move |text| heard.lock().unwrap().push(text)),
        };
        told.read_exact(&mut [0; 1000]).unwrap();
        told.read_exact(&mut [0; 1000]).unwrap();
        assert_eq!(*said.lock().unwrap(), ["fetching layer 0123 of app: 1.0 kB of 1.0 MB"]);
    }
}
