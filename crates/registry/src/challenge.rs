//! `WWW-Authenticate`: what a registry wants to see before it answers.
//!
//! Source: RFC 9110, 11.6.1, and <https://distribution.github.io/distribution/spec/auth/token/>

/// How to authenticate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// By a name and a password.
    Basic,
    /// By a token from another server.
    Bearer(Bearer),
}

/// Where tokens come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bearer {
    /// The token server's address.
    pub realm: String,
    /// What the token server calls this registry.
    pub service: Option<String>,
    /// What the refused request would have needed.
    pub scope: Option<String>,
}

impl Challenge {
    /// The challenge among `headers` that is answered best: a token before a password.
    pub fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut is_basic = false;
        for (scheme, parameters) in headers.flat_map(challenges) {
            if scheme.eq_ignore_ascii_case("bearer") {
                let mut bearer = Bearer::default();
                for (key, value) in parameters {
                    match key.to_ascii_lowercase().as_str() {
                        "realm" => bearer.realm = value,
                        "service" => bearer.service = Some(value),
                        "scope" => bearer.scope = Some(value),
                        _ => {}
                    }
                }
                return Some(Self::Bearer(bearer));
            }
            is_basic |= scheme.eq_ignore_ascii_case("basic");
        }
        is_basic.then_some(Self::Basic)
    }
}

type Parameters = Vec<(String, String)>;

/// The challenges of one header. What cannot be read ends the list.
fn challenges(header: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = header.trim_start_matches([' ', ',', '\t']);
    while !rest.is_empty() {
        let (word, after) = take_token(rest);
        if word.is_empty() {
            break;
        }
        match (after.trim_start().strip_prefix('='), found.last_mut()) {
            (Some(value), Some((_, parameters))) => {
                let (value, after) = take_value(value.trim_start());
                parameters.push((word.to_owned(), value));
                rest = after;
            }
            (Some(_), None) => break,
            (None, _) => {
                found.push((word.to_owned(), Vec::new()));
                rest = after;
            }
        }
        rest = rest.trim_start_matches([' ', ',', '\t']);
    }
    found
}

fn take_token(text: &str) -> (&str, &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// A quoted or bare value, and what follows.
fn take_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        Some(Challenge::Bearer(Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        }))
    }

    #[test]
    fn challenges_are_read_in_every_form() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
                bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull,push"),
                ),
            ),
            ("bearer realm=https://a.io/t , service = x", bearer("https://a.io/t", Some("x"), None)),
            (r#"Basic realm="x, y=\"z\"", Bearer realm="https://a""#, bearer("https://a", None, None)),
            (r#"Basic realm="Registry""#, Some(Challenge::Basic)),
            ("BASIC", Some(Challenge::Basic)),
            (r#"Bearer realm="no end"#, bearer("no end", None, None)),
            ("Negotiate", None),
            ("=", None),
            ("", None),
            ("\u{e9}", None),
        ] {
            assert_eq!(Challenge::choose([header].into_iter()), expected, "{header}");
        }
    }

    #[test]
    fn a_token_is_preferred_whatever_comes_first() {
        let headers = [r#"Basic realm="x""#, r#"Bearer realm="https://a""#];
        assert_eq!(Challenge::choose(headers.into_iter()), bearer("https://a", None, None));
    }
}
