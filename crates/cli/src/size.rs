//! How large layers and images are.

use std::fmt;
use std::ops::Add;

use lbuild_layer_store::{ImageRecord, Layer, Store};
use lbuild_oci::{DiffId, MediaType};

use crate::failure::Failure;
use crate::units;

/// Bytes of layers.
///
/// A layer that still is in its registry counts with its compressed size, which its manifest tells: how long its
/// tar is shows when it is fetched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Size {
    uncompressed: u64,
    compressed: u64,
}

impl Size {
    /// Of all layers of an image.
    pub fn of_image(store: &Store, image: &ImageRecord) -> Result<Self, Failure> {
        let none = Ok(Self::default());
        image.layers.iter().fold(none, |size, layer| Ok(size? + Self::of_layer(store, layer)?))
    }

    /// Of a layer, 0 if it is not known.
    pub fn of_layer(store: &Store, layer: &DiffId) -> Result<Self, Failure> {
        Ok(store.layer(layer)?.as_ref().map_or_else(Self::default, Self::of))
    }

    fn of(layer: &Layer) -> Self {
        let uncompressed = |uncompressed| Self { uncompressed, compressed: 0 };
        match &layer.blob {
            Some(blob) if layer.size == 0 && blob.media_type == MediaType::Layer => uncompressed(blob.size),
            Some(blob) if layer.size == 0 => Self { uncompressed: 0, compressed: blob.size },
            _ => uncompressed(layer.size),
        }
    }

    /// All bytes.
    pub fn total(self) -> u64 {
        self.uncompressed.saturating_add(self.compressed)
    }

    /// How many of them are counted as they are compressed.
    pub fn compressed(self) -> u64 {
        self.compressed
    }
}

impl Add for Size {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            uncompressed: self.uncompressed.saturating_add(other.uncompressed),
            compressed: self.compressed.saturating_add(other.compressed),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (total, compressed) = (units::size(self.total()), units::size(self.compressed));
        match (self.uncompressed, self.compressed) {
            (_, 0) => f.write_str(&total),
            (0, _) => write!(f, "{compressed} compressed"),
            _ => write!(f, "{total} ({compressed} compressed)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use lbuild_layer_store::Blob;
    use lbuild_oci::Digest;

    use super::*;

    #[test]
    fn what_is_compressed_is_told() {
        let blob = |media_type| Blob { digest: Digest::of("blob"), size: 1000, media_type };
        let layer = |size, media_type| {
            Size::of(&Layer::imported(DiffId(Digest::of("layer")), size, blob(media_type)))
        };
        let (known, unknown) = (layer(5000, MediaType::LayerGzip), layer(0, MediaType::LayerGzip));
        for (size, text, bytes) in [
            (known, "5.0 kB", (5000, 0)),
            (unknown, "1.0 kB compressed", (1000, 1000)),
            (known + unknown, "6.0 kB (1.0 kB compressed)", (6000, 1000)),
            (layer(0, MediaType::Layer), "1.0 kB", (1000, 0)),
            (Size::default(), "0 B", (0, 0)),
        ] {
            assert_eq!((size.to_string(), (size.total(), size.compressed())), (text.to_owned(), bytes));
        }
    }
}
