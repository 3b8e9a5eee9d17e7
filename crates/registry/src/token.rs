//! Tokens: what a registry takes in place of credentials, for one purpose and some minutes.
//!
//! Source: <https://distribution.github.io/distribution/spec/auth/token/> and
//! <https://distribution.github.io/distribution/spec/auth/oauth/>

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::SendBody;
use ureq::http::{Method, Request};

use crate::RegistryError;
use crate::agent::{Reach, document_time, refusal};
use crate::answer::Answer;
use crate::challenge::Bearer;
use crate::client::Client;
use crate::credentials::Credentials;
use crate::host::Host;
use crate::url::{Scheme, Url, encoded};

/// Seconds that a token is good for where its server does not say.
const DEFAULT_LIFE: u64 = 60;
/// A token that ends so soon is not used any more.
const MARGIN: Duration = Duration::from_secs(5);
/// Bytes of a token server's answer.
const MAX_ANSWER: u64 = 1 << 20;

/// What a request is allowed to do: to read a repository, to write it, or to take layers from another.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Scope(Vec<String>);

impl Scope {
    /// Nothing in particular.
    pub fn none() -> Self {
        Self::default()
    }

    pub fn pull(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull")])
    }

    pub fn push(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push")])
    }

    pub fn delete(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push,delete")])
    }

    /// Also to read another repository.
    pub fn and_pull(mut self, repository: &str) -> Self {
        self.0.push(format!("repository:{repository}:pull"));
        self
    }
}

/// A token.
pub(crate) struct Token {
    /// The value of `Authorization`.
    pub authorization: String,
    /// When to stop using it.
    expires: Instant,
}

/// Shows nothing that is secret.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Granted {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Token {
    /// Whether it is still good.
    pub fn is_fresh(&self) -> bool {
        Instant::now() + MARGIN < self.expires
    }

    /// Gets a token from the server that `bearer` names.
    ///
    /// # Errors
    /// [`RegistryError::UnsafeAddress`] if that is at a place that no token server has; else as any
    /// request.
    pub fn fetch(
        client: &Client,
        host: &Host,
        bearer: &Bearer,
        scope: &Scope,
        credentials: Option<&Credentials>,
    ) -> Result<Self, RegistryError> {
        let realm = realm(host, bearer)?;
        let reach = if realm.is_same_origin(&host.base) { Reach::Chosen } else { host.reach() };
        let agent = client.agent(&realm, &[&realm.authority, &host.name], host.insecure, reach)?;
        let request = request(&realm, bearer, scope, credentials);
        let sent = request.map_err(ureq::Error::Http).and_then(|request| agent.run(request));
        let (parts, body) =
            sent.map_err(|source| RegistryError::connection(&agent, &realm.authority, source))?.into_parts();
        let answer = Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            time: document_time(&agent),
            url: realm.clone(),
            host: host.name.clone(),
            is_logged_in: credentials.is_some(),
        };
        let answer = answer.expect("a token", &[200])?.read("a token", MAX_ANSWER)?;
        Self::read(&answer).ok_or_else(|| RegistryError::Protocol {
            host: realm.authority.clone(),
            reason: "its answer holds no token".to_owned(),
        })
    }

    fn read(answer: &[u8]) -> Option<Self> {
        let granted: Granted = serde_json::from_slice(answer).ok()?;
        let given = |token: Option<String>| token.filter(|token| !token.is_empty());
        let token = given(granted.token).or(given(granted.access_token))?;
        let life = Duration::from_secs(granted.expires_in.unwrap_or(DEFAULT_LIFE).clamp(1, 24 * 3600));
        // One that lives for less than the margin is used for as long as it lives.
        let expires = Instant::now() + life.max(MARGIN + Duration::from_secs(1));
        token
            .bytes()
            .all(|byte| byte.is_ascii_graphic())
            .then(|| Self { authorization: format!("Bearer {token}"), expires })
    }
}

/// `Authorization` for a registry that wants a name and a password.
pub(crate) fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// The token server's address, if credentials may go there.
fn realm(host: &Host, bearer: &Bearer) -> Result<Url, RegistryError> {
    let refused = |reason| RegistryError::UnsafeAddress {
        host: host.name.clone(),
        to: crate::text::single_line(&bearer.realm),
        reason,
    };
    let url = host.base.join(&bearer.realm).filter(|_| !bearer.realm.is_empty());
    let url = url.ok_or_else(|| refused("it is no address of a token server"))?;
    if url.scheme == Scheme::Http && host.base.scheme == Scheme::Https && !host.insecure {
        return Err(refused("credentials are not sent without TLS"));
    }
    let reach = if url.is_same_origin(&host.base) { Reach::Chosen } else { host.reach() };
    match refusal(&url, reach) {
        Some(reason) => Err(refused(reason)),
        None => Ok(url),
    }
}

fn request(
    realm: &Url,
    bearer: &Bearer,
    scope: &Scope,
    credentials: Option<&Credentials>,
) -> Result<Request<SendBody<'static>>, ureq::http::Error> {
    let service = bearer.service.as_deref();
    if let Some(Credentials::IdentityToken(token)) = credentials {
        let mut form = "grant_type=refresh_token&client_id=lbuild".to_owned();
        let scopes = scope.0.join(" ");
        for (key, value) in [("service", service), ("scope", Some(&*scopes)), ("refresh_token", Some(token))]
        {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                form.push_str(&format!("&{key}={}", encoded(value)));
            }
        }
        let length = form.len();
        return Request::builder()
            .method(Method::POST)
            .uri(realm.to_string())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("content-length", length)
            .body(SendBody::from_owned_reader(std::io::Cursor::new(form)));
    }
    let mut url = realm.clone();
    if let Some(service) = service {
        url = url.with_query("service", service);
    }
    for scope in &scope.0 {
        url = url.with_query("scope", scope);
    }
    let mut request = Request::builder().method(Method::GET);
    if let Some(Credentials::Password { user, password }) = credentials {
        url = url.with_query("account", user);
        request = request.header("authorization", basic(user, password));
    }
    request.uri(url.to_string()).body(SendBody::none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_in_both_forms() {
        for (answer, expected) in [
            (r#"{"token":"abc","expires_in":300}"#, Some("Bearer abc")),
            (r#"{"access_token":"abc"}"#, Some("Bearer abc")),
            (r#"{"token":"","access_token":"x"}"#, Some("Bearer x")),
            (r#"{"token":"a b"}"#, None),
            (r#"{"token":"a\r\nX: y"}"#, None),
            ("{}", None),
            ("", None),
        ] {
            let token = Token::read(answer.as_bytes());
            assert_eq!(token.as_ref().map(|token| token.authorization.as_str()), expected, "{answer}");
            assert!(token.is_none_or(|token| token.is_fresh()));
        }
    }

    #[test]
    fn a_token_is_asked_for_all_that_is_needed() {
        let realm = Url::parse("https://auth.io/token").unwrap();
        let bearer = Bearer { service: Some("reg".to_owned()), ..Bearer::default() };
        let scope = Scope::push("a/b").and_pull("base");
        let credentials = Credentials::Password { user: "me".to_owned(), password: "pw".to_owned() };
        let request = request(&realm, &bearer, &scope, Some(&credentials)).unwrap();
        assert_eq!(
            request.uri().to_string(),
            "https://auth.io/token?service=reg&scope=repository:a/b:pull%2Cpush&scope=repository:base:pull&account=me"
        );
        assert_eq!(request.headers()["authorization"], "Basic bWU6cHc=");
    }
}
