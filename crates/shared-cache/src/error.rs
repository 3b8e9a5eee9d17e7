//! Why a shared cache could not be read or written.

use std::io;
use std::path::PathBuf;

use lbuild_exporter::ExportError;
use lbuild_layer_store::StoreError;
use lbuild_oci::Digest;
use lbuild_registry::RegistryError;

/// Why a shared cache could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// A file of a cache in a folder.
    #[error("cannot {action} {path}")]
    Io {
        /// `read`, `write` or `remove`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A layer that is to be written cannot be read.
    #[error("cannot read layer {layer}")]
    Layer {
        /// The layer's DiffID.
        layer: Digest,
        /// Why.
        source: Box<StoreError>,
    },
    /// A layer that is to be written cannot be compressed.
    #[error(transparent)]
    Compress(Box<ExportError>),
    /// A name that cannot be a namespace's.
    #[error(
        "{0:?} is no namespace: expected letters, digits, '_' and '-', beginning with a letter or digit, 48 at most"
    )]
    Namespace(String),
}

/// Says what was tried on which file when a system call fails.
pub(crate) trait OnPath<T> {
    fn on(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, CacheError>;
}

impl<T> OnPath<T> for io::Result<T> {
    fn on(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, CacheError> {
        self.map_err(|source| CacheError::Io { action, path: path.into(), source })
    }
}
