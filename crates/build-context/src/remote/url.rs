//! As much of URLs as tells a git repository from a file, read as Go's `net/url` does.

/// The parts of `scheme://user@host/path?query#fragment`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Lower-case.
    pub scheme: String,
    /// What stands before the `@`, as written.
    pub user: Option<String>,
    /// With its port.
    pub host: String,
    /// With its slash, as written.
    pub path: String,
    /// Without its question mark, as written.
    pub query: String,
    /// Without its number sign, decoded.
    pub fragment: String,
}

impl Url {
    /// Reads a URL that has a scheme and a host; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains(|character: char| character.is_ascii_control()) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.chars().all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character));
        let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, authority),
        };
        if !is_scheme || !is_host(host) {
            return None;
        }
        decoded(path)?;
        Some(Self {
            scheme: scheme.to_lowercase(),
            user,
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            fragment: decoded(fragment)?,
        })
    }

    /// The URL without query and fragment.
    pub fn without_options(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        format!("{}://{user}{}{}", self.scheme, self.host, self.path.replace(' ', "%20"))
    }
}

/// The text with its `%XX` replaced; `None` if one is malformed or the result is not UTF-8.
pub(super) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = tail else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// The names and values of a query, decoded; what is malformed is left out.
pub(super) fn pairs(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| decoded(&text.replace('+', " "));
    query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.contains(';'))
        .filter_map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

/// A URL fit for messages and files: without a password, and without a name over HTTP, where a token
/// may stand.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let Some((user, host)) = authority.rsplit_once('@') else { return url.to_owned() };
    let name = user.split(':').next().unwrap_or_default();
    match scheme.to_lowercase().as_str() {
        "http" | "https" => format!("{scheme}://{host}{path}"),
        _ => format!("{scheme}://{name}@{host}{path}"),
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port),
        _ => (host, ""),
    };
    port.chars().all(|digit| digit.is_ascii_digit())
        && !name.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}', '%'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_parts() {
        let url = Url::parse("HTTPS://u:p@host.xz:8443/a%20b/c.git?ref=v1&x=y#main:sub").unwrap();
        assert_eq!(url.scheme, "https");
        assert_eq!(url.user.as_deref(), Some("u:p"));
        assert_eq!((url.host.as_str(), url.path.as_str()), ("host.xz:8443", "/a%20b/c.git"));
        assert_eq!((url.query.as_str(), url.fragment.as_str()), ("ref=v1&x=y", "main:sub"));
        assert_eq!(url.without_options(), "https://u:p@host.xz:8443/a%20b/c.git");
        assert!(Url::parse("http://[::1]:80/x").is_some());
    }

    #[test]
    fn what_go_refuses_is_no_url() {
        for text in
            ["host/path", "://x", "1s://x", "http://h:p/x", "http://h h/", "http://h/%zz", "http://h/\n"]
        {
            assert_eq!(Url::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_query_has_pairs() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs("a=1&b&c=x%2Fy+z&%zz=1"), [pair("a", "1"), pair("b", ""), pair("c", "x/y z")]);
        assert!(pairs("").is_empty());
    }

    #[test]
    fn credentials_are_not_shown() {
        for (url, expected) in [
            ("https://u:p@h/x", "https://h/x"),
            ("https://token@h/x", "https://h/x"),
            ("ssh://git:p@h/x", "ssh://git@h/x"),
            ("git@h:x", "git@h:x"),
            ("https://h/x@y", "https://h/x@y"),
        ] {
            assert_eq!(redacted(url), expected);
        }
    }
}
