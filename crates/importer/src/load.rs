//! The import as a whole: read, choose, verify, record, name.

use std::io::Read;
use std::path::Path;

use lbuild_layer_store::Store;
use lbuild_oci::{DiffId, Digest, Platform, Reference};

use crate::archive::ArchiveSource;
use crate::candidate::{Candidate, Verified};
use crate::folder::FolderSource;
use crate::layer::VerifiedLayers;
use crate::source::Source;
use crate::{ImportError, docker, layout};

/// What to bring in, and under which names.
#[derive(Debug, Clone, Default)]
pub struct LoadOptions {
    /// Which image of several for different platforms; this machine's where it is `None`. An image
    /// that comes for one platform only is then taken whatever that is.
    pub platform: Option<Platform>,
    /// Takes only the image of this name, `org.opencontainers.image.ref.name` or manifest digest.
    pub select: Option<String>,
    /// Names to give to the image in place of those that it comes with.
    pub names: Vec<Reference>,
    /// Gives the image no name, whatever it comes with.
    pub is_unnamed: bool,
    /// What an image may cost.
    pub limits: Limits,
}

/// Bounds on what one image may cost, against archives that unpack to more than a disk holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an index, manifest or configuration.
    pub document: u64,
    /// Bytes of one layer, uncompressed.
    pub layer: u64,
    /// Uncompressed bytes of a layer for each byte of its blob; counts beyond the first 4 GiB.
    pub ratio: u64,
    /// Bounds on the archive itself.
    pub archive: lbuild_archive::Limits,
}

impl Default for Limits {
    fn default() -> Self {
        Self { document: 8 << 20, layer: 1 << 40, ratio: 2000, archive: lbuild_archive::Limits::default() }
    }
}

impl LoadOptions {
    /// The same, within what the store's user allows archives to cost, where that is not the default.
    fn within(&self, allowed: &lbuild_archive::Limits) -> Self {
        let usual = lbuild_archive::Limits::default();
        let mut options = self.clone();
        if *allowed != usual {
            options.limits.archive = *allowed;
        }
        if allowed.bytes != usual.bytes {
            options.limits.layer = allowed.bytes;
        }
        if allowed.ratio != usual.ratio {
            options.limits.ratio = allowed.ratio;
        }
        options
    }
}

/// An image that is now in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The digest of its configuration.
    pub id: Digest,
    /// The names that it was given.
    pub names: Vec<Reference>,
    /// What it runs on.
    pub platform: Platform,
    /// Its layers, bottom first.
    pub layers: Vec<DiffId>,
    /// Bytes of its layers, uncompressed.
    pub size: u64,
}

/// Brings the images of an archive into `store`: what `docker save` of any version, `buildah push`,
/// `skopeo copy` (`docker-archive:` and `oci-archive:`), BuildKit and kaniko write, compressed or
/// not. `reader` may be a pipe: it is read once, from the beginning to the end.
///
/// # Errors
/// [`ImportError`]. The store then has no new image and no new name, unless it was the store that
/// failed: that keeps images and names one after the other.
pub fn load(store: &Store, reader: impl Read, options: &LoadOptions) -> Result<Vec<Loaded>, ImportError> {
    let options = &options.within(store.archive_limits());
    let source = ArchiveSource::read(store, reader, &options.limits)?;
    load_source(store, &source, options)
}

/// Brings the images of the OCI layout folder `path` into `store`.
///
/// # Errors
/// As [`load`].
pub fn load_layout(store: &Store, path: &Path, options: &LoadOptions) -> Result<Vec<Loaded>, ImportError> {
    let options = &options.within(store.archive_limits());
    let source = FolderSource::open(store, path)?;
    load_source(store, &source, options)
}

fn load_source(
    store: &Store,
    source: &dyn Source,
    options: &LoadOptions,
) -> Result<Vec<Loaded>, ImportError> {
    let candidates = match layout::candidates(source, options)? {
        Some(candidates) => candidates,
        None => docker::candidates(source, options)?.ok_or_else(|| source.not_an_image())?,
    };
    keep_all(store, source, candidates, options)
}

/// Verifies candidates, records them and names them.
pub(crate) fn keep_all(
    store: &Store,
    source: &dyn Source,
    candidates: Vec<Candidate>,
    options: &LoadOptions,
) -> Result<Vec<Loaded>, ImportError> {
    if candidates.len() > 1 && !options.names.is_empty() {
        return Err(ImportError::SeveralImages { count: candidates.len() });
    }
    let mut verified = VerifiedLayers::new();
    let images = candidates
        .into_iter()
        .map(|candidate| candidate.verify(store, source, &options.limits, &mut verified))
        .collect::<Result<Vec<_>, _>>()?;
    record(store, images, options)
}

/// Records verified images, then names them.
pub(crate) fn record(
    store: &Store,
    images: Vec<Verified>,
    options: &LoadOptions,
) -> Result<Vec<Loaded>, ImportError> {
    let keep = |what: String| move |source| ImportError::Store { what, source };
    for image in &images {
        for layer in &image.layers {
            store.add_layer(layer).map_err(keep(format!("layer {}", layer.diff_id)))?;
        }
        store.put_image(&image.record(), &image.config_bytes).map_err(keep(format!("image {}", image.id)))?;
    }
    let mut loaded = Vec::new();
    for image in images {
        let names = match &options.names[..] {
            _ if options.is_unnamed => Vec::new(),
            [] => image.names.clone(),
            names => names.to_vec(),
        };
        for name in &names {
            store.tag(name, &image.id).map_err(keep(format!("the name {}", name.familiar())))?;
        }
        loaded.push(image.loaded(names));
    }
    Ok(loaded)
}
