//! The image-spec's identities and documents, as types that cannot be wrong.
//!
//! A thin layer over [`oci_spec`]: digests, [`DiffId`] and [`ChainId`] are distinct types, image
//! references read as Docker reads them, and every document has one canonical JSON form
//! ([`json::canonical`]), since `oci_spec` keeps maps without a stable order.
//!
//! Source: <https://github.com/opencontainers/image-spec>

mod beside;
mod config;
mod digest;
pub mod json;
mod lock;
mod media;
mod platform;
mod reference;

pub use beside::HasherBeside;
pub use config::{Config, Healthcheck, History, ImageConfig, RootFs};
pub use digest::{ChainId, DiffId, Digest, DigestError, Hasher};
pub use lock::lock;
pub use media::MediaType;
pub use oci_spec::image as spec;
pub use platform::{Platform, PlatformError};
pub use reference::{Reference, ReferenceError};
