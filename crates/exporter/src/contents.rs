//! What is written of one image, or of an image for several platforms.

use std::collections::HashSet;
use std::iter;

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Digest, Reference};
use serde_json::Value;

use crate::document::{self, Listed};
use crate::package::PackedLayer;
use crate::{ExportError, ExportOptions, MediaTypes, Package, Written};

/// The bytes of the manifest that an image is written with, or of the index of `images`, one for each
/// platform, and their digest.
///
/// # Errors
/// As [`Package::new`]; [`ExportError::NoImage`].
pub fn manifest(
    store: &Store,
    images: &[ImageRecord],
    options: &ExportOptions,
) -> Result<(Vec<u8>, Digest), ExportError> {
    let contents = Contents::new(store, images, options)?;
    let bytes = contents.index.unwrap_or_else(|| contents.first.manifest().to_vec());
    let digest = Digest::of(&bytes);
    Ok((bytes, digest))
}

/// The packages of an image, and the index that ties them together if there are several.
pub(crate) struct Contents<'a> {
    first: Package<'a>,
    others: Vec<Package<'a>>,
    index: Option<Vec<u8>>,
}

impl<'a> Contents<'a> {
    /// Finds or makes every blob of `images`, one for each platform.
    ///
    /// # Errors
    /// As [`Package::new`]; [`ExportError::NoImage`].
    pub fn new(
        store: &'a Store,
        images: &'a [ImageRecord],
        options: &ExportOptions,
    ) -> Result<Self, ExportError> {
        let (first, others) = images.split_first().ok_or(ExportError::NoImage)?;
        let first = Package::new(store, first, options)?;
        let others = others.iter().map(|image| Package::new(store, image, options));
        let mut contents = Self { first, others: others.collect::<Result<_, _>>()?, index: None };
        if !contents.others.is_empty() {
            let listed = contents.packages().map(|package| Listed {
                platform: &package.image().platform,
                digest: package.manifest_digest(),
                size: package.manifest().len() as u64,
            });
            let listed: Vec<_> = listed.collect();
            contents.index =
                Some(document::image_index(&listed, &options.index_annotations, MediaTypes::Oci));
        }
        Ok(contents)
    }

    fn packages(&self) -> impl Iterator<Item = &Package<'a>> {
        iter::once(&self.first).chain(&self.others)
    }

    /// The entries of a layout's own index: one for each name, or one without.
    pub fn entries(&self, names: &[Reference]) -> Vec<Value> {
        match &self.index {
            None => document::index_entries(self.first.image(), self.first.manifest(), names),
            Some(index) => document::entries_of_index(index, names),
        }
    }

    /// Configurations, manifests and the index, each once.
    pub fn documents(&self) -> impl Iterator<Item = (Digest, &[u8])> {
        let mut seen = HashSet::new();
        let of_packages = self.packages().flat_map(|package| [package.config(), package.manifest()]);
        let documents = of_packages.chain(self.index.as_deref());
        documents
            .map(|document| (Digest::of(document), document))
            .filter(move |(digest, _)| seen.insert(*digest))
    }

    /// The layers' blobs, each once, with the package that writes it.
    pub fn layers(&self) -> impl Iterator<Item = (&Package<'a>, &PackedLayer)> {
        let mut seen = HashSet::new();
        self.packages()
            .flat_map(|package| package.layers().iter().map(move |layer| (package, layer)))
            .filter(move |(_, layer)| seen.insert(layer.descriptor.digest))
    }

    /// What a writer of all this reports.
    pub fn written(&self) -> Written {
        let Some(index) = &self.index else { return self.first.written() };
        let documents: usize = self.documents().map(|(_, document)| document.len()).sum();
        let layers: u64 = self.layers().map(|(_, layer)| layer.descriptor.size).sum();
        Written {
            manifest: Digest::of(index),
            manifest_size: index.len() as u64,
            image: self.first.image().id,
            size: layers + documents as u64,
        }
    }
}
