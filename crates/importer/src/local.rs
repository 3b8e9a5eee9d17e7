//! Images of this machine, named with where they are: `docker-daemon:debian:12`, `oci:folder:tag`.
//!
//! The prefixes are those of skopeo, Podman and Buildah. An image that did not change since it was
//! brought in is not read again.
//!
//! Source: <https://github.com/containers/image/blob/main/docs/containers-transports.5.md>

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::Platform;
use rustix::fs::OFlags;
use serde_json::{Value, json};

use crate::containers_storage::{self, StorageRoot};
use crate::{ImportError, LoadOptions, daemon, load, load_layout, unchanged};

/// An image of this machine, by its transport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalImage {
    /// Of a local Docker: a name or an id.
    DockerDaemon(String),
    /// Of Podman's, Buildah's and CRI-O's storage: a name or an id.
    ContainersStorage {
        /// Where the storage is, unless it is the configured one.
        root: Option<StorageRoot>,
        /// A name or an id.
        name: String,
    },
    /// Of an OCI layout's folder.
    Oci(ImageInPath),
    /// Of an OCI layout in an archive.
    OciArchive(ImageInPath),
    /// Of an archive as `docker save` writes it.
    DockerArchive(ImageInPath),
}

/// An image in a file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInPath {
    /// The file or the folder.
    pub path: PathBuf,
    /// The image's tag, name or digest, where there are several.
    pub image: Option<String>,
}

impl LocalImage {
    /// Reads a name with a transport; `None` for any other name.
    ///
    /// # Errors
    /// What is wrong with the rest of the name.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let Some((transport, rest)) = text.split_once(':') else { return Ok(None) };
        let named = |name: &str| match name {
            "" => Err(format!("{text}: a name is missing after {transport}:")),
            name => Ok(name.to_owned()),
        };
        Ok(Some(match transport {
            "docker-daemon" => Self::DockerDaemon(named(rest)?),
            "containers-storage" => {
                let (root, name) = StorageRoot::split(rest)?;
                Self::ContainersStorage { root, name: named(name)? }
            }
            "oci" => Self::Oci(ImageInPath::parse(&named(rest)?)),
            "oci-archive" => Self::OciArchive(ImageInPath::parse(&named(rest)?)),
            "docker-archive" => Self::DockerArchive(ImageInPath::parse(&named(rest)?)),
            _ => return Ok(None),
        }))
    }

    /// Brings the image into the store, without a name; `None` if there is none of that name.
    ///
    /// # Errors
    /// [`ImportError`].
    pub fn import(
        &self,
        store: &Store,
        docker: &Path,
        platform: &Platform,
    ) -> Result<Option<ImageRecord>, ImportError> {
        match self {
            Self::DockerDaemon(name) => daemon::import(store, docker, name),
            Self::ContainersStorage { root, name } => {
                let root = match root {
                    Some(root) => Some(root.clone()),
                    None => StorageRoot::configured(),
                };
                root.map_or(Ok(None), |root| containers_storage::import(store, &root, name))
            }
            Self::Oci(image) => {
                image.import(store, platform, "oci", &image.path.join("index.json"), |options| {
                    load_layout(store, &image.path, options)
                })
            }
            Self::OciArchive(image) | Self::DockerArchive(image) => {
                image.import(store, platform, "archive", &image.path, |options| {
                    let file = image.open().map_err(|source| image.unreadable(source))?;
                    load(store, file, options)
                })
            }
        }
    }
}

impl ImageInPath {
    /// `PATH`, `PATH:TAG` or `PATH@DIGEST`.
    pub fn parse(text: &str) -> Self {
        let new =
            |path: &str, image: Option<&str>| Self { path: path.into(), image: image.map(str::to_owned) };
        if let Some((path, digest)) =
            text.rsplit_once('@').filter(|(_, digest)| digest.starts_with("sha256:"))
        {
            return new(path, Some(digest));
        }
        // A path may hold colons, a name too: what comes before the name has to exist.
        match text.char_indices().filter(|(_, c)| *c == ':').find(|(at, _)| Path::new(&text[..*at]).exists())
        {
            Some((at, _)) => new(&text[..at], Some(&text[at + 1..])),
            None => match text.rsplit_once(':') {
                Some((path, tag)) if !tag.contains('/') && !Path::new(text).exists() => new(path, Some(tag)),
                _ => new(text, None),
            },
        }
    }

    fn import(
        &self,
        store: &Store,
        platform: &Platform,
        form: &str,
        witness: &Path,
        load: impl FnOnce(&LoadOptions) -> Result<Vec<crate::Loaded>, ImportError>,
    ) -> Result<Option<ImageRecord>, ImportError> {
        let identity = self.identity(platform, form, witness)?;
        if let Some(known) = unchanged::image(store, &identity) {
            return Ok(Some(known));
        }
        let options = LoadOptions {
            platform: Some(platform.clone()),
            select: self.image.clone(),
            is_unnamed: true,
            ..LoadOptions::default()
        };
        let loaded = load(&options)?;
        let [image] = &loaded[..] else { return Err(ImportError::Unclear { count: loaded.len() }) };
        unchanged::remember(store, &identity, image);
        unchanged::record(store, &image.id)
    }

    /// What changes whenever the image may have changed.
    fn identity(&self, platform: &Platform, form: &str, witness: &Path) -> Result<Value, ImportError> {
        let file = fs::metadata(witness).map_err(|source| self.unreadable(source))?;
        Ok(json!({
            "form": form, "path": self.path, "image": self.image, "platform": platform.to_string(),
            "file": [file.dev(), file.ino(), file.size()],
            "times": [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()],
        }))
    }

    /// A Dockerfile may name anything: to open a FIFO would stop us for good, and a device does what it likes.
    fn open(&self) -> io::Result<File> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        match fs::metadata(&self.path)?.is_file() {
            true => File::options().read(true).custom_flags(flags).open(&self.path),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    fn unreadable(&self, source: io::Error) -> ImportError {
        ImportError::Read { path: self.path.display().to_string(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_told_from_names() {
        let file = |path: &str, image: Option<&str>| ImageInPath {
            path: path.into(),
            image: image.map(str::to_owned),
        };
        let storage = |root: Option<StorageRoot>, name: &str| LocalImage::ContainersStorage {
            root,
            name: name.to_owned(),
        };
        let root = |path: &str, driver: Option<&str>| StorageRoot {
            path: path.into(),
            driver: driver.map(str::to_owned),
        };
        for (text, expected) in [
            ("debian", None),
            ("debian:12", None),
            ("localhost:5000/a", None),
            ("docker-daemon:a/b:1", Some(LocalImage::DockerDaemon("a/b:1".into()))),
            ("containers-storage:a:1", Some(storage(None, "a:1"))),
            ("containers-storage:[vfs@/s+/run]a", Some(storage(Some(root("/s", Some("vfs"))), "a"))),
            ("containers-storage:[/s]a", Some(storage(Some(root("/s", None)), "a"))),
            ("oci:/no/such", Some(LocalImage::Oci(file("/no/such", None)))),
            ("oci:/no/such:1", Some(LocalImage::Oci(file("/no/such", Some("1"))))),
            ("oci:/tmp:a/b:1", Some(LocalImage::Oci(file("/tmp", Some("a/b:1"))))),
            ("oci-archive:/no:x/y.tar", Some(LocalImage::OciArchive(file("/no:x/y.tar", None)))),
            ("docker-archive:a.tar:b:1", Some(LocalImage::DockerArchive(file("a.tar:b", Some("1"))))),
        ] {
            assert_eq!(LocalImage::parse(text), Ok(expected), "{text}");
        }
        for text in ["docker-daemon:", "oci:", "containers-storage:[/s]", "containers-storage:[/s"] {
            assert!(LocalImage::parse(text).is_err(), "{text}");
        }
    }
}
