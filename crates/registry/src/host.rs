//! A registry that was reached: how it is spoken to, and what it wants to see.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use lbuild_oci::lock;
use ureq::Agent;
use ureq::http::Method;

use crate::RegistryError;
use crate::agent::Reach;
use crate::answer::challenge_in;
use crate::challenge::Challenge;
use crate::client::Client;
use crate::endpoint::{Endpoint, is_loopback};
use crate::retry::is_transient;
use crate::token::{Scope, Token};
use crate::url::{Scheme, Url};

const PAUSE: Duration = Duration::from_millis(200);

/// A registry.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its name, as people know it: `docker.io`.
    pub name: String,
    /// `SCHEME://HOST/v2/`.
    pub base: Url,
    /// Whether it need not prove who it is.
    pub insecure: bool,
    pub agent: Agent,
    pub challenge: Mutex<Option<Challenge>>,
    pub tokens: Mutex<HashMap<Scope, Token>>,
}

impl Host {
    /// Finds out how the registry is spoken to. One that is insecure is tried with TLS and without.
    pub fn connect(client: &Client, endpoint: &Endpoint) -> Result<Self, RegistryError> {
        let authority = endpoint.authority();
        let schemes: &[Scheme] =
            if endpoint.insecure { &[Scheme::Https, Scheme::Http] } else { &[Scheme::Https] };
        let mut failure = None;
        for scheme in schemes {
            let base =
                Url { scheme: *scheme, authority: authority.to_lowercase(), target: "/v2/".to_owned() };
            let agent = client.agent(&base, &[&endpoint.host], endpoint.insecure, Reach::Chosen)?;
            // Without TLS there is another way to try.
            let retries = !(endpoint.insecure && *scheme == Scheme::Https);
            match Self::ping(client, &agent, &base, &endpoint.host, retries) {
                Ok(challenge) => {
                    return Ok(Self {
                        name: endpoint.host.clone(),
                        base,
                        insecure: endpoint.insecure,
                        agent,
                        challenge: Mutex::new(challenge),
                        tokens: Mutex::default(),
                    });
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or(RegistryError::Interrupted))
    }

    /// Asks for nothing, to learn the challenge.
    fn ping(
        client: &Client,
        agent: &Agent,
        base: &Url,
        name: &str,
        retries: bool,
    ) -> Result<Option<Challenge>, RegistryError> {
        let attempt = || {
            let request = ureq::http::Request::builder().method(Method::GET).uri(base.to_string()).body(());
            let result = request.map_err(ureq::Error::Http).and_then(|request| agent.run(request));
            result.map_err(|source| RegistryError::connection(agent, name, source))
        };
        let response = match attempt() {
            // A connection that broke may be an accident; two are a server that is not there.
            Err(error) if is_transient(&error) && retries => {
                client.pause(PAUSE)?;
                attempt()?
            }
            result => result?,
        };
        Ok(challenge_in(response.headers()))
    }

    /// An address of the registry's: `path` is what follows `/v2/`.
    pub fn url(&self, path: &str) -> Url {
        Url { target: format!("/v2/{path}"), ..self.base.clone() }
    }

    /// What a registry may not send us to.
    pub fn reach(&self) -> Reach {
        Reach::Sent { from_loopback: is_loopback(&self.base.authority) }
    }

    pub fn challenge(&self) -> Option<Challenge> {
        lock(&self.challenge).clone()
    }
}
