//! One request: authorised, and followed where the registry sends it.

use std::io::Read;
use std::time::Duration;

use lbuild_oci::lock;
use ureq::http::request::Builder;
use ureq::http::{Method, Request, Response};
use ureq::{Agent, AsSendBody, Body, SendBody};

use crate::RegistryError;
use crate::agent::{Reach, document_time, refusal};
use crate::answer::{Answer, challenge_in};
use crate::challenge::Challenge;
use crate::client::Client;
use crate::credentials::Credentials;
use crate::host::Host;
use crate::token::{Scope, Token, basic};
use crate::url::{Scheme, Url};

const MAX_REDIRECTS: usize = 10;

/// How much longer a registry may be silent while it puts a blob where it belongs.
const SLOWNESS: u32 = 10;

/// A request.
pub(crate) struct Call<'a> {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(&'static str, String)>,
    pub payload: Payload<'a>,
    pub scope: Scope,
    /// The repository that it is about, by which credentials are chosen.
    pub repository: &'a str,
    /// Whether the answer may take long.
    pub is_slow: bool,
}

/// The body of a request.
pub(crate) enum Payload<'a> {
    None,
    Bytes(&'a [u8]),
    /// What can be sent once only, with its length in bytes.
    Stream(&'a mut dyn Read, u64),
}

impl<'a> Call<'a> {
    pub fn new(method: Method, url: Url, repository: &'a str, scope: Scope) -> Self {
        Self { method, url, headers: Vec::new(), payload: Payload::None, scope, repository, is_slow: false }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn payload(mut self, payload: Payload<'a>) -> Self {
        self.payload = payload;
        self
    }

    pub fn slow(mut self) -> Self {
        self.is_slow = true;
        self
    }

    /// Sends it once, or once more where the registry then wants to know who asks. A stream is not
    /// sent again: its answer is then 401, and the next request is authorised.
    pub fn send(mut self, client: &Client, host: &Host) -> Result<Answer, RegistryError> {
        let first = authorization(client, host, &self)?;
        let answer = self.follow(client, host, first.as_deref())?;
        if answer.status != 401 || !answer.url.is_same_origin(&host.base) {
            return Ok(answer);
        }
        lock(&host.tokens).remove(&self.scope);
        if let Some(challenge) = challenge_in(&answer.headers) {
            *lock(&host.challenge) = Some(challenge);
        }
        if matches!(self.payload, Payload::Stream(..)) {
            return Ok(answer);
        }
        let second = authorization(client, host, &self)?;
        // A password that was refused is not sent again; a token is a new one.
        let is_new = second != first || matches!(host.challenge(), Some(Challenge::Bearer(_)));
        if is_new { self.follow(client, host, second.as_deref()) } else { Ok(answer) }
    }

    /// Sends it, and goes where it is sent. Credentials stay at the registry.
    fn follow(
        &mut self,
        client: &Client,
        host: &Host,
        authorization: Option<&str>,
    ) -> Result<Answer, RegistryError> {
        let mut url = self.url.clone();
        let mut is_home = true;
        for _ in 0..=MAX_REDIRECTS {
            is_home &= url.is_same_origin(&host.base);
            let agent = if is_home { host.agent.clone() } else { agent_elsewhere(client, host, &url)? };
            let answer = self.send_to(&agent, host, &url, authorization.filter(|_| is_home))?;
            let is_redirect = match answer.status {
                301..=303 => matches!(self.method, Method::GET | Method::HEAD),
                307 | 308 => !matches!(self.payload, Payload::Stream(..)),
                _ => false,
            };
            if !is_redirect {
                return Ok(answer);
            }
            url = answer.location().ok_or_else(|| RegistryError::Protocol {
                host: host.name.clone(),
                reason: "it sends us to no address".to_owned(),
            })?;
        }
        Err(RegistryError::Protocol {
            host: host.name.clone(),
            reason: "it sends us round in circles".to_owned(),
        })
    }

    fn send_to(
        &mut self,
        agent: &Agent,
        host: &Host,
        url: &Url,
        authorization: Option<&str>,
    ) -> Result<Answer, RegistryError> {
        let mut request = Request::builder().method(self.method.clone()).uri(url.to_string());
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        let is_slow = self.is_slow;
        let sent = match &mut self.payload {
            Payload::None if self.method == Method::POST || self.method == Method::PUT => {
                run(agent, request, &[][..], is_slow)
            }
            Payload::None => run(agent, request, (), is_slow),
            Payload::Bytes(bytes) => run(agent, request, *bytes, is_slow),
            Payload::Stream(reader, length) => {
                let request = request.header("content-length", *length);
                run(agent, request, SendBody::from_reader(*reader), is_slow)
            }
        };
        let sent = sent.map_err(|source| RegistryError::connection(agent, &url.authority, source));
        let (parts, body) = sent?.into_parts();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            time: document_time(agent),
            url: url.clone(),
            host: host.name.clone(),
            is_logged_in: authorization.is_some(),
        })
    }
}

fn run(
    agent: &Agent,
    request: Builder,
    body: impl AsSendBody,
    is_slow: bool,
) -> Result<Response<Body>, ureq::Error> {
    let mut request = request.body(body).map_err(ureq::Error::Http)?;
    if is_slow {
        let silence = agent.config().timeout_per_read().unwrap_or(Duration::MAX);
        let silence = silence.saturating_mul(SLOWNESS);
        let whole = silence.saturating_mul(2);
        let configured = agent.configure_request(request);
        request = configured.timeout_per_read(Some(silence)).timeout_recv_response(Some(whole)).build();
    }
    agent.run(request)
}

/// The agent for an address that is not the registry's own.
fn agent_elsewhere(client: &Client, host: &Host, url: &Url) -> Result<Agent, RegistryError> {
    let refused = |reason| RegistryError::UnsafeAddress {
        host: host.name.clone(),
        to: format!("{}://{}", url.scheme, url.authority),
        reason,
    };
    if url.scheme == Scheme::Http && host.base.scheme == Scheme::Https && !host.insecure {
        return Err(refused("it is without TLS"));
    }
    if let Some(reason) = refusal(url, host.reach()) {
        return Err(refused(reason));
    }
    client.agent(url, &[&url.authority], host.insecure, host.reach())
}

/// What to say about who asks.
fn authorization(client: &Client, host: &Host, call: &Call<'_>) -> Result<Option<String>, RegistryError> {
    let Some(challenge) = host.challenge() else { return Ok(None) };
    let credentials = client.credentials(&host.name, call.repository)?;
    if let Some(Credentials::RegistryToken(token)) = &credentials {
        return Ok(Some(format!("Bearer {token}")));
    }
    let bearer = match (challenge, &credentials) {
        (Challenge::Bearer(bearer), _) => bearer,
        (Challenge::Basic, Some(Credentials::Password { user, password })) => {
            return Ok(Some(basic(user, password)));
        }
        (Challenge::Basic, _) => return Ok(None),
    };
    // The lock is held while a token is fetched: other threads want the same one.
    let mut tokens = lock(&host.tokens);
    if let Some(token) = tokens.get(&call.scope).filter(|token| token.is_fresh()) {
        return Ok(Some(token.authorization.clone()));
    }
    let token = Token::fetch(client, host, &bearer, &call.scope, credentials.as_ref())?;
    let authorization = token.authorization.clone();
    tokens.insert(call.scope.clone(), token);
    Ok(Some(authorization))
}

/// The agent for an address that a manifest names, which no registry answers for.
pub(crate) fn agent_for_foreign(client: &Client, url: &Url) -> Result<Agent, RegistryError> {
    let reach = Reach::Sent { from_loopback: false };
    let refused = |reason| RegistryError::UnsafeAddress {
        host: "the manifest".to_owned(),
        to: format!("{}://{}", url.scheme, url.authority),
        reason,
    };
    if url.scheme == Scheme::Http {
        return Err(refused("it is without TLS"));
    }
    match refusal(url, reach) {
        Some(reason) => Err(refused(reason)),
        None => client.agent(url, &[&url.authority], false, reach),
    }
}
