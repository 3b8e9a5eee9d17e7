//! What opens repositories that are not public: secrets and agents by their agreed names.
//!
//! Source: <https://docs.docker.com/build/building/secrets/#git-authentication-for-remote-contexts>

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use lbuild_build_context::remote::{GitAccess, GitSource};

use crate::request::Secret;

const HEADER: &str = "GIT_AUTH_HEADER";
const TOKEN: &str = "GIT_AUTH_TOKEN";
const AGENT: &str = "default";

/// The access to `source` that `--secret` and `--ssh` give: `GIT_AUTH_HEADER` or `GIT_AUTH_TOKEN`,
/// those with the server's name behind a full stop first, and the agent `default`.
///
/// # Errors
/// As the secret's file.
pub fn git_access(
    secrets: &BTreeMap<String, Secret>,
    ssh: &BTreeMap<String, PathBuf>,
    source: &GitSource,
) -> io::Result<GitAccess> {
    let host = source.host();
    let names = [
        (format!("{HEADER}.{host}"), false),
        (format!("{TOKEN}.{host}"), true),
        (HEADER.to_owned(), false),
        (TOKEN.to_owned(), true),
    ];
    let found = names.iter().find_map(|(name, is_token)| Some((secrets.get(name)?, *is_token)));
    let mut access = GitAccess { ssh_agent: ssh.get(AGENT).cloned(), authorization: None };
    if let Some((secret, is_token)) = found {
        let value = String::from_utf8_lossy(&secret.read()?).trim().to_owned();
        access.authorization = Some(if is_token { GitAccess::token_header(&value) } else { value });
    }
    Ok(access)
}

#[cfg(test)]
mod tests {
    use lbuild_build_context::remote::Remote;

    use super::*;

    #[test]
    fn the_secret_of_the_server_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            std::fs::write(folder.path().join(name), format!("{name}\n")).unwrap();
            Secret::File(folder.path().join(name))
        };
        let access = |url: &str, names: &[&str]| {
            let Some(Remote::Git(source)) = Remote::of_add(url).unwrap() else { panic!("{url}") };
            let secrets = names.iter().map(|name| (name.to_string(), file(name))).collect();
            git_access(&secrets, &BTreeMap::new(), &source).unwrap().authorization
        };
        let url = "https://u@host:8443/r.git";
        assert_eq!(access(url, &[]), None);
        assert_eq!(access(url, &[TOKEN, HEADER]).as_deref(), Some(HEADER));
        let own = "GIT_AUTH_HEADER.host:8443";
        assert_eq!(access(url, &[TOKEN, HEADER, own]).as_deref(), Some(own));
        let token = access(url, &[TOKEN]).unwrap();
        assert_eq!(token, "basic eC1hY2Nlc3MtdG9rZW46R0lUX0FVVEhfVE9LRU4=");
    }
}
