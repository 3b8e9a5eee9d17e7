//! Names of images, and finding an image by what a person writes.

use std::io::ErrorKind;

use lbuild_oci::{Digest, Reference, json};
use serde::{Deserialize, Serialize};

use crate::error::OnPath;
use crate::image::file_names;
use crate::{ImageRecord, Store, StoreError, record};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    pub name: Reference,
    pub image: Digest,
}

impl Store {
    /// Gives `name` to an image; returns the image that had it until now.
    ///
    /// # Errors
    /// [`StoreError::UnknownImage`].
    pub fn tag(&self, name: &Reference, id: &Digest) -> Result<Option<Digest>, StoreError> {
        // Until it has its name, it is not removed.
        let _looking = self.looking()?;
        if self.image(id)?.is_none() {
            return Err(StoreError::UnknownImage(*id));
        }
        let previous = self.named(name)?;
        let stored = NameRecord { name: name.clone(), image: *id };
        record::write_synced(&self.staging, &self.layout.name(name), &json::canonical(&stored))?;
        Ok(previous)
    }

    /// Removes a name; the answer is whether it was there. The image stays.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn untag(&self, name: &Reference) -> Result<bool, StoreError> {
        let path = self.layout.name(name);
        match std::fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).on("remove", path),
        }
    }

    /// The image that `text` means: an identity, else a name, else the beginning of an identity, as
    /// Docker reads it.
    ///
    /// # Errors
    /// [`StoreError::Ambiguous`] if several identities begin so.
    pub fn find(&self, text: &str) -> Result<Option<ImageRecord>, StoreError> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if let Ok(id) = Digest::from_hex(hex) {
            return self.image(&id);
        }
        if let Ok(name) = text.parse::<Reference>()
            && let Some(id) = self.named(&name)?
        {
            return self.image(&id);
        }
        let is_prefix = !hex.is_empty() && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_prefix {
            return Ok(None);
        }
        let mut ids = self.image_ids()?;
        ids.retain(|id| id.hex().starts_with(hex));
        match ids[..] {
            [] => Ok(None),
            [id] => self.image(&id),
            _ => Err(StoreError::Ambiguous { text: text.to_owned(), count: ids.len() }),
        }
    }

    /// All names and the images that have them, in no order.
    pub(crate) fn names(&self) -> Result<Vec<(Reference, Digest)>, StoreError> {
        let directory = self.layout.names();
        let mut names = Vec::new();
        for file in file_names(&directory)? {
            let stored: Option<NameRecord> = record::read_json(&directory.join(file))?;
            names.extend(stored.map(|stored| (stored.name, stored.image)));
        }
        Ok(names)
    }

    fn named(&self, name: &Reference) -> Result<Option<Digest>, StoreError> {
        let stored: Option<NameRecord> = self.read_json_record(&self.layout.name(name))?;
        Ok(stored.map(|stored| stored.image))
    }
}
