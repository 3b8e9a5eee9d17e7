//! Addresses of HTTP, as far as a registry gives them.
//!
//! Source: RFC 3986, and RFC 9110, 4.3.1 for what makes two of them one origin.

use std::fmt;

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// An absolute address without credentials and fragment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Url {
    pub scheme: Scheme,
    /// Host and port, in lower case.
    pub authority: String,
    /// Path and query, from the first slash on.
    pub target: String,
}

impl Url {
    /// Reads an absolute address; `None` for another scheme, one with credentials, or none at all.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let is_valid = !authority.is_empty()
            && !authority.contains('@')
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\\"<>".contains(&byte));
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        is_valid.then(|| Self { scheme, authority: authority.to_ascii_lowercase(), target })
    }

    /// The address that `location` stands for in an answer from this one.
    pub fn join(&self, location: &str) -> Option<Self> {
        let text = if let Some(rest) = location.strip_prefix("//") {
            format!("{}://{rest}", self.scheme)
        } else if location.starts_with('/') {
            format!("{}://{}{location}", self.scheme, self.authority)
        } else if location.contains("://") {
            location.to_owned()
        } else {
            let path = self.target.split('?').next().unwrap_or_default();
            let folder = &path[..=path.rfind('/').unwrap_or(0)];
            format!("{}://{}{folder}{location}", self.scheme, self.authority)
        };
        Self::parse(&text)
    }

    /// The same with one more parameter, whose value is encoded.
    pub fn with_query(mut self, key: &str, value: &str) -> Self {
        self.target.push(if self.target.contains('?') { '&' } else { '?' });
        self.target.push_str(key);
        self.target.push('=');
        self.target.push_str(&encoded(value));
        self
    }

    /// Whether both are at one scheme, host and port: what credentials are for.
    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host() == other.host() && self.port() == other.port()
    }

    /// The host without port and brackets.
    pub fn host(&self) -> &str {
        split_port(&self.authority).0
    }

    /// The port, also where it is the scheme's usual one.
    pub fn port(&self) -> u16 {
        split_port(&self.authority).1.unwrap_or(match self.scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        })
    }
}

/// Splits `HOST:PORT`; an IPv6 address loses its brackets.
pub(crate) fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, rest)) => (host, rest.strip_prefix(':').and_then(|port| port.parse().ok())),
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (authority, None),
        },
    }
}

/// Percent-encodes all but RFC 3986's unreserved characters, `:` and `/`.
pub(crate) fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_credentials_are_read() {
        for (text, expected) in [
            ("https://Example.COM", Some("https://example.com/")),
            ("http://127.0.0.1:5000/v2/?a=b#c", Some("http://127.0.0.1:5000/v2/?a=b")),
            ("https://host?x=1", Some("https://host/?x=1")),
            ("https://user:secret@host/", None),
            ("ftp://host/", None),
            ("file:///etc/passwd", None),
            ("https:///x", None),
            ("https://host/a b", None),
            ("https://host/\n", None),
            ("host/path", None),
        ] {
            assert_eq!(Url::parse(text).map(|url| url.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn locations_are_relative_to_the_address_they_come_from() {
        let base = Url::parse("https://a.io:8443/v2/app/blobs/uploads/?digest=x").unwrap();
        for (location, expected) in [
            ("/v2/x?_state=y", "https://a.io:8443/v2/x?_state=y"),
            ("https://b.io/y", "https://b.io/y"),
            ("//c.io/z", "https://c.io/z"),
            ("id", "https://a.io:8443/v2/app/blobs/uploads/id"),
        ] {
            assert_eq!(base.join(location).unwrap().to_string(), expected, "{location}");
        }
        assert_eq!(base.join("ftp://b.io/"), None);
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let url = |text| Url::parse(text).unwrap();
        let base = url("https://a.io/x");
        for (other, expected) in [
            ("https://A.io:443/y", true),
            ("http://a.io/x", false),
            ("https://a.io:444/x", false),
            ("https://b.a.io/x", false),
        ] {
            assert_eq!(base.is_same_origin(&url(other)), expected, "{other}");
        }
        assert_eq!(url("http://[::1]:5000/").host(), "::1");
        assert_eq!(url("http://[::1]:5000/").port(), 5000);
    }

    #[test]
    fn values_of_parameters_are_encoded() {
        let url = Url::parse("https://a.io/token").unwrap();
        let url = url.with_query("scope", "repository:a/b:pull,push").with_query("service", "a b&c");
        assert_eq!(url.to_string(), "https://a.io/token?scope=repository:a/b:pull%2Cpush&service=a%20b%26c");
    }
}
