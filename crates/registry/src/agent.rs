//! Connections: one agent of ureq for each host, since certificates and proxies depend on it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Proxy};

use crate::RegistryError;
use crate::endpoint::is_loopback;
use crate::environment::Environment;
use crate::proxy::proxy_for;
use crate::url::Url;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const IDLE_CONNECTIONS: usize = 8;
/// How many times longer than it may be silent a registry may take for what is small: the head of an answer, or a document.
const TIMES_SILENCE: u32 = 5;
/// Bytes of a connection's buffers: blobs are large.
const BUFFER_BYTES: usize = 128 << 10;

/// Where an agent may connect to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// Wherever the user said.
    Chosen,
    /// Where a registry sends us: never to link-local addresses, behind which clouds keep their
    /// machines' secrets, and to this machine only if the registry is there too.
    Sent { from_loopback: bool },
}

/// An agent for the host of `url`.
///
/// # Errors
/// [`RegistryError::File`] for a proxy that is none.
pub(crate) fn agent(
    environment: &Environment,
    url: &Url,
    tls: TlsConfig,
    reach: Reach,
) -> Result<Agent, RegistryError> {
    let proxy = proxy_for(environment, url).map(read_proxy).transpose()?;
    let silence = environment.silence();
    let config = Agent::config_builder()
        .tls_config(tls)
        .proxy(proxy)
        .timeout_connect(Some(CONNECT_TIMEOUT.min(silence)))
        .timeout_per_read(Some(silence))
        .timeout_per_write(Some(silence))
        .timeout_recv_response(Some(silence.saturating_mul(TIMES_SILENCE)))
        .max_redirects(0)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .max_idle_connections(IDLE_CONNECTIONS)
        .max_idle_connections_per_host(IDLE_CONNECTIONS)
        .input_buffer_size(BUFFER_BYTES)
        .output_buffer_size(BUFFER_BYTES)
        .user_agent(concat!("lbuild/", env!("CARGO_PKG_VERSION")))
        .build();
    Ok(Agent::with_parts(
        config,
        DefaultConnector::new(),
        Guarded { reach, inner: DefaultResolver::default() },
    ))
}

/// How long a document may take that comes byte by byte, never silent for too long.
pub(crate) fn document_time(agent: &Agent) -> Duration {
    agent.config().timeouts().recv_response.unwrap_or(Duration::MAX)
}

fn read_proxy(text: &str) -> Result<Proxy, RegistryError> {
    let address = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Proxy::new(&address).map_err(|_| RegistryError::File {
        path: "HTTPS_PROXY or HTTP_PROXY".to_owned(),
        // The address may hold a password.
        reason: "it is no address of a proxy: write http://HOST:PORT".to_owned(),
    })
}

/// Why a registry may not send us to `url`; `None` if it may. Names are looked at again when they are
/// resolved.
pub(crate) fn refusal(url: &Url, reach: Reach) -> Option<&'static str> {
    match (url.host().parse::<IpAddr>(), reach) {
        (Ok(address), _) => refused_address(address, reach),
        (Err(_), Reach::Sent { from_loopback: false }) if is_loopback(&url.authority) => Some(THIS_MACHINE),
        (Err(_), _) => None,
    }
}

const THIS_MACHINE: &str = "it is this machine";

fn refused_address(address: IpAddr, reach: Reach) -> Option<&'static str> {
    let Reach::Sent { from_loopback } = reach else { return None };
    let address = address.to_canonical();
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address == Ipv4Addr::new(100, 100, 100, 200),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)
        }
    };
    if is_link_local {
        return Some("it is where clouds keep the secrets of their machines");
    }
    let is_here = address.is_loopback() || address.is_unspecified();
    (is_here && !from_loopback).then_some(THIS_MACHINE)
}

/// Resolves names, and leaves out the addresses that may not be reached.
#[derive(Debug)]
struct Guarded {
    reach: Reach,
    inner: DefaultResolver,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        // The user chose the proxy, which may well be here; what it reaches, it looks up itself.
        if config.proxy().is_some_and(|proxy| proxy.uri() == uri) {
            return Ok(found);
        }
        let mut allowed = self.empty();
        let mut reason = "it has no address";
        for address in found.iter() {
            match refused_address(address.ip(), self.reach) {
                None => allowed.push(*address),
                Some(refused) => reason = refused,
            }
        }
        if allowed.is_empty() { Err(ureq::Error::Other(reason.into())) } else { Ok(allowed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_sends_us_to_no_machines_secrets() {
        for (url, from_remote, from_loopback) in [
            ("https://auth.docker.io/token", true, true),
            ("https://10.0.0.1/", true, true),
            ("https://169.254.169.254/latest/meta-data", false, false),
            ("http://[fe80::1]/", false, false),
            ("http://[::ffff:169.254.169.254]/", false, false),
            ("http://[fd00:ec2::254]/", false, false),
            ("http://100.100.100.200/", false, false),
            ("http://127.0.0.1:8080/", false, true),
            ("http://localhost/", false, true),
            ("http://0.0.0.0/", false, true),
        ] {
            let is_allowed =
                |from_loopback| refusal(&Url::parse(url).unwrap(), Reach::Sent { from_loopback }).is_none();
            assert_eq!(is_allowed(false), from_remote, "{url}");
            assert_eq!(is_allowed(true), from_loopback, "{url}");
            assert!(refusal(&Url::parse(url).unwrap(), Reach::Chosen).is_none());
        }
    }
}
