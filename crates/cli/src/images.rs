//! Where the images are that a build names.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use clap::ValueEnum;
use lbuild_builder::ImageSource;
use lbuild_importer::{ImportError, LocalImage};
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::Platform;

use crate::failure::Failure;

/// A place where images without a transport in their names are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Place {
    /// lbuild's own store
    Store,
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
    /// Looks into `places`, in their order.
    ///
    /// # Errors
    /// A `DOCKER_HOST` that is needed and cannot be used.
    pub fn new(places: &[Place]) -> Result<Self, Failure> {
        let host = std::env::var("DOCKER_HOST").ok();
        let docker = match lbuild_docker::socket(host.as_deref()) {
            Ok(socket) => socket,
            Err(error) if places.contains(&Place::DockerDaemon) => return Err(error.into()),
            // Reaching it fails then, if an image's name asks for it.
            Err(error) => error.host.into(),
        };
        Ok(Self { places: places.to_vec(), docker })
    }

    fn in_place(&self, place: Place, store: &Store, name: &str, platform: &Platform) -> Found {
        let image = match place {
            Place::Store => return Ok(store.find(name)?),
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

impl ImageSource for Images {
    fn find(&self, store: &Store, name: &str, platform: &Platform) -> Found {
        if let Some(image) = LocalImage::parse(name).map_err(NotThere::Malformed)? {
            let found = image.import(store, &self.docker, platform)?;
            return Ok(Some(found.ok_or(NotThere::Missing(holder(&image)))?));
        }
        let mut other = None;
        for place in &self.places {
            match self.in_place(*place, store, name, platform)? {
                Some(image) if image.platform == *platform => return Ok(Some(image)),
                image => other = other.or(image),
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
            Self::DockerDaemon => "docker-daemon",
            Self::ContainersStorage => "containers-storage",
        })
    }
}
