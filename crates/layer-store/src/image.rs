//! An image: what the store knows of one configuration.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use lbuild_oci::{DiffId, Digest, ImageConfig, Platform, Reference, json};
use serde::{Deserialize, Serialize};

use crate::error::OnPath;
use crate::lock::PATIENCE;
use crate::{Store, StoreError, record};

/// One image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The digest of the configuration.
    pub id: Digest,
    /// The layers, bottom first.
    pub layers: Vec<DiffId>,
    /// What the image runs on.
    pub platform: Platform,
    /// When it was made, RFC 3339, as its configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The manifest that it was pulled with, a blob of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The manifest's annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What the file of an image holds: the configuration must come back byte for byte.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredImage {
    pub image: ImageRecord,
    pub config: String,
}

impl Store {
    /// Keeps an image; what is pending is flushed first, so that no image lacks its layers.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`] if `config` is not the identity's, [`StoreError::InvalidImage`]
    /// if it is no configuration or lists other layers, [`StoreError::UnknownLayer`].
    pub fn put_image(&self, image: &ImageRecord, config: &[u8]) -> Result<(), StoreError> {
        check(image, config)?;
        for layer in &image.layers {
            self.known_layer(layer)?;
        }
        let invalid = |_| invalid(&image.id, "its configuration is not UTF-8");
        let config = String::from_utf8(config.to_vec()).map_err(invalid)?;
        self.hold(std::iter::once(&image.id).chain(&image.manifest))?;
        self.flush()?;
        let stored = StoredImage { image: image.clone(), config };
        record::write_synced(&self.staging, &self.layout.image(&image.id), &json::canonical(&stored))
    }

    /// What is known of an image.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn image(&self, id: &Digest) -> Result<Option<ImageRecord>, StoreError> {
        Ok(self.held_image(id)?.map(|stored| stored.image))
    }

    /// An image's configuration, parsed and as it was written.
    ///
    /// # Errors
    /// [`StoreError::UnknownImage`].
    pub fn image_config(&self, id: &Digest) -> Result<(ImageConfig, Vec<u8>), StoreError> {
        let stored = self.held_image(id)?.ok_or(StoreError::UnknownImage(*id))?;
        Ok((parse(id, stored.config.as_bytes())?, stored.config.into_bytes()))
    }

    /// All images with their names, in the order of their identities; names are sorted.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn images(&self) -> Result<Vec<(ImageRecord, Vec<Reference>)>, StoreError> {
        let mut names: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        for (name, id) in self.names()? {
            names.entry(id).or_default().push(name);
        }
        let mut images = Vec::new();
        for id in self.image_ids()? {
            // A list moves nothing away.
            if let Some(StoredImage { image, .. }) = record::read_json(&self.layout.image(&id))? {
                let mut names = names.remove(&id).unwrap_or_default();
                names.sort();
                images.push((image, names));
            }
        }
        Ok(images)
    }

    /// Removes an image and its names. Its layers stay until [`Store::prune`].
    ///
    /// # Errors
    /// [`StoreError::UnknownImage`], and [`StoreError::Mounted`] while [`Store::mount`] shows it.
    pub fn remove_image(&self, id: &Digest) -> Result<(), StoreError> {
        if self.mounted_images()?.contains(id) {
            return Err(StoreError::Mounted(*id));
        }
        // No name may be given to it meanwhile.
        let _alone = self.lock.exclusive(self.root(), PATIENCE)?;
        for (name, target) in self.names()? {
            if target == *id {
                self.untag(&name)?;
            }
        }
        let path = self.layout.image(id);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(StoreError::UnknownImage(*id)),
            result => result.on("remove", path),
        }
    }

    /// The identities of all images, sorted.
    pub(crate) fn image_ids(&self) -> Result<Vec<Digest>, StoreError> {
        let mut ids: Vec<Digest> = file_names(&self.layout.images())?
            .iter()
            .filter_map(|name| Digest::from_hex(name).ok())
            .collect();
        ids.sort();
        Ok(ids)
    }

    /// An image that stays, with all that it is made of, as long as this process lives.
    fn held_image(&self, id: &Digest) -> Result<Option<StoredImage>, StoreError> {
        let looking = self.looking()?;
        let stored = self.stored_image(id)?;
        if let Some(StoredImage { image, .. }) = &stored {
            looking.hold(id);
            image.layers.iter().for_each(|layer| looking.hold(layer.digest()));
        }
        Ok(stored)
    }

    fn stored_image(&self, id: &Digest) -> Result<Option<StoredImage>, StoreError> {
        self.read_json_record(&self.layout.image(id))
    }
}

/// The names in a directory of the store, in no order.
pub(crate) fn file_names(directory: &Path) -> Result<Vec<String>, StoreError> {
    std::fs::read_dir(directory)
        .on("read", directory)?
        .map(|entry| Ok(entry.on("read", directory)?.file_name().to_string_lossy().into_owned()))
        .collect()
}

/// Whether `config` is the image's.
pub(crate) fn check(image: &ImageRecord, config: &[u8]) -> Result<(), StoreError> {
    let actual = Digest::of(config);
    if actual != image.id {
        let what = "an image's configuration".to_owned();
        return Err(StoreError::DigestMismatch { what, expected: image.id, actual });
    }
    if parse(&image.id, config)?.rootfs.diff_ids != image.layers {
        return Err(invalid(&image.id, "its configuration lists other layers"));
    }
    Ok(())
}

fn parse(id: &Digest, config: &[u8]) -> Result<ImageConfig, StoreError> {
    serde_json::from_slice(config).map_err(|error| StoreError::InvalidImage {
        id: *id,
        reason: format!("its configuration cannot be read: {error}"),
    })
}

fn invalid(id: &Digest, reason: &str) -> StoreError {
    StoreError::InvalidImage { id: *id, reason: reason.to_owned() }
}
