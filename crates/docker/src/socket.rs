//! Where Docker listens.

use std::path::PathBuf;

const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// `DOCKER_HOST` names no Docker on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot use the Docker at {host:?}: only unix:// addresses are supported")]
pub struct HostError {
    /// The address.
    pub host: String,
}

/// The socket that `host`, the value of `DOCKER_HOST`, names; Docker's usual one without it.
///
/// # Errors
/// [`HostError`] if it is none on this machine.
pub fn socket(host: Option<&str>) -> Result<PathBuf, HostError> {
    let Some(host) = host.filter(|host| !host.is_empty()) else { return Ok(DEFAULT_SOCKET.into()) };
    match host.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err(HostError { host: host.to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_socket_is_where_docker_host_says() {
        for (host, expected) in [
            (None, Some("/var/run/docker.sock")),
            (Some(""), Some("/var/run/docker.sock")),
            (Some("unix:///run/user/1/docker.sock"), Some("/run/user/1/docker.sock")),
            (Some("unix://docker.sock"), None),
            (Some("tcp://127.0.0.1:2375"), None),
            (Some("ssh://build@host"), None),
        ] {
            assert_eq!(socket(host).ok().as_deref(), expected.map(Path::new), "{host:?}");
        }
    }
}
