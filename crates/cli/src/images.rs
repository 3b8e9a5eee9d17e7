//! Where the images are that a build names.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use lbuild_builder::{Cancel, ImageSource};
use lbuild_importer::{ImportError, LocalImage};
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Platform, Reference};
use lbuild_registry::{Client, RegistryError};

use crate::args::Pull;
use crate::failure::Failure;
use crate::registry;

/// A place where images without a transport in their names are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// lbuild's own store
    Store,
    /// The registry that the name says
    Registry,
    /// The local Docker, at DOCKER_HOST
    DockerDaemon,
    /// The storage of Podman and Buildah
    ContainersStorage,
}

/// Finds images in the configured places, the first that has one for the platform.
#[derive(Debug)]
pub struct Images {
    places: Vec<Place>,
    docker: PathBuf,
    pull: Pull,
    cancel: Cancel,
    tells: bool,
    client: Mutex<Option<Client>>,
}

/// An image whose name says where it is, and that is not there.
#[derive(Debug, thiserror::Error)]
enum NotThere {
    #[error("{0}")]
    Malformed(String),
    #[error("there is no such image in {0}")]
    Missing(&'static str),
}

type Found = Result<Option<ImageRecord>, Box<dyn Error + Send + Sync>>;

impl Images {
    /// Looks into `places`, in their order; into the registry first, last or never as `pull` says.
    ///
    /// # Errors
    /// A `DOCKER_HOST` that is needed and cannot be used.
    pub fn new(places: &[Place], pull: Pull, cancel: &Cancel, tells: bool) -> Result<Self, Failure> {
        let host = std::env::var("DOCKER_HOST").ok();
        let docker = match lbuild_docker::socket(host.as_deref()) {
            Ok(socket) => socket,
            Err(error) if places.contains(&Place::DockerDaemon) => return Err(error.into()),
            // Reaching it fails then, if an image's name asks for it.
            Err(error) => error.host.into(),
        };
        let mut places = places.to_vec();
        match pull {
            Pull::Never => places.retain(|place| *place != Place::Registry),
            Pull::Missing => {}
            Pull::Always => places.sort_by_key(|place| *place != Place::Registry),
        }
        let cancel = cancel.clone();
        Ok(Self { places, docker, pull, cancel, tells, client: Mutex::default() })
    }

    fn in_place(&self, place: Place, store: &Store, name: &str, platform: &Platform) -> Found {
        let image = match place {
            Place::Store => return Ok(store.find(name)?),
            Place::Registry => return self.in_registry(store, name, platform),
            Place::DockerDaemon => LocalImage::DockerDaemon(name.to_owned()),
            Place::ContainersStorage => LocalImage::ContainersStorage { root: None, name: name.to_owned() },
        };
        match image.import(store, &self.docker, platform) {
            // A machine without Docker has no images in it.
            Err(ImportError::DockerUnreachable { source, .. }) if is_absent(&source) => Ok(None),
            result => Ok(result?),
        }
    }
}

impl Images {
    /// The image of the registry that `name` says. Unless it is to be pulled always, the registry is asked
    /// only for what was not pulled before.
    fn in_registry(&self, store: &Store, name: &str, platform: &Platform) -> Found {
        let Ok(name) = name.parse::<Reference>() else { return Ok(None) };
        if self.pull != Pull::Always
            && let Some(known) = lbuild_importer::pulled(store, &name, Some(platform))
        {
            return Ok(Some(known));
        }
        let client = self.client()?;
        let pulled = registry::pull(store, &client, &name, Some(platform), false, true, self.tells)?;
        Ok(Some(pulled.image))
    }

    fn client(&self) -> Result<Client, RegistryError> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => Ok(client.insert(registry::client(Some(&self.cancel))?).clone()),
        }
    }
}

impl ImageSource for Images {
    fn find(&self, store: &Store, name: &str, platform: &Platform) -> Found {
        if let Some(image) = LocalImage::parse(name).map_err(NotThere::Malformed)? {
            let found = image.import(store, &self.docker, platform)?;
            return Ok(Some(found.ok_or(NotThere::Missing(holder(&image)))?));
        }
        let mut other = None;
        for place in &self.places {
            match self.in_place(*place, store, name, platform) {
                Ok(Some(image)) if image.platform == *platform => return Ok(Some(image)),
                Ok(image) => other = other.or(image),
                // What is here for another platform serves, if the build did not ask for one.
                Err(_) if other.is_some() && !self.cancel.is_cancelled() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(other)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn holder(image: &LocalImage) -> &'static str {
    match image {
        LocalImage::DockerDaemon(_) => "the local Docker",
        LocalImage::ContainersStorage { .. } => "containers-storage",
        LocalImage::Oci(_) => "the layout",
        LocalImage::OciArchive(_) | LocalImage::DockerArchive(_) => "the archive",
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store => "store",
            Self::Registry => "registry",
            Self::DockerDaemon => "docker-daemon",
            Self::ContainersStorage => "containers-storage",
        })
    }
}
