//! Where the content of a repository is.

use std::net::IpAddr;

use crate::url::split_port;

/// One place that has a repository: the registry itself or a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Host and port, as the user or the configuration writes them.
    pub host: String,
    /// The repository's path there.
    pub repository: String,
    /// Whether the host may have a certificate of nobody, or speak plain HTTP.
    pub insecure: bool,
    /// Whether this is a copy of another registry.
    pub is_mirror: bool,
}

const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

impl Endpoint {
    /// The place of `repository` on `host`. Like Docker, this machine is trusted without TLS.
    pub fn new(host: &str, repository: &str) -> Self {
        Self {
            host: host.to_owned(),
            repository: repository.to_owned(),
            insecure: is_loopback(host),
            is_mirror: false,
        }
    }

    /// The host that answers for this one: Docker Hub's name is not where its registry is.
    pub(crate) fn authority(&self) -> &str {
        if self.host == HUB { HUB_HOST } else { &self.host }
    }
}

/// Whether a host is this machine.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let (host, _) = split_port(authority);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_trusted_without_tls() {
        for (host, expected) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("localhost.example.com", false),
            ("10.0.0.1:5000", false),
            ("docker.io", false),
        ] {
            assert_eq!(Endpoint::new(host, "app").insecure, expected, "{host}");
        }
    }

    #[test]
    fn docker_hub_answers_under_another_name() {
        assert_eq!(Endpoint::new("docker.io", "library/debian").authority(), "registry-1.docker.io");
        assert_eq!(Endpoint::new("ghcr.io", "a/b").authority(), "ghcr.io");
    }
}
