//! What this process was told by its environment: where files are, and by which proxy to go.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use crate::RegistryError;

/// Seconds that a registry may be silent, unless [`TIMEOUT`] says otherwise.
const SILENCE: u64 = 60;

/// The variable that says how many seconds a registry may be silent.
pub(crate) const TIMEOUT: &str = "LBUILD_REGISTRY_TIMEOUT";

/// The environment as far as registries depend on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// `CONTAINERS_REGISTRIES_CONF`: the only `registries.conf`.
    pub registries_conf: Option<PathBuf>,
    /// `REGISTRY_AUTH_FILE`: the only file with credentials.
    pub auth_file: Option<PathBuf>,
    /// `DOCKER_AUTH_CONFIG`: credentials as a text in the form of Docker's `config.json`.
    pub auth_config: Option<String>,
    /// `DOCKER_CONFIG`, or `.docker` in the home folder.
    pub docker_config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`, or `.config` in the home folder.
    pub config_home: Option<PathBuf>,
    /// `HTTPS_PROXY`, else `ALL_PROXY`.
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY`, else `ALL_PROXY`.
    pub http_proxy: Option<String>,
    /// `NO_PROXY`.
    pub no_proxy: String,
    /// How long a registry may be silent; zero for the usual time.
    pub silence: Duration,
}

impl Environment {
    /// That of this process.
    ///
    /// # Errors
    /// [`RegistryError::File`] for a time that is no number.
    pub fn of_process() -> Result<Self, RegistryError> {
        let path = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = path("HOME");
        let below_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let either = |name: &str| text(name).or_else(|| text(&name.to_ascii_lowercase()));
        let seconds = text(TIMEOUT).map(|text| text.parse().map_err(|_| no_seconds(&text))).transpose()?;
        Ok(Self {
            registries_conf: path("CONTAINERS_REGISTRIES_CONF"),
            auth_file: path("REGISTRY_AUTH_FILE"),
            auth_config: text("DOCKER_AUTH_CONFIG"),
            docker_config: path("DOCKER_CONFIG").or_else(|| below_home(".docker")),
            runtime_dir: path("XDG_RUNTIME_DIR"),
            config_home: path("XDG_CONFIG_HOME").or_else(|| below_home(".config")),
            https_proxy: either("HTTPS_PROXY").or_else(|| either("ALL_PROXY")),
            http_proxy: either("HTTP_PROXY").or_else(|| either("ALL_PROXY")),
            no_proxy: either("NO_PROXY").unwrap_or_default(),
            silence: Duration::from_secs(seconds.unwrap_or_default()),
        })
    }

    /// How long a registry may be silent.
    pub(crate) fn silence(&self) -> Duration {
        if self.silence.is_zero() { Duration::from_secs(SILENCE) } else { self.silence }
    }
}

fn no_seconds(text: &str) -> RegistryError {
    RegistryError::File { path: TIMEOUT.to_owned(), reason: format!("{text:?} is no number of seconds") }
}
