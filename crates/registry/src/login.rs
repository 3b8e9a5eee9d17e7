//! `login` and `logout`: credentials are tried before they are kept.

use std::path::PathBuf;

use ureq::http::Method;

use crate::RegistryError;
use crate::auth_file::{self, AuthFile};
use crate::call::Call;
use crate::client::Client;
use crate::credentials::{Credentials, server_name};
use crate::endpoint::Endpoint;
use crate::helper::Helper;
use crate::token::Scope;

/// Where credentials were put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Into this file, where whoever may read it reads the password.
    File(PathBuf),
    /// With this program.
    Helper(String),
}

impl Client {
    /// Asks the registry `host` whether it takes `credentials`, and keeps them if it does.
    ///
    /// # Errors
    /// [`RegistryError::Unauthorized`] if it does not; nothing is kept then.
    pub fn login(&self, host: &str, credentials: Credentials) -> Result<Kept, RegistryError> {
        self.with_credentials(host, credentials.clone()).check_access(host)?;
        let path = self.credentials_path()?;
        let file = AuthFile::read(&path)?.unwrap_or_default();
        match file.helper(host) {
            Some(name) => {
                Helper::new(name)?.store(&server_name(host), &credentials)?;
                Ok(Kept::Helper(format!("docker-credential-{name}")))
            }
            None => {
                auth_file::store(&path, host, Some(&credentials))?;
                Ok(Kept::File(path))
            }
        }
    }

    /// Forgets the credentials for the registry `host`; whether there were any.
    ///
    /// # Errors
    /// [`RegistryError::File`] or [`RegistryError::Helper`].
    pub fn logout(&self, host: &str) -> Result<bool, RegistryError> {
        let path = self.credentials_path()?;
        let file = AuthFile::read(&path)?.unwrap_or_default();
        let erased = match file.helper(host) {
            Some(name) => Helper::new(name)?.erase(&server_name(host))?,
            None => false,
        };
        Ok(auth_file::store(&path, host, None)? || erased)
    }

    fn check_access(&self, host: &str) -> Result<(), RegistryError> {
        let endpoint = self.endpoint(host);
        let reached = self.host(&endpoint)?;
        self.patiently(|| {
            let call = Call::new(Method::GET, reached.base.clone(), "", Scope::none());
            call.send(self, &reached)?.expect("it", &[200]).map(drop)
        })
    }

    /// The registry itself: who logs in there does not mean a mirror.
    fn endpoint(&self, host: &str) -> Endpoint {
        let name = format!("{host}/x").parse();
        let endpoints = name.ok().and_then(|name| self.configuration().endpoints(&name).ok());
        let found = endpoints.and_then(|mut endpoints| endpoints.pop());
        let insecure = found.is_some_and(|endpoint| endpoint.insecure && endpoint.host == host);
        Endpoint { insecure, ..Endpoint::new(host, "") }
    }

    fn credentials_path(&self) -> Result<PathBuf, RegistryError> {
        let environment = self.environment();
        let docker = || environment.docker_config.as_ref().map(|folder| folder.join("config.json"));
        environment.auth_file.clone().or_else(docker).ok_or_else(|| RegistryError::File {
            path: "config.json".to_owned(),
            reason: "there is no home folder to keep it in: set HOME or DOCKER_CONFIG".to_owned(),
        })
    }
}
