//! The client: what is known of all registries, shared by all threads of a process.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use lbuild_oci::{Reference, lock};
use ureq::Agent;

use crate::agent::{self, Reach};
use crate::config::Configuration;
use crate::credentials::{self, Credentials};
use crate::endpoint::Endpoint;
use crate::environment::Environment;
use crate::host::Host;
use crate::repository::Repository;
use crate::retry::{Patience, Pauses};
use crate::url::Url;
use crate::{RegistryError, certificates};

/// How long a pause lasts before it is asked whether the user interrupted it.
const SLICE: Duration = Duration::from_millis(100);

/// How long a registry may be silent that can be done without.
const SHORT_SILENCE: Duration = Duration::from_secs(10);

/// Speaks to registries. Clones share what was learnt: connections, tokens, how hosts are spoken to.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    environment: Environment,
    configuration: Configuration,
    /// For this host, in place of those in files.
    given: Option<(String, Credentials)>,
    interrupted: Box<dyn Fn() -> bool + Send + Sync>,
    patience: Patience,
    agents: Mutex<HashMap<AgentKey, Agent>>,
    hosts: Mutex<HashMap<(String, bool), Arc<Slot>>>,
    credentials: Mutex<HashMap<(String, String), Option<Credentials>>>,
}

#[derive(PartialEq, Eq, Hash)]
struct AgentKey {
    origin: String,
    trusted_by: String,
    insecure: bool,
    reach: Reach,
}

/// A host, once it was reached. The lock is held meanwhile, so that one thread does it for all.
type Slot = Mutex<Option<Arc<Host>>>;

impl Client {
    /// A client by this process's environment and the machine's `registries.conf`, which ends as soon
    /// as `interrupted` says so.
    ///
    /// # Errors
    /// [`RegistryError::File`].
    pub fn new(interrupted: impl Fn() -> bool + Send + Sync + 'static) -> Result<Self, RegistryError> {
        let environment = Environment::of_process()?;
        let configuration = Configuration::load(&environment)?;
        Ok(Self::with(environment, configuration, interrupted))
    }

    /// A client by `environment` and `configuration`.
    pub fn with(
        environment: Environment,
        configuration: Configuration,
        interrupted: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(Inner {
            environment,
            configuration,
            given: None,
            interrupted: Box::new(interrupted),
            patience: Patience::USUAL,
            agents: Mutex::default(),
            hosts: Mutex::default(),
            credentials: Mutex::default(),
        }))
    }

    /// A client that has learnt nothing, and soon gives up what fails: for what can be done without.
    pub fn impatient(&self) -> Self {
        let mut environment = self.environment().clone();
        environment.silence = environment.silence().min(SHORT_SILENCE);
        self.anew(environment, None, Patience::LITTLE)
    }

    /// A client that has learnt nothing and has `credentials` for `host`.
    pub(crate) fn with_credentials(&self, host: &str, credentials: Credentials) -> Self {
        let given = Some((host.to_owned(), credentials));
        self.anew(self.environment().clone(), given, self.0.patience)
    }

    fn anew(
        &self,
        environment: Environment,
        given: Option<(String, Credentials)>,
        patience: Patience,
    ) -> Self {
        Self(Arc::new(Inner {
            environment,
            configuration: self.0.configuration.clone(),
            given,
            patience,
            interrupted: Box::new({
                let client = self.clone();
                move || client.is_interrupted()
            }),
            agents: Mutex::default(),
            hosts: Mutex::default(),
            credentials: Mutex::default(),
        }))
    }

    /// Lets an interruption end what waits for a silent registry, too: by a thread that looks for it as
    /// long as there is the client.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn watch(&self) -> io::Result<()> {
        let watched = Arc::downgrade(&self.0);
        let watch = move || {
            while let Some(inner) = watched.upgrade() {
                if (inner.interrupted)() {
                    lock(&inner.agents).drain().for_each(|(_, agent)| agent.shutdown());
                }
                drop(inner);
                thread::sleep(SLICE);
            }
        };
        thread::Builder::new().name("interruption".to_owned()).spawn(watch).map(drop)
    }

    /// The repository that `name` is in; the tag and digest of `name` only choose among mirrors.
    ///
    /// # Errors
    /// [`RegistryError::Blocked`].
    pub fn repository(&self, name: &Reference) -> Result<Repository, RegistryError> {
        let endpoints = self.0.configuration.endpoints(name)?;
        Ok(Repository::new(self.clone(), name, endpoints))
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.0.environment
    }

    pub(crate) fn configuration(&self) -> &Configuration {
        &self.0.configuration
    }

    /// The registry of an endpoint, reached if it was not yet.
    pub(crate) fn host(&self, endpoint: &Endpoint) -> Result<Arc<Host>, RegistryError> {
        let key = (endpoint.host.clone(), endpoint.insecure);
        let slot = Arc::clone(lock(&self.0.hosts).entry(key).or_default());
        let mut slot = lock(&slot);
        if let Some(host) = &*slot {
            return Ok(Arc::clone(host));
        }
        let host = Arc::new(Host::connect(self, endpoint)?);
        *slot = Some(Arc::clone(&host));
        Ok(host)
    }

    /// The agent for the host of `url`, which the certificates for `names` vouch for too.
    pub(crate) fn agent(
        &self,
        url: &Url,
        names: &[&str],
        insecure: bool,
        reach: Reach,
    ) -> Result<Agent, RegistryError> {
        let origin = format!("{}://{}", url.scheme, url.authority);
        let key = AgentKey { origin, trusted_by: names.join(" "), insecure, reach };
        if let Some(agent) = lock(&self.0.agents).get(&key) {
            return Ok(agent.clone());
        }
        let environment = self.environment();
        let tls = certificates::tls(environment, names, insecure)?;
        let agent = agent::agent(environment, url, tls, reach)?;
        Ok(lock(&self.0.agents).entry(key).or_insert(agent).clone())
    }

    /// The credentials for a repository. Helpers are slow, so they are asked once.
    pub(crate) fn credentials(
        &self,
        host: &str,
        repository: &str,
    ) -> Result<Option<Credentials>, RegistryError> {
        if let Some((given, credentials)) = &self.0.given
            && given == host
        {
            return Ok(Some(credentials.clone()));
        }
        let key = (host.to_owned(), repository.to_owned());
        let mut known = lock(&self.0.credentials);
        if let Some(credentials) = known.get(&key) {
            return Ok(credentials.clone());
        }
        let found = credentials::find(self.environment(), host, repository)?;
        known.insert(key, found.clone());
        Ok(found)
    }

    /// Tries again what fails for a while.
    pub(crate) fn patiently<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut pauses = Pauses::of(self.0.patience);
        loop {
            self.check()?;
            match attempt() {
                Ok(result) => return Ok(result),
                Err(error) => match pauses.after(&error) {
                    Some(pause) => self.pause(pause)?,
                    None => return Err(error),
                },
            }
        }
    }

    /// Sleeps, unless it is interrupted.
    pub(crate) fn pause(&self, pause: Duration) -> Result<(), RegistryError> {
        let end = Instant::now() + pause;
        loop {
            self.check()?;
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(SLICE));
        }
    }

    /// Fails if it was interrupted.
    pub(crate) fn check(&self) -> Result<(), RegistryError> {
        if self.is_interrupted() { Err(RegistryError::Interrupted) } else { Ok(()) }
    }

    fn is_interrupted(&self) -> bool {
        (self.0.interrupted)()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}
