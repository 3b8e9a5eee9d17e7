//! Ports of EXPOSE: `80`, `80/udp`, `8000-8010`, and what should not be there, `127.0.0.1:80:80`.

use std::net::IpAddr;

/// Ports that one word of EXPOSE names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// The first port.
    pub first: u16,
    /// The last port.
    pub last: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: &'static str,
    /// The protocol is not written in lower case.
    pub odd_casing: bool,
    /// There is an address or a port of the host, which EXPOSE ignores.
    pub has_host: bool,
}

/// Why a word names no ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExposeError {
    /// Nothing before `/`.
    #[error("invalid port: \"{0}\": no port specified")]
    NoPort(String),
    /// Neither TCP, UDP nor SCTP.
    #[error("invalid port: \"{port}\": invalid proto: {protocol}")]
    Protocol {
        /// The word.
        port: String,
        /// What stands behind `/`.
        protocol: String,
    },
    /// What stands before the ports is no IP address.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// No port, or no range of ports.
    #[error("invalid containerPort: {0}")]
    ContainerPort(String),
    /// No port of the host.
    #[error("invalid hostPort: {0}")]
    HostPort(String),
    /// As many ports of the host as of the container must be named.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// Ports of the container.
        container: String,
        /// Ports of the host.
        host: String,
    },
}

impl Ports {
    /// Reads an expanded word of EXPOSE.
    ///
    /// # Errors
    /// [`ExposeError`].
    pub fn parse(word: &str) -> Result<Self, ExposeError> {
        let (address, host, container) = split(word);
        let (container, protocol) = container.split_once('/').unwrap_or((container, ""));
        if container.is_empty() {
            return Err(ExposeError::NoPort(word.to_owned()));
        }
        let known = match protocol.to_lowercase().as_str() {
            "" | "tcp" => "tcp",
            "udp" => "udp",
            "sctp" => "sctp",
            _ => {
                let protocol = protocol.to_owned();
                return Err(ExposeError::Protocol { port: word.to_owned(), protocol });
            }
        };
        check_address(address)?;
        let invalid = || ExposeError::ContainerPort(container.to_owned());
        let (first, last) = range(container).ok_or_else(invalid)?;
        if !host.is_empty() {
            let (host_first, host_last) =
                range(host).ok_or_else(|| ExposeError::HostPort(host.to_owned()))?;
            if last != first && last - first != host_last - host_first {
                let (container, host) = (container.to_owned(), host.to_owned());
                return Err(ExposeError::Ranges { container, host });
            }
        }
        Ok(Self {
            first,
            last,
            protocol: known,
            odd_casing: protocol != protocol.to_lowercase(),
            has_host: !address.is_empty() || !host.is_empty(),
        })
    }

    /// `PORT/PROTOCOL` of each port, as the image's configuration keeps it.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let protocol = self.protocol;
        (self.first..=self.last).map(move |port| format!("{port}/{protocol}"))
    }
}

/// The host's address, the host's port and the container's port.
fn split(word: &str) -> (&str, &str, &str) {
    let Some((rest, container)) = word.rsplit_once(':') else { return ("", "", word) };
    match rest.rsplit_once(':') {
        Some((address, host)) => (address, host, container),
        None => ("", rest, container),
    }
}

fn check_address(address: &str) -> Result<(), ExposeError> {
    let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if inner.is_empty() && address.is_empty() || inner.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(ExposeError::Address(address.to_owned()))
}

/// One port, or the first and the last one.
fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.parse::<u16>().ok();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read() {
        for (word, names, odd_casing, has_host) in [
            ("80", vec!["80/tcp"], false, false),
            ("80/", vec!["80/tcp"], false, false),
            ("80/UDP", vec!["80/udp"], true, false),
            ("80-82/sctp", vec!["80/sctp", "81/sctp", "82/sctp"], false, false),
            ("80-80", vec!["80/tcp"], false, false),
            ("8080:80", vec!["80/tcp"], false, true),
            ("8080-8081:80", vec!["80/tcp"], false, true),
            ("127.0.0.1:8080:80", vec!["80/tcp"], false, true),
            ("127.0.0.1::80", vec!["80/tcp"], false, true),
            ("[::1]:8080:80", vec!["80/tcp"], false, true),
            ("::1:8080:80", vec!["80/tcp"], false, true),
        ] {
            let ports = Ports::parse(word).unwrap();
            assert_eq!(ports.names().collect::<Vec<_>>(), names, "{word}");
            assert_eq!((ports.odd_casing, ports.has_host), (odd_casing, has_host), "{word}");
        }
    }

    #[test]
    fn other_words_are_refused() {
        for (word, message) in [
            ("", "invalid port: \"\": no port specified"),
            ("/tcp", "invalid port: \"/tcp\": no port specified"),
            ("80/foo", "invalid port: \"80/foo\": invalid proto: foo"),
            ("http", "invalid containerPort: http"),
            ("65536", "invalid containerPort: 65536"),
            ("90-80", "invalid containerPort: 90-80"),
            ("80-", "invalid containerPort: 80-"),
            ("host:1:80", "invalid IP address: host"),
            ("[]:1:80", "invalid IP address: []"),
            ("x:80", "invalid hostPort: x"),
            ("1-3:80-81", "invalid ranges specified for container and host Ports: 80-81 and 1-3"),
        ] {
            assert_eq!(Ports::parse(word).unwrap_err().to_string(), message);
        }
    }
}
