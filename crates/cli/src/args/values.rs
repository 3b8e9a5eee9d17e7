//! Values of options that are more than a word.

use std::net::IpAddr;
use std::path::PathBuf;

use lbuild_builder::{Entitlement, Secret};
use lbuild_oci::{Platform, PlatformError};
use lbuild_parser::Network;
use lbuild_runner::NetworkHelperKind;

use super::csv;
use crate::units;

/// `NAME=VALUE`; a name alone takes the value that the environment has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The name.
    pub name: String,
    /// The value as written.
    pub value: Option<String>,
}

/// Reads `NAME[=VALUE]`.
pub fn assignment(text: &str) -> Result<Assignment, String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (text, None),
    };
    if name.is_empty() {
        return Err("the name is missing: expected NAME=VALUE".to_owned());
    }
    Ok(Assignment { name: name.to_owned(), value })
}

/// Reads `--secret id=NAME[,src=FILE|,env=VARIABLE]`; without a source it is the variable of that name,
/// or else the file.
pub fn secret(text: &str) -> Result<(String, Secret), String> {
    let (mut id, mut kind, mut file, mut variable) = (None, None, None, None);
    for (key, value) in csv::parse(text)? {
        let value = value.ok_or_else(|| format!("{key:?} has no value: expected id=NAME,src=FILE"))?;
        match key.as_str() {
            "id" => id = Some(value),
            "type" if ["file", "env"].contains(&value.as_str()) => kind = Some(value),
            "type" => return Err(format!("type {value:?} is neither file nor env")),
            "src" | "source" => file = Some(value),
            "env" => variable = Some(value),
            _ => return Err(format!("unknown key {key:?}: expected id, type, src or env")),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or("the id is missing: expected id=NAME,src=FILE")?;
    let secret = match (kind.as_deref(), file, variable) {
        (_, Some(_), Some(_)) => return Err("src and env exclude each other".to_owned()),
        (Some("file"), None, Some(_)) => return Err("type=file takes src, not env".to_owned()),
        (Some("env"), Some(name), None) | (_, None, Some(name)) => Secret::Env(name),
        (_, Some(path), None) => Secret::File(path.into()),
        (Some("env"), None, None) => Secret::Env(id.clone()),
        (Some("file"), None, None) => Secret::File(id.clone().into()),
        (_, None, None) if std::env::var_os(&id).is_some() => Secret::Env(id.clone()),
        (_, None, None) => Secret::File(id.clone().into()),
    };
    Ok((id, secret))
}

/// Where the keys of `--ssh` are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshSource {
    /// In an agent that listens here.
    Agent(PathBuf),
    /// In files.
    Keys(Vec<PathBuf>),
}

/// Reads `--ssh default`, `--ssh ID=SOCKET` or `--ssh ID=KEY[,KEY]`; without a path it is the agent of
/// `SSH_AUTH_SOCK`.
pub fn ssh(text: &str) -> Result<(String, SshSource), String> {
    match text.split_once('=') {
        Some((id, paths)) if !id.is_empty() && !paths.is_empty() => {
            let paths: Vec<PathBuf> = paths.split(',').map(PathBuf::from).collect();
            let source = match &paths[..] {
                [path] if !path.is_file() => SshSource::Agent(path.clone()),
                _ => SshSource::Keys(paths),
            };
            Ok((id.to_owned(), source))
        }
        Some(_) => Err("expected default, ID=SOCKET or ID=KEY".to_owned()),
        None => match std::env::var_os("SSH_AUTH_SOCK") {
            Some(socket) if !socket.is_empty() => Ok((text.to_owned(), SshSource::Agent(socket.into()))),
            _ => Err("SSH_AUTH_SOCK is not set: start ssh-agent, or give ID=SOCKET or ID=KEY".to_owned()),
        },
    }
}

/// An annotation of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// What has it.
    pub targets: Vec<AnnotationTarget>,
}

/// What is annotated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnnotationTarget {
    /// The manifests of images, or only those for a platform.
    Manifest(Option<Platform>),
    /// The index of several images.
    Index,
}

/// Reads `[manifest[PLATFORM]:]KEY=VALUE`, `index:KEY=VALUE` or `manifest,index:KEY=VALUE`. Docker annotates
/// descriptors too.
pub fn annotation(text: &str) -> Result<Annotation, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    let (kinds, key) = match name.split_once(':') {
        Some((kinds, key)) if is_annotation_kind(kinds) => (kinds, key),
        _ => ("manifest", name),
    };
    if key.is_empty() {
        return Err("the name is missing: expected NAME=VALUE".to_owned());
    }
    let targets = kinds.split(',').map(annotation_target).collect::<Result<_, _>>()?;
    Ok(Annotation { key: key.to_owned(), value: value.to_owned(), targets })
}

/// Reads `manifest`, `manifest[PLATFORM]` or `index`.
fn annotation_target(text: &str) -> Result<AnnotationTarget, String> {
    let (kind, platform) = match text.split_once('[') {
        Some((kind, rest)) => (kind, Some(rest.strip_suffix(']').ok_or("a ] is missing")?)),
        None => (text, None),
    };
    let platform = platform.map(str::parse).transpose().map_err(|error: PlatformError| error.to_string())?;
    match (kind, platform) {
        ("manifest", platform) => Ok(AnnotationTarget::Manifest(platform)),
        ("index", None) => Ok(AnnotationTarget::Index),
        ("index", Some(_)) => Err("an index is for all platforms".to_owned()),
        _ => Err(format!("only manifests and the index can be annotated here, not {kind:?}")),
    }
}

/// Whether `text` says what is annotated, and is not the first part of a key.
fn is_annotation_kind(text: &str) -> bool {
    let kinds = ["manifest", "index", "manifest-descriptor", "index-descriptor"];
    text.split(',').all(|part| kinds.contains(&part.split('[').next().unwrap_or_default()))
}

/// Reads `--add-host NAME:ADDRESS` or `NAME=ADDRESS`, an IPv6 address in brackets or not.
///
/// `host-gateway` is this machine, whose network a build shares.
pub fn host(text: &str) -> Result<(String, String), String> {
    let (name, address) = text
        .split_once(['=', ':'])
        .filter(|(name, _)| !name.is_empty())
        .ok_or("expected NAME:ADDRESS, such as db.local:10.0.0.5")?;
    if address == "host-gateway" {
        return Ok((name.to_owned(), "127.0.0.1".to_owned()));
    }
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    match bare.parse::<IpAddr>() {
        Ok(address) => Ok((name.to_owned(), address.to_string())),
        Err(_) => Err(format!("{address:?} is not an IP address")),
    }
}

/// Reads `--ulimit NAME=SOFT[:HARD]`; -1 is "no limit".
pub fn ulimit(text: &str) -> Result<(String, u64, u64), String> {
    const NAMES: [&str; 16] = [
        "as",
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];
    let (name, limits) = text.split_once('=').ok_or("expected NAME=SOFT[:HARD], such as nofile=1024:4096")?;
    if !NAMES.contains(&name) {
        return Err(format!("unknown limit {name:?}: expected one of {}", NAMES.join(", ")));
    }
    let limit = |text: &str| match text {
        "-1" | "unlimited" => Ok(u64::MAX),
        _ => text.parse().map_err(|_| format!("{text:?} is not a limit: expected a number, or -1 for none")),
    };
    let (soft, hard) = match limits.split_once(':') {
        Some((soft, hard)) => (limit(soft)?, limit(hard)?),
        None => (limit(limits)?, limit(limits)?),
    };
    if soft > hard {
        return Err("the soft limit is above the hard one".to_owned());
    }
    Ok((name.to_owned(), soft, hard))
}

/// Reads `--memory`. As with Docker, 6 MiB are the least: with less, no program starts.
pub fn memory(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 6 << 20;
    let bytes = units::parse_size(text)?;
    if bytes < LEAST { Err("a step needs at least 6m".to_owned()) } else { Ok(bytes) }
}

/// Reads `--cpus`: a positive number, `1.5`.
pub fn cpus(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(cpus) if cpus.is_finite() && cpus > 0.0 => Ok(cpus),
        _ => Err("expected a positive number of processors, such as 1.5".to_owned()),
    }
}

/// What RUNs have for a network, unless they ask for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BuildNetwork {
    /// One that the Dockerfile's language knows.
    Plain(Network),
    /// Their own, connected by a program.
    Through(NetworkHelperKind),
}

/// Reads `--network`.
pub fn network(text: &str) -> Result<BuildNetwork, String> {
    match text {
        "default" | "bridge" => Ok(BuildNetwork::Plain(Network::Default)),
        "none" => Ok(BuildNetwork::Plain(Network::None)),
        "host" => Ok(BuildNetwork::Plain(Network::Host)),
        "pasta" => Ok(BuildNetwork::Through(NetworkHelperKind::Pasta)),
        "slirp4netns" => Ok(BuildNetwork::Through(NetworkHelperKind::Slirp4netns)),
        _ => Err("expected default, none, host, pasta or slirp4netns".to_owned()),
    }
}

/// Reads `--allow`.
pub fn entitlement(text: &str) -> Result<Entitlement, String> {
    match text {
        "security.insecure" => Ok(Entitlement::SecurityInsecure),
        "network.host" => Ok(Entitlement::NetworkHost),
        _ => Err("expected security.insecure or network.host".to_owned()),
    }
}

/// Reads `--security-opt no-new-privileges[=true|false]`, the one option that has a meaning here.
pub fn no_new_privileges(text: &str) -> Result<bool, String> {
    match text {
        "no-new-privileges" | "no-new-privileges=true" | "no-new-privileges:true" => Ok(true),
        "no-new-privileges=false" | "no-new-privileges:false" => Ok(false),
        _ => Err("only no-new-privileges is supported; RUN --security=insecure needs --allow".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_come_from_files_or_the_environment() {
        let file = |path: &str| Secret::File(path.into());
        let variable = |name: &str| Secret::Env(name.to_owned());
        for (text, id, expected) in [
            ("id=key,src=/run/key", "key", file("/run/key")),
            ("id=key,source=k", "key", file("k")),
            (r#"id=key,"src=a,b""#, "key", file("a,b")),
            ("type=file,id=key,src=k", "key", file("k")),
            ("id=key,env=TOKEN", "key", variable("TOKEN")),
            ("type=env,id=TOKEN", "TOKEN", variable("TOKEN")),
            ("type=env,id=key,src=TOKEN", "key", variable("TOKEN")),
            ("id=PATH", "PATH", variable("PATH")),
            ("id=no-such-variable", "no-such-variable", file("no-such-variable")),
        ] {
            assert_eq!(secret(text), Ok((id.to_owned(), expected)), "{text}");
        }
    }

    #[test]
    fn wrong_secrets_are_refused() {
        for text in [
            "",
            "key",
            "src=k",
            "id=,src=k",
            "id=k,src=a,env=b",
            "type=file,id=k,env=b",
            "id=k,type=x",
            "id=k,mode=0",
        ] {
            assert!(secret(text).is_err(), "{text}");
        }
    }

    #[test]
    fn hosts_have_an_address() {
        for (text, name, address) in [
            ("db:10.0.0.5", "db", "10.0.0.5"),
            ("db=10.0.0.5", "db", "10.0.0.5"),
            ("db:::1", "db", "::1"),
            ("db=[2001:db8::1]", "db", "2001:db8::1"),
            ("here:host-gateway", "here", "127.0.0.1"),
        ] {
            assert_eq!(host(text), Ok((name.to_owned(), address.to_owned())), "{text}");
        }
        for text in ["db", "db:", ":1.2.3.4", "db:1.2.3", "db:1.2.3.4 evil"] {
            assert!(host(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_have_a_soft_and_a_hard_value() {
        for (text, expected) in [
            ("nofile=1024:4096", ("nofile", 1024, 4096)),
            ("nproc=64", ("nproc", 64, 64)),
            ("core=-1", ("core", u64::MAX, u64::MAX)),
            ("core=0:-1", ("core", 0, u64::MAX)),
        ] {
            let (name, soft, hard) = expected;
            assert_eq!(ulimit(text), Ok((name.to_owned(), soft, hard)), "{text}");
        }
        for text in ["nofile", "files=1", "nofile=", "nofile=2:1", "nofile=1:2:3", "nofile=-2"] {
            assert!(ulimit(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_argument_without_a_value_is_told_from_an_empty_one() {
        let expect = |name: &str, value: Option<&str>| {
            Ok(Assignment { name: name.to_owned(), value: value.map(str::to_owned) })
        };
        assert_eq!(assignment("A"), expect("A", None));
        assert_eq!(assignment("A="), expect("A", Some("")));
        assert_eq!(assignment("A=b=c"), expect("A", Some("b=c")));
        assert!(assignment("=b").is_err());
    }

    #[test]
    fn annotations_are_the_manifests_or_the_indexs() {
        let on = |key: &str, targets: &[AnnotationTarget]| {
            Ok(Annotation { key: key.to_owned(), value: "v=w".to_owned(), targets: targets.to_vec() })
        };
        let manifests = || AnnotationTarget::Manifest(None);
        let annotation_of = |key: &str| on(key, &[manifests()]);
        let arm = AnnotationTarget::Manifest(Some("linux/arm64".parse().unwrap()));
        for (text, expected) in [
            ("a=v=w", annotation_of("a")),
            ("manifest:a=v=w", annotation_of("a")),
            ("manifest[linux/arm64]:a=v=w", on("a", &[arm])),
            ("manifest[linux/arm64:a=v=w", Err("a ] is missing".to_owned())),
            ("org.example:a=v=w", annotation_of("org.example:a")),
            ("index:a=v=w", on("a", &[AnnotationTarget::Index])),
            ("manifest,index:a=v=w", on("a", &[manifests(), AnnotationTarget::Index])),
            ("index[linux/arm64]:a=b", Err("an index is for all platforms".to_owned())),
            (
                "manifest-descriptor:a=b",
                Err("only manifests and the index can be annotated here, not \"manifest-descriptor\""
                    .to_owned()),
            ),
            ("a", Err("expected NAME=VALUE".to_owned())),
            ("manifest:=b", Err("the name is missing: expected NAME=VALUE".to_owned())),
        ] {
            assert_eq!(annotation(text), expected, "{text}");
        }
    }

    #[test]
    fn ssh_takes_a_socket_or_files_of_keys() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "").unwrap();
        let key_text = key.display();
        for (text, expected) in [
            ("id=/socket".to_owned(), SshSource::Agent("/socket".into())),
            (format!("id={key_text}"), SshSource::Keys(vec![key.clone()])),
            (format!("id={key_text},{key_text}"), SshSource::Keys(vec![key.clone(), key.clone()])),
        ] {
            assert_eq!(ssh(&text), Ok(("id".to_owned(), expected)), "{text}");
        }
        for text in ["=", "id=", "=x"] {
            assert!(ssh(text).is_err(), "{text}");
        }
    }
}
