//! The image configuration, with the fields that Docker adds to the OCI's.
//!
//! `oci_spec`'s own type has no room for `Healthcheck`, `OnBuild` and `Shell`, which every builder
//! writes, and would drop what it does not know; here unknown fields of a base image survive.
//!
//! Source: <https://github.com/opencontainers/image-spec/blob/main/config.md> and
//! <https://github.com/moby/docker-image-spec>

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{DiffId, Platform};

/// An image's configuration document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImageConfig {
    /// When the image was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it (MAINTAINER).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The processor, in Go's names.
    pub architecture: String,
    /// The operating system.
    pub os: String,
    /// The processor's variant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// What a container starts with.
    #[serde(default, deserialize_with = "null_is_default")]
    pub config: Config,
    /// The layers.
    pub rootfs: RootFs,
    /// How each layer came to be, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub history: Vec<History>,
    /// Fields that this project does not interpret.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What a container starts with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Config {
    /// User and group, by name or number.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub user: String,
    /// Ports, as `80/tcp`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub exposed_ports: BTreeMap<String, Value>,
    /// Environment, as `NAME=VALUE`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub env: Vec<String>,
    /// The program; `None` and empty differ when a child image inherits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The default arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Vec<String>>,
    /// Whether the command is already escaped (Windows).
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_default")]
    pub args_escaped: bool,
    /// Paths that get a volume.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub volumes: BTreeMap<String, Value>,
    /// The working directory.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub working_dir: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_is_default")]
    pub labels: BTreeMap<String, String>,
    /// Instructions that run in a build from this image.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub on_build: Vec<String>,
    /// The signal that ends a container.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_is_default")]
    pub stop_signal: String,
    /// How to see whether a container works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// The shell of RUN, CMD and ENTRYPOINT in their shell form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<Vec<String>>,
    /// Fields that this project does not interpret.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// A HEALTHCHECK. Times are in nanoseconds; absent means "as the runtime's default".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", command]`; empty inherits the base's.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_is_default")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<i64>,
    /// How long one check may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// While failures do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<i64>,
    /// Between two checks during the start period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_interval: Option<i64>,
    /// Failures in a row that make a container unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<i64>,
}

/// The layers of an image, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The layers' digests, uncompressed.
    #[serde(default, deserialize_with = "null_is_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One entry of an image's history.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The instruction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// MAINTAINER, as it stood then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Who wrote this entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether the instruction made no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_is_default")]
    pub empty_layer: bool,
    /// Fields that this project does not interpret.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

impl ImageConfig {
    /// The configuration of an image without layers.
    pub fn scratch(platform: &Platform) -> Self {
        Self {
            created: None,
            author: None,
            architecture: platform.architecture.clone(),
            os: platform.os.clone(),
            variant: platform.variant.clone(),
            config: Config::default(),
            rootfs: RootFs::default(),
            history: Vec::new(),
            extra: BTreeMap::new(),
        }
    }

    /// The platform that the image is for.
    pub fn platform(&self) -> Platform {
        Platform {
            os: self.os.clone(),
            architecture: self.architecture.clone(),
            variant: self.variant.clone(),
        }
    }
}

/// Go writes an empty list or map as `null`.
fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn what_the_project_does_not_know_survives() {
        let text = br#"{"architecture":"amd64","config":{"Env":null,"MacAddress":"x"},"os":"linux","os.version":"1","rootfs":{"diff_ids":[],"type":"layers"}}"#;
        let config: ImageConfig = serde_json::from_slice(text).unwrap();
        assert_eq!(
            json::canonical(&config),
            br#"{"architecture":"amd64","config":{"MacAddress":"x"},"os":"linux","os.version":"1","rootfs":{"diff_ids":[],"type":"layers"}}"#
        );
    }

    #[test]
    fn an_empty_entrypoint_differs_from_none() {
        let mut config = ImageConfig::scratch(&Platform::host());
        assert!(!String::from_utf8(json::canonical(&config)).unwrap().contains("Entrypoint"));
        config.config.entrypoint = Some(Vec::new());
        assert!(String::from_utf8(json::canonical(&config)).unwrap().contains(r#""Entrypoint":[]"#));
    }
}
