//! Images of containers-storage, which Podman, Buildah and CRI-O share, read where they lie.
//!
//! ```text
//! DRIVER-images/images.json            ids, names and top layers
//! DRIVER-images/ID/manifest            the manifest; other documents have their names in Base64
//! DRIVER-layers/layers.json            parents and DiffIDs
//! DRIVER-layers/ID.tar-split.gz        what a layer's tar has besides the files' contents
//! overlay/ID/diff, vfs/dir/ID          a layer's files
//! ```
//!
//! Source: <https://github.com/containers/storage/blob/main/docs/containers-storage.md>

use std::collections::HashMap;
use std::io::{self, BufReader};
use std::path::PathBuf;
use std::{env, fs};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lbuild_archive::{Limits as ArchiveLimits, decompress_within};
use lbuild_confined::Root;
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Digest, Reference};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::candidate::{Candidate, LayerFile};
use crate::document::{null_is_default, parse_json};
use crate::load::keep_all;
use crate::source::{self, Source, Stored};
use crate::tar_split::TarSplit;
use crate::{ImportError, Limits, LoadOptions, unchanged};

/// The configuration of root's storage.
const CONFIGURATION: &str = "/etc/containers/storage.conf";
const ROOTS_STORAGE: &str = "/var/lib/containers/storage";

/// Bytes of a list of images or layers.
const MAX_LIST: u64 = 256 << 20;

/// Drivers whose layers are folders of files.
const DRIVERS: [&str; 2] = ["overlay", "vfs"];

/// A storage's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageRoot {
    /// Its folder (graphroot).
    pub path: PathBuf,
    /// Its driver; `None`: the one whose images are there.
    pub driver: Option<String>,
}

impl StorageRoot {
    /// Splits `[DRIVER@ROOT+RUNROOT:OPTIONS]NAME`, whose bracket may be missing.
    pub(crate) fn split(text: &str) -> Result<(Option<Self>, &str), String> {
        let Some(rest) = text.strip_prefix('[') else { return Ok((None, text)) };
        let (place, name) = rest.split_once(']').ok_or_else(|| format!("{text}: a ] is missing"))?;
        let (driver, place) = match place.split_once('@') {
            Some((driver, place)) => (Some(driver.to_owned()), place),
            None => (None, place),
        };
        let path = place.split(['+', ':']).next().unwrap_or_default();
        if !path.starts_with('/') {
            return Err(format!("{text}: the storage's folder must be absolute"));
        }
        Ok((Some(Self { path: path.into(), driver }), name))
    }

    /// The storage of this user, as containers' own tools find it; `None` without a home.
    pub fn configured() -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let home = || env::var_os("HOME").map(PathBuf::from);
        let in_home = |variable: &str, folder: &str| {
            env::var_os(variable).map(PathBuf::from).or_else(|| Some(home()?.join(folder)))
        };
        let file = match env::var_os("CONTAINERS_STORAGE_CONF") {
            Some(file) => Some(file.into()),
            None if is_root => Some(CONFIGURATION.into()),
            None => {
                in_home("XDG_CONFIG_HOME", ".config").map(|folder| folder.join("containers/storage.conf"))
            }
        };
        let configured = file.and_then(|file: PathBuf| graph_root(&fs::read_to_string(file).ok()?));
        let default = || {
            if is_root {
                return Some(ROOTS_STORAGE.into());
            }
            Some(in_home("XDG_DATA_HOME", ".local/share")?.join("containers/storage"))
        };
        Some(Self { path: configured.or_else(default)?, driver: None })
    }
}

/// The folder that a `storage.conf` names.
fn graph_root(text: &str) -> Option<PathBuf> {
    let mut values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "graphroot").then(|| value.trim().trim_matches('"').to_owned())
    });
    values.next_back().filter(|path| path.starts_with('/')).map(PathBuf::from)
}

/// Brings the image `name` into the store; `None` if there is none of that name.
pub(crate) fn import(
    store: &Store,
    root: &StorageRoot,
    name: &str,
) -> Result<Option<ImageRecord>, ImportError> {
    let Some(storage) = Storage::open(store, root)? else { return Ok(None) };
    let Some(image) = storage.find(name)? else { return Ok(None) };
    if let Ok(id) = Digest::from_hex(&image.id)
        && let Some(known) = unchanged::record(store, &id)?
    {
        return Ok(Some(known));
    }
    let candidate = storage.candidate(&image)?;
    let options = LoadOptions { is_unnamed: true, ..LoadOptions::default() };
    let loaded = keep_all(store, &storage, vec![candidate], &options)?;
    let [image] = &loaded[..] else { return Err(ImportError::Unclear { count: loaded.len() }) };
    unchanged::record(store, &image.id)
}

#[derive(Debug, Clone, Deserialize)]
struct Image {
    id: String,
    #[serde(default, deserialize_with = "null_is_default")]
    digest: String,
    #[serde(default, deserialize_with = "null_is_default")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "null_is_default")]
    layer: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Layer {
    id: String,
    #[serde(default, deserialize_with = "null_is_default")]
    parent: String,
}

#[derive(Deserialize)]
struct Manifest {
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    digest: Digest,
}

struct Storage<'a> {
    store: &'a Store,
    root: Root,
    path: PathBuf,
    driver: &'static str,
}

impl<'a> Storage<'a> {
    /// `None` if there is no storage of a driver that can be read.
    fn open(store: &'a Store, place: &StorageRoot) -> Result<Option<Self>, ImportError> {
        let root = match Root::open(&place.path) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(ImportError::Read { path: place.path.display().to_string(), source });
            }
        };
        let driver = DRIVERS.into_iter().find(|driver| {
            place.driver.as_deref().is_none_or(|wanted| wanted == *driver)
                && root.stat(format!("{driver}-images/images.json")).is_ok()
        });
        Ok(driver.map(|driver| Self { store, root, path: place.path.clone(), driver }))
    }

    /// The image of a name, an id or the beginning of an id.
    fn find(&self, name: &str) -> Result<Option<Image>, ImportError> {
        let images: Vec<Image> = self.list("images")?;
        let wanted = Wanted::new(name);
        let found = images.iter().find(|image| wanted.is_named(image));
        if let Some(found) = found {
            return Ok(Some(found.clone()));
        }
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        if hex.is_empty() || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let mut begin_so = images.iter().filter(|image| image.id.starts_with(hex));
        Ok(match (begin_so.next(), begin_so.next()) {
            (Some(image), None) => Some(image.clone()),
            _ => None,
        })
    }

    fn candidate(&self, image: &Image) -> Result<Candidate, ImportError> {
        let limit = Limits::default().document;
        let path = self.document_path(image, "manifest");
        let manifest = self.needed(&path, limit)?;
        let manifest: Manifest = parse_json(&path, &manifest)?;
        let config = self.document_path(image, &manifest.config.digest.to_string());
        let bytes = self.needed(&config, limit)?;
        source::check_digest(&config, &manifest.config.digest, Digest::of(&bytes))?;
        let mut layers: Vec<LayerFile> = self.stack(&image.layer)?.into_iter().map(LayerFile::Path).collect();
        layers.reverse();
        Candidate::new(&config, bytes, layers)
    }

    /// The layers from `top` to the bottom.
    fn stack(&self, top: &str) -> Result<Vec<String>, ImportError> {
        let layers: Vec<Layer> = self.list("layers")?;
        let parents: HashMap<&str, &str> =
            layers.iter().map(|layer| (layer.id.as_str(), layer.parent.as_str())).collect();
        let mut stack = Vec::new();
        let mut id = top;
        while !id.is_empty() {
            let unknown = || ImportError::Missing { path: format!("layer {id}") };
            let parent = parents.get(id).ok_or_else(unknown)?;
            if stack.len() == parents.len() {
                let path = format!("{}-layers/layers.json", self.driver);
                return Err(ImportError::Invalid { path, reason: "its layers form a circle".to_owned() });
            }
            stack.push(id.to_owned());
            id = parent;
        }
        Ok(stack)
    }

    fn list<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, ImportError> {
        let path = format!("{}-{kind}/{kind}.json", self.driver);
        let bytes = self.needed(&path, MAX_LIST)?;
        parse_json(&path, &bytes)
    }

    fn needed(&self, path: &str, limit: u64) -> Result<Vec<u8>, ImportError> {
        self.document(path, limit)?.ok_or_else(|| ImportError::Missing { path: path.to_owned() })
    }

    /// Names that are more than letters and digits are written in Base64.
    fn document_path(&self, image: &Image, name: &str) -> String {
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let name = if is_plain { name.to_owned() } else { format!("={}", STANDARD.encode(name)) };
        format!("{}-images/{}/{name}", self.driver, image.id)
    }

    fn read_error(&self, path: &str, source: io::Error) -> ImportError {
        ImportError::Read { path: self.path.join(path).display().to_string(), source }
    }
}

impl Source for Storage<'_> {
    fn document(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ImportError> {
        source::document(&self.root, &self.path, path, limit)
    }

    /// The tar of the layer whose id is `path`.
    fn blob(&self, path: &str) -> Result<Option<Stored>, ImportError> {
        let name = format!("{}-layers/{path}.tar-split.gz", self.driver);
        let Some(packed) = self.document(&name, MAX_LIST)? else { return Ok(None) };
        let folder = match self.driver {
            "vfs" => format!("vfs/dir/{path}"),
            driver => format!("{driver}/{path}/diff"),
        };
        let files = self.root.subtree(&folder).map_err(|source| self.read_error(&folder, source))?;
        let limits = ArchiveLimits { ratio: Limits::default().ratio, ..ArchiveLimits::default() };
        let (_, lines) =
            decompress_within(&packed[..], &limits).map_err(|source| self.read_error(&name, source))?;
        let mut tar = TarSplit::new(BufReader::new(lines), files);
        Stored::keep(self.store, &format!("layer {path}"), &mut tar, None).map(Some)
    }

    fn not_an_image(&self) -> ImportError {
        ImportError::NotAnImage { reason: format!("{} holds no image", self.path.display()) }
    }
}

/// The names under which an image may be in the storage.
struct Wanted {
    names: Vec<String>,
    /// A repository and the digest of a manifest.
    digest: Option<(Vec<String>, String)>,
}

impl Wanted {
    /// A short name is one of `localhost/` first, as Podman names what it built.
    fn new(name: &str) -> Self {
        let Ok(reference) = name.parse::<Reference>() else {
            return Self { names: Vec::new(), digest: None };
        };
        let names = vec![format!("localhost/{}", reference.familiar()), reference.to_string()];
        let repositories =
            vec![format!("localhost/{}", reference.familiar_repository()), reference.repository()];
        let digest = name.split_once('@').map(|(_, digest)| (repositories, digest.to_owned()));
        Self { names, digest }
    }

    fn is_named(&self, image: &Image) -> bool {
        if let Some((repositories, digest)) = &self.digest {
            let repository =
                |name: &String| name.parse::<Reference>().ok().map(|reference| reference.repository());
            return image.digest == *digest
                && image.names.iter().filter_map(repository).any(|found| repositories.contains(&found));
        }
        image.names.iter().any(|name| self.names.contains(name))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn names_are_found_as_podman_writes_them() {
        let image = |names: &[&str]| Image {
            id: "1".into(),
            digest: "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            layer: String::new(),
        };
        let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for (wanted, name, expected) in [
            ("foo:1", "localhost/foo:1", true),
            ("foo", "localhost/foo:latest", true),
            ("foo", "docker.io/library/foo:latest", true),
            ("localhost/foo", "localhost/foo:latest", true),
            ("quay.io/a/b:2", "quay.io/a/b:2", true),
            ("foo:2", "localhost/foo:1", false),
            ("b:2", "quay.io/a/b:2", false),
            (&format!("quay.io/a/b@{digest}"), "quay.io/a/b:2", true),
            (&format!("quay.io/a/c@{digest}"), "quay.io/a/b:2", false),
        ] {
            assert_eq!(Wanted::new(wanted).is_named(&image(&[name])), expected, "{wanted} {name}");
        }
    }

    #[test]
    fn the_folder_is_read_from_the_configuration() {
        for (text, expected) in [
            ("[storage]\ndriver = \"overlay\"\ngraphroot = \"/var/x\"\n", Some("/var/x")),
            ("# graphroot = \"/var/x\"\n", None),
            ("graphroot=relative", None),
            ("", None),
        ] {
            assert_eq!(graph_root(text).as_deref(), expected.map(Path::new), "{text}");
        }
    }
}
