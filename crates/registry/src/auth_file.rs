//! One file of credentials: Docker's `config.json`, which containers' `auth.json` is a part of.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::RegistryError;
use crate::credentials::{Credentials, server_name};

/// The part of the file that is about credentials.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct AuthFile {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
    #[serde(skip)]
    path: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Shows nothing that is secret.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entry")
    }
}

impl AuthFile {
    /// Reads the file; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, RegistryError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(&path.display().to_string(), &text).map(Some),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(unusable(path, &error)),
        }
    }

    pub fn parse(path: &str, text: &str) -> Result<Self, RegistryError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        // serde's message could quote a password; the place is enough.
        let file: Self = serde_json::from_str(text).map_err(|error| RegistryError::File {
            path: path.to_owned(),
            reason: format!("it is no valid config.json: line {}, column {}", error.line(), error.column()),
        })?;
        Ok(Self { path: path.to_owned(), ..file })
    }

    /// The helper that has the credentials for `host`.
    pub fn helper(&self, host: &str) -> Option<&str> {
        let own = self.cred_helpers.iter().find(|(server, _)| normalised(server) == host);
        own.map(|(_, helper)| helper)
            .or(self.creds_store.as_ref())
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }

    /// The credentials that the file itself has, those for the longest part of the name first.
    pub fn credentials(&self, host: &str, repository: &str) -> Result<Option<Credentials>, RegistryError> {
        let mut name = format!("{host}/{repository}");
        loop {
            let found = self.auths.iter().find(|(server, _)| normalised(server) == name);
            if let Some((server, entry)) = found
                && let Some(credentials) = self.read_entry(server, entry)?
            {
                return Ok(Some(credentials));
            }
            match name.rfind('/') {
                Some(end) => name.truncate(end),
                None => return Ok(None),
            }
        }
    }

    fn read_entry(&self, server: &str, entry: &Entry) -> Result<Option<Credentials>, RegistryError> {
        let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        if let Some(token) = given(&entry.registrytoken) {
            return Ok(Some(Credentials::RegistryToken(token)));
        }
        if let Some(token) = given(&entry.identitytoken) {
            return Ok(Some(Credentials::IdentityToken(token)));
        }
        let pair = match given(&entry.auth) {
            Some(auth) => Some(decode(&auth).ok_or_else(|| RegistryError::File {
                path: self.path.clone(),
                reason: format!("the auth of {server} is no Base64 of NAME:PASSWORD"),
            })?),
            None => given(&entry.username).zip(entry.password.clone()),
        };
        Ok(pair.map(|(user, password)| from_pair(user, password)))
    }
}

/// Puts `credentials` for `host` into the file `path`, or removes what it has (`None`); all else in
/// it stays. The file is replaced as a whole and only its owner may read it.
///
/// # Errors
/// [`RegistryError::File`].
pub(crate) fn store(
    path: &Path,
    host: &str,
    credentials: Option<&Credentials>,
) -> Result<bool, RegistryError> {
    let path = resolved(path);
    let mut document = read_document(&path)?;
    let invalid = || RegistryError::File {
        path: path.display().to_string(),
        reason: "its auths is no object".to_owned(),
    };
    let auths = document.entry("auths").or_insert_with(|| Value::Object(Map::new()));
    let auths = auths.as_object_mut().ok_or_else(invalid)?;
    let before = auths.len();
    auths.retain(|server, _| normalised(server) != host);
    let was_there = auths.len() != before;
    match credentials {
        Some(credentials) => {
            auths.insert(server_name(host), entry(credentials));
        }
        None if !was_there => return Ok(false),
        None => {}
    }
    write_document(&path, &document)?;
    Ok(was_there)
}

fn entry(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::Password { user, password } => {
            json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
        }
        Credentials::IdentityToken(token) => json!({ "identitytoken": token }),
        Credentials::RegistryToken(token) => json!({ "registrytoken": token }),
    }
}

/// A link to the file stays: what it leads to is replaced.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

fn read_document(path: &Path) -> Result<Map<String, Value>, RegistryError> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Map::new()),
        text => text.map_err(|error| unusable(path, &error))?,
    };
    if text.trim().is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_str(&text).map_err(|error| RegistryError::File {
        path: path.display().to_string(),
        reason: format!("it is no valid config.json: line {}, column {}", error.line(), error.column()),
    })
}

fn write_document(path: &Path, document: &Map<String, Value>) -> Result<(), RegistryError> {
    let failed = |error: std::io::Error| unusable(path, &error);
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    // A file of tempfile's has mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    let mut text = serde_json::to_vec_pretty(document).unwrap_or_default();
    text.push(b'\n');
    file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A server's name without what Docker writes around it: `https://index.docker.io/v1/` is `docker.io`.
fn normalised(server: &str) -> &str {
    let name = server.split_once("://").map_or(server, |(_, rest)| rest).trim_end_matches('/');
    let name = ["/v1", "/v2"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    match name {
        "index.docker.io" | "registry-1.docker.io" => "docker.io",
        name => name,
    }
}

fn decode(auth: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

/// Docker gives an identity token in place of a password to whoever is called `<token>`.
pub(crate) fn from_pair(user: String, password: String) -> Credentials {
    match user.as_str() {
        "<token>" => Credentials::IdentityToken(password),
        _ => Credentials::Password { user, password },
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> RegistryError {
    RegistryError::File { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn password(user: &str, password: &str) -> Option<Credentials> {
        Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn entries_are_found_under_all_names_of_a_registry() {
        let text = r#"{"auths":{
            "https://index.docker.io/v1/": {"auth":"aHViOnB3OndpdGg6Y29sb25z"},
            "a.io": {"auth":"YTpwdw=="},
            "a.io/team": {"username":"team","password":"x"},
            "https://b.io:5000/v2/": {"identitytoken":"id"},
            "c.io": {"registrytoken":"bearer"},
            "d.io": {}
        }}"#;
        let file = AuthFile::parse("config.json", text).unwrap();
        for (host, repository, expected) in [
            ("docker.io", "library/debian", password("hub", "pw:with:colons")),
            ("a.io", "x", password("a", "pw")),
            ("a.io", "team/app", password("team", "x")),
            ("a.io", "teams/app", password("a", "pw")),
            ("b.io:5000", "x", Some(Credentials::IdentityToken("id".to_owned()))),
            ("b.io", "x", None),
            ("c.io", "x", Some(Credentials::RegistryToken("bearer".to_owned()))),
            ("d.io", "x", None),
        ] {
            assert_eq!(file.credentials(host, repository).unwrap(), expected, "{host}/{repository}");
        }
    }

    #[test]
    fn a_registrys_own_helper_comes_before_the_store() {
        let text = r#"{"credsStore":"desktop","credHelpers":{"gcr.io":"gcloud"}}"#;
        let file = AuthFile::parse("config.json", text).unwrap();
        assert_eq!(file.helper("gcr.io"), Some("gcloud"));
        assert_eq!(file.helper("a.io"), Some("desktop"));
        assert_eq!(AuthFile::parse("x", "{}").unwrap().helper("a.io"), None);
    }

    #[test]
    fn errors_do_not_quote_secrets() {
        for text in
            [r#"{"auths":{"a.io":"hunter2"}}"#, r#"{"auths":{"a.io":{"auth":5,"password":"hunter2"}}}"#]
        {
            let error = AuthFile::parse("config.json", text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        let file = AuthFile::parse("config.json", r#"{"auths":{"a.io":{"auth":"hunter2!"}}}"#).unwrap();
        let error = file.credentials("a.io", "x").unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("a.io"), "{error}");
    }

    #[test]
    fn storing_keeps_all_else_and_only_the_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker/config.json");
        store(&path, "docker.io", password("me", "pw").as_ref()).unwrap();
        let written: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(written["auths"]["https://index.docker.io/v1/"]["auth"], "bWU6cHc=");
        fs::write(&path, r#"{"auths":{"docker.io":{"auth":"eA=="},"a.io":{"auth":"YTpi"}},"psFormat":"x"}"#)
            .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(store(&path, "docker.io", password("me", "pw").as_ref()).unwrap());
        let written: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(written["psFormat"], "x");
        assert_eq!(written["auths"].as_object().unwrap().len(), 2, "the old name is replaced: {written}");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(store(&path, "a.io", None).unwrap());
        assert!(!store(&path, "a.io", None).unwrap());
        assert_eq!(AuthFile::read(&path).unwrap().unwrap().credentials("a.io", "x").unwrap(), None);
    }
}
