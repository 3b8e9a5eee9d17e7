//! Registries: the OCI distribution protocol as a client.
//!
//! A [`Client`] knows the machine's configuration and credentials and what it learnt of hosts; it
//! gives a [`Repository`] for an image's name. A repository has manifests ([`Repository::manifest`],
//! [`Repository::put_manifest`]) and blobs, which are read as a verified stream ([`BlobReader`]) and
//! written in one piece or as they come to be ([`Upload`]).
//!
//! Whatever passes by itself is tried again: broken connections go on where they broke, overloaded
//! registries are given the time that they ask for. Credentials go to the registry and to the token
//! server that it names, to nobody else.
//!
//! ```no_run
//! use lbuild_registry::{Client, RegistryError, Version};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new(|| false)?;
//! let repository = client.repository(&"debian:12".parse()?)?;
//! let manifest = repository.manifest(Version::Tag("12"))?;
//! # Ok(())
//! # }
//! ```
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md>

mod agent;
mod answer;
mod auth_file;
mod blob;
mod call;
mod certificates;
mod challenge;
mod client;
mod config;
mod credentials;
mod endpoint;
mod environment;
mod error;
mod helper;
mod host;
mod login;
mod manifest;
mod proxy;
mod repository;
mod retry;
mod text;
mod token;
mod upload;
mod url;

pub use blob::{BlobReader, FoundBlob};
pub use client::Client;
pub use config::Configuration;
pub use credentials::Credentials;
pub use endpoint::Endpoint;
pub use environment::Environment;
pub use error::RegistryError;
pub use login::Kept;
pub use manifest::Manifest;
pub use repository::{Repository, Version};
pub use upload::{Mounted, Upload};
