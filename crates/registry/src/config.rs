//! `registries.conf`: mirrors, insecure and blocked registries, in the form of containers' tools.
//!
//! Source: <https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md>

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lbuild_oci::Reference;
use serde::Deserialize;

use crate::RegistryError;
use crate::endpoint::{Endpoint, is_loopback};
use crate::environment::Environment;

/// What `registries.conf` says of registries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configuration {
    /// By their prefix.
    registries: BTreeMap<String, Registry>,
}

/// One `[[registry]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Registry {
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<Mirror>,
    /// The file that says so.
    path: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    location: String,
    insecure: bool,
    pulls: Pulls,
}

/// Which pulls a mirror serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Pulls {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct File {
    registry: Vec<RegistryTable>,
    registries: BTreeMap<String, OldTable>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "kebab-case")]
struct RegistryTable {
    prefix: Option<String>,
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirror_by_digest_only: bool,
    mirror: Vec<MirrorTable>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<Pulls>,
}

/// Version 1 of the format: `[registries.insecure]` and `[registries.block]`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct OldTable {
    registries: Vec<String>,
}

impl Configuration {
    /// Reads the files that `environment` names or this machine has; later ones replace what earlier
    /// ones say of the same prefix.
    ///
    /// # Errors
    /// [`RegistryError::File`]: what cannot be read may forbid a registry.
    pub fn load(environment: &Environment) -> Result<Self, RegistryError> {
        let mut configuration = Self::default();
        for path in files(environment)? {
            match fs::read_to_string(&path) {
                Ok(text) => configuration.merge(&path.display().to_string(), &text)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(RegistryError::File {
                        path: path.display().to_string(),
                        reason: error.to_string(),
                    });
                }
            }
        }
        Ok(configuration)
    }

    /// Adds what the file `path`, which holds `text`, says.
    ///
    /// # Errors
    /// [`RegistryError::File`].
    pub fn merge(&mut self, path: &str, text: &str) -> Result<(), RegistryError> {
        let invalid = |reason: String| RegistryError::File { path: path.to_owned(), reason };
        let file: File = toml::from_str(text).map_err(|error| invalid(error.message().to_owned()))?;
        for table in file.registry {
            let (prefix, registry) = table.read(path).map_err(invalid)?;
            self.registries.insert(prefix, registry);
        }
        for (kind, table) in file.registries {
            for name in table.registries {
                let registry = self.registries.entry(name).or_insert_with(|| Registry::named(path));
                registry.insecure |= kind == "insecure";
                registry.blocked |= kind == "block";
            }
        }
        Ok(())
    }

    /// Where the repository of `name` can be pulled from, mirrors first. The last one is the registry
    /// itself: what is pushed goes there.
    ///
    /// # Errors
    /// [`RegistryError::Blocked`].
    pub fn endpoints(&self, name: &Reference) -> Result<Vec<Endpoint>, RegistryError> {
        let full = name.repository();
        let Some((prefix, registry)) = self.find(&full) else {
            return Ok(vec![Endpoint::new(name.domain(), name.path())]);
        };
        if registry.blocked {
            return Err(RegistryError::Blocked { name: prefix.to_owned(), path: registry.path.clone() });
        }
        let wanted = if name.digest().is_some() { Pulls::DigestOnly } else { Pulls::TagOnly };
        let mirrors = registry.mirrors.iter();
        let mirrors = mirrors.filter(|mirror| mirror.pulls == Pulls::All || mirror.pulls == wanted);
        let mut endpoints: Vec<Endpoint> =
            mirrors.map(|mirror| place(&full, prefix, &mirror.location, mirror.insecure, true)).collect();
        let location = registry.location.as_deref().unwrap_or(prefix);
        endpoints.push(place(&full, prefix, location, registry.insecure, false));
        Ok(endpoints)
    }

    /// The entry of the longest prefix.
    fn find(&self, name: &str) -> Option<(&str, &Registry)> {
        let fitting = self.registries.iter().filter(|(prefix, _)| is_prefix(prefix, name));
        fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(prefix, registry)| (prefix.as_str(), registry))
    }
}

impl RegistryTable {
    fn read(self, path: &str) -> Result<(String, Registry), String> {
        let prefix = self.prefix.or_else(|| self.location.clone()).filter(|prefix| !prefix.is_empty());
        let prefix = prefix.ok_or("a [[registry]] has neither a prefix nor a location")?;
        let location = self.location.filter(|location| !location.is_empty());
        let prefix = plain(&prefix)?;
        let location = location.as_deref().map(plain).transpose()?;
        let mut mirrors = Vec::new();
        for mirror in self.mirror {
            let default = if self.mirror_by_digest_only { Pulls::DigestOnly } else { Pulls::All };
            mirrors.push(Mirror {
                location: plain(&mirror.location)?,
                insecure: mirror.insecure,
                pulls: mirror.pull_from_mirror.unwrap_or(default),
            });
        }
        let (insecure, blocked) = (self.insecure, self.blocked);
        Ok((prefix, Registry { location, insecure, blocked, mirrors, path: path.to_owned() }))
    }
}

impl Registry {
    fn named(path: &str) -> Self {
        Self { location: None, insecure: false, blocked: false, mirrors: Vec::new(), path: path.to_owned() }
    }
}

/// The files in the order in which they are read.
fn files(environment: &Environment) -> Result<Vec<PathBuf>, RegistryError> {
    if let Some(path) = &environment.registries_conf {
        return Ok(vec![path.clone()]);
    }
    let user = environment.config_home.as_ref().map(|home| home.join("containers"));
    let system = Path::new("/etc/containers");
    let own = user.as_ref().map(|user| user.join("registries.conf")).filter(|path| path.exists());
    let mut files = vec![own.unwrap_or_else(|| system.join("registries.conf"))];
    for folder in [Some(system), user.as_deref()].into_iter().flatten() {
        files.extend(drop_ins(&folder.join("registries.conf.d"))?);
    }
    Ok(files)
}

fn drop_ins(folder: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let failed = |error: std::io::Error| RegistryError::File {
        path: folder.display().to_string(),
        reason: error.to_string(),
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A location is a host with an optional path, and no address.
fn plain(location: &str) -> Result<String, String> {
    let location = location.trim_end_matches('/');
    if location.is_empty() || location.contains("://") || location.contains([' ', '@', '?', '#']) {
        return Err(format!("{location:?} is no location: write HOST[:PORT][/PATH], without a scheme"));
    }
    Ok(location.to_owned())
}

fn is_prefix(prefix: &str, name: &str) -> bool {
    if let Some(domain) = prefix.strip_prefix("*.") {
        let host = name.split('/').next().unwrap_or_default();
        return host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
    }
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The endpoint of `full` with `prefix` replaced by `location`.
fn place(full: &str, prefix: &str, location: &str, insecure: bool, is_mirror: bool) -> Endpoint {
    let rest = if prefix.starts_with("*.") {
        // Whatever host matched is replaced; without a location, none is.
        if location == prefix {
            return split(full, insecure, is_mirror);
        }
        full.find('/').map_or("", |at| &full[at..])
    } else {
        &full[prefix.len()..]
    };
    split(&format!("{location}{rest}"), insecure, is_mirror)
}

fn split(name: &str, insecure: bool, is_mirror: bool) -> Endpoint {
    let (host, repository) = name.split_once('/').unwrap_or((name, ""));
    let insecure = insecure || is_loopback(host);
    Endpoint { host: host.to_owned(), repository: repository.to_owned(), insecure, is_mirror }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(text: &str) -> Result<Configuration, RegistryError> {
        let mut configuration = Configuration::default();
        configuration.merge("registries.conf", text)?;
        Ok(configuration)
    }

    /// `HOST/REPOSITORY`, with `!` before what may be insecure.
    fn endpoints(text: &str, name: &str) -> Vec<String> {
        let endpoints = configuration(text).unwrap().endpoints(&name.parse().unwrap()).unwrap();
        let show = |endpoint: &Endpoint| {
            let mark = if endpoint.insecure { "!" } else { "" };
            format!("{mark}{}/{}", endpoint.host, endpoint.repository)
        };
        endpoints.iter().map(show).collect()
    }

    const MIRRORS: &str = r#"
        unqualified-search-registries = ["docker.io"]
        [[registry]]
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.internal:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "digests.internal"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "example.com/team"
        location = "registry.internal/x"
        [[registry]]
        prefix = "*.lab.io"
        insecure = true
    "#;

    #[test]
    fn mirrors_come_before_the_registry() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (name, expected) in [
            ("debian:12", &["!mirror.internal:5000/hub/library/debian", "docker.io/library/debian"][..]),
            (
                &format!("debian@{digest}"),
                &[
                    "!mirror.internal:5000/hub/library/debian",
                    "digests.internal/library/debian",
                    "docker.io/library/debian",
                ],
            ),
            ("example.com/team/app", &["registry.internal/x/app"]),
            ("example.com/teams/app", &["example.com/teams/app"]),
            ("a.lab.io/app", &["!a.lab.io/app"]),
            ("lab.io/app", &["lab.io/app"]),
            ("ghcr.io/a/b", &["ghcr.io/a/b"]),
            ("localhost:5000/a", &["!localhost:5000/a"]),
        ] {
            assert_eq!(endpoints(MIRRORS, name), expected, "{name}");
        }
    }

    #[test]
    fn a_blocked_registry_is_refused_and_the_longest_prefix_decides() {
        let text = r#"
            [[registry]]
            prefix = "docker.io"
            blocked = true
            [[registry]]
            prefix = "docker.io/library"
        "#;
        let configuration = configuration(text).unwrap();
        let of = |name: &str| configuration.endpoints(&name.parse().unwrap());
        assert!(matches!(of("someone/app"), Err(RegistryError::Blocked { .. })));
        assert_eq!(of("debian").unwrap().len(), 1);
    }

    #[test]
    fn later_files_replace_what_earlier_ones_say() {
        let mut configuration = configuration("[[registry]]\nlocation = 'a.io'\nblocked = true").unwrap();
        configuration.merge("b.conf", "[[registry]]\nlocation = 'a.io'").unwrap();
        assert!(configuration.endpoints(&"a.io/x".parse().unwrap()).is_ok());
    }

    #[test]
    fn version_1_of_the_format_is_heeded() {
        let text = "[registries.search]\nregistries = ['docker.io']\n[registries.insecure]\nregistries = ['a.io:5000']\n[registries.block]\nregistries = ['b.io']";
        assert_eq!(endpoints(text, "a.io:5000/x"), ["!a.io:5000/x"]);
        assert!(configuration(text).unwrap().endpoints(&"b.io/x".parse().unwrap()).is_err());
    }

    #[test]
    fn wrong_files_are_told() {
        for text in [
            "[[registry]]",
            "[[registry]]\nlocation = 'https://a.io'",
            "[[registry]]\nlocation = 'a.io'\n[[registry.mirror]]\nlocation = ''",
            "[[registry]]\nlocation = 5",
            "[[registry",
        ] {
            let error = configuration(text).unwrap_err();
            assert!(matches!(error, RegistryError::File { .. }), "{text}: {error}");
        }
    }
}
