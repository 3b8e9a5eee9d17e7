//! Which requests go through a proxy, as Go's programs read the environment.
//!
//! Source: <https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config>

use std::net::IpAddr;

use crate::endpoint::is_loopback;
use crate::environment::Environment;
use crate::url::{Scheme, Url, split_port};

/// The proxy's address for requests to `url`; `None` to go straight.
pub(crate) fn proxy_for<'a>(environment: &'a Environment, url: &Url) -> Option<&'a str> {
    let proxy = match url.scheme {
        Scheme::Http => &environment.http_proxy,
        Scheme::Https => &environment.https_proxy,
    };
    let proxy = proxy.as_deref()?;
    let goes_straight =
        is_loopback(&url.authority) || environment.no_proxy.split(',').any(|entry| fits(entry.trim(), url));
    (!goes_straight).then_some(proxy)
}

/// Whether an entry of `NO_PROXY` names the host of `url`.
fn fits(entry: &str, url: &Url) -> bool {
    if entry == "*" {
        return true;
    }
    let host = url.host();
    if let (Some((network, bits)), Ok(address)) = (entry.split_once('/'), host.parse::<IpAddr>()) {
        return network
            .parse()
            .is_ok_and(|network| in_network(address, network, bits.parse().unwrap_or(u32::MAX)));
    }
    let entry = entry.to_ascii_lowercase();
    let (name, port) = if entry.parse::<IpAddr>().is_ok() { (&*entry, None) } else { split_port(&entry) };
    if port.is_some_and(|port| port != url.port()) || name.is_empty() {
        return false;
    }
    let name = name.strip_prefix('*').unwrap_or(name);
    match name.strip_prefix('.') {
        Some(_) => host.ends_with(name),
        None => host == name || host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.')),
    }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (address, network, width) = match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) => {
            (u128::from(address.to_bits()), u128::from(network.to_bits()), 32)
        }
        (IpAddr::V6(address), IpAddr::V6(network)) => (address.to_bits(), network.to_bits(), 128),
        _ => return false,
    };
    bits <= width && (bits == 0 || (address ^ network) >> (width - bits) == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_is_read_as_go_reads_it() {
        for (entries, host, is_straight) in [
            ("", "a.io", false),
            ("*", "a.io", true),
            ("a.io", "a.io", true),
            ("a.io", "x.a.io", true),
            ("a.io", "ba.io", false),
            (".a.io", "a.io", false),
            (".a.io, b.io", "x.a.io", true),
            ("*.a.io", "x.a.io", true),
            ("A.IO", "a.io", true),
            ("a.io:5000", "a.io:5000", true),
            ("a.io:5000", "a.io", false),
            ("10.0.0.0/8", "10.1.2.3:5000", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.0/99", "10.1.2.3", false),
            ("", "localhost:5000", true),
            ("", "127.0.0.1:5000", true),
        ] {
            let environment = Environment {
                https_proxy: Some("http://proxy:3128".to_owned()),
                no_proxy: entries.to_owned(),
                ..Environment::default()
            };
            let url = Url::parse(&format!("https://{host}/")).unwrap();
            assert_eq!(proxy_for(&environment, &url).is_none(), is_straight, "{entries:?} {host}");
        }
    }

    #[test]
    fn each_scheme_has_its_own_proxy() {
        let environment =
            Environment { https_proxy: Some("http://proxy:3128".to_owned()), ..Environment::default() };
        let proxy = |url: &str| proxy_for(&environment, &Url::parse(url).unwrap());
        assert_eq!(proxy("https://a.io/"), Some("http://proxy:3128"));
        assert_eq!(proxy("http://a.io/"), None);
    }
}
