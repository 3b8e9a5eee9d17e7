//! Names, passwords and tokens for registries, from the files where Docker and containers keep them.
//!
//! Source: <https://docs.docker.com/reference/cli/docker/login/> and
//! <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>

use std::fmt;
use std::path::PathBuf;

use crate::RegistryError;
use crate::auth_file::AuthFile;
use crate::environment::Environment;
use crate::helper::Helper;

/// What a registry is told about the user.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token for the token server, in place of a password.
    IdentityToken(String),
    /// A token for the registry itself.
    RegistryToken(String),
}

/// Shows nothing that is secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password",
            Self::IdentityToken(_) => "IdentityToken",
            Self::RegistryToken(_) => "RegistryToken",
        })
    }
}

/// The credentials for `repository` on `host`, from the first file that has some.
///
/// # Errors
/// [`RegistryError::File`] or [`RegistryError::Helper`].
pub(crate) fn find(
    environment: &Environment,
    host: &str,
    repository: &str,
) -> Result<Option<Credentials>, RegistryError> {
    if let Some(text) = &environment.auth_config {
        let file = AuthFile::parse("DOCKER_AUTH_CONFIG", text)?;
        if let Some(found) = find_in(&file, host, repository)? {
            return Ok(Some(found));
        }
    }
    for path in paths(environment) {
        let Some(file) = AuthFile::read(&path)? else { continue };
        if let Some(found) = find_in(&file, host, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn find_in(file: &AuthFile, host: &str, repository: &str) -> Result<Option<Credentials>, RegistryError> {
    if let Some(name) = file.helper(host)
        && let Some(found) = Helper::new(name)?.get(&server_name(host))?
    {
        return Ok(Some(found));
    }
    file.credentials(host, repository)
}

/// Where credentials may be. Docker's file comes first, since `login` writes it.
fn paths(environment: &Environment) -> Vec<PathBuf> {
    if let Some(path) = &environment.auth_file {
        return vec![path.clone()];
    }
    [
        environment.docker_config.as_ref().map(|folder| folder.join("config.json")),
        environment.runtime_dir.as_ref().map(|folder| folder.join("containers/auth.json")),
        environment.config_home.as_ref().map(|folder| folder.join("containers/auth.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What Docker calls a registry in its files and to helpers.
pub(crate) fn server_name(host: &str) -> String {
    if host == "docker.io" { "https://index.docker.io/v1/".to_owned() } else { host.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_first_file_with_credentials_decides() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, text) in [
            ("docker/config.json", r#"{"auths":{"a.io":{"auth":"YTpkb2NrZXI="}}}"#),
            (
                "config/containers/auth.json",
                r#"{"auths":{"a.io":{"auth":"YTpwb2RtYW4="},"b.io":{"auth":"YjpwdyA="}}}"#,
            ),
            ("only.json", r#"{"auths":{"c.io":{"auth":"Yzpjcw=="}}}"#),
        ] {
            fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            fs::write(path(name), text).unwrap();
        }
        let mut environment = Environment {
            docker_config: Some(path("docker")),
            runtime_dir: Some(path("none")),
            config_home: Some(path("config")),
            ..Environment::default()
        };
        let password = |environment: &Environment, host: &str| match find(environment, host, "x").unwrap() {
            Some(Credentials::Password { password, .. }) => Some(password),
            other => {
                assert_eq!(other, None);
                None
            }
        };
        assert_eq!(password(&environment, "a.io").as_deref(), Some("docker"));
        assert_eq!(password(&environment, "b.io").as_deref(), Some("pw "));
        assert_eq!(password(&environment, "c.io"), None);
        environment.auth_config = Some(r#"{"auths":{"a.io":{"auth":"YTplbnY="}}}"#.to_owned());
        assert_eq!(password(&environment, "a.io").as_deref(), Some("env"));
        environment.auth_file = Some(path("only.json"));
        assert_eq!(password(&environment, "c.io").as_deref(), Some("cs"));
        assert_eq!(password(&environment, "b.io"), None, "REGISTRY_AUTH_FILE is the only file");
    }

    #[test]
    fn nothing_secret_is_shown() {
        let credentials = Credentials::Password { user: "me".into(), password: "hunter2".into() };
        assert_eq!(format!("{credentials:?}"), "Password");
    }
}
