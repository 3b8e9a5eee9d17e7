//! What `--cache-from`, `--cache-to` and `lbuild cache` name.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use lbuild_oci::Reference;
use lbuild_shared_cache::Namespace;

use super::csv;
use crate::units;

/// `--cache-to`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CacheTarget {
    /// Records are written to a cache.
    Cache(CacheSpec),
    /// The image carries the results of its own steps. `is_max`: it was asked for more.
    Inline {
        /// `mode=max`.
        is_max: bool,
    },
}

/// `--cache-from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOrigin {
    /// The cache.
    pub cache: CacheSpec,
    /// The image that may carry one.
    pub image: Option<CarryingImage>,
    /// `verify=true`: layers are read and checked even where nothing needs them.
    pub verifies: bool,
}

/// An image that may carry a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarryingImage {
    /// Of the tag `latest`, since no tag was written.
    Latest,
    /// Of a tag or a digest that was written.
    Written,
}

/// A shared cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSpec {
    /// Where it is.
    pub place: CachePlace,
    /// Which part of it.
    pub namespace: Namespace,
    /// `mode=min`: only the steps of the resulting image.
    pub is_min: bool,
    /// `ignore-error=true`.
    pub ignores_errors: bool,
    /// `claim=true`: other machines wait for a step that this one runs.
    pub claims: bool,
}

/// Where a shared cache is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CachePlace {
    /// In a folder.
    Folder(PathBuf),
    /// In a repository of a registry.
    Registry(Reference),
}

/// `lbuild cache prune`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("place").required(true).args(["reference", "folder"]))]
pub struct CachePruneArgs {
    /// The repository that the cache is in
    #[arg(long = "ref", value_name = "NAME")]
    pub reference: Option<Reference>,
    /// The folder that the cache is in
    #[arg(long = "dest", visible_alias = "src", value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Remove what was written longer ago
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    pub older_than: Duration,
    /// Only of this namespace [default: of all]
    #[arg(long, value_name = "NAME", value_parser = namespace)]
    pub namespace: Option<Namespace>,
}

impl CachePruneArgs {
    /// Where the cache is.
    pub fn place(&self) -> Option<CachePlace> {
        let registry = || self.reference.clone().map(CachePlace::Registry);
        self.folder.clone().map(CachePlace::Folder).or_else(registry)
    }
}

/// Reads `--cache-from`: `type=registry,ref=NAME`, `type=local,src=DIR`, or a repository or image alone.
pub fn cache_from(text: &str) -> Result<CacheOrigin, String> {
    let fields = fields(text)?;
    if is_inline(&fields) {
        return Err("what an image carries is read from the image: type=registry,ref=NAME".to_owned());
    }
    let (verify, fields): (Vec<_>, Vec<_>) = fields.into_iter().partition(|(key, _)| key == "verify");
    let verifies = verify.last().map_or(Ok(false), |(_, value)| boolean(value))?;
    let cache = parse(&fields, "src")?;
    // Who names a part of a cache means no image.
    let is_image = !fields.iter().any(|(key, _)| key == "namespace");
    let name = fields.iter().find(|(key, _)| key == "ref").filter(|_| is_image);
    let image = name.map(|(_, name)| match name.rsplit('/').next() {
        Some(last) if last.contains([':', '@']) => CarryingImage::Written,
        _ => CarryingImage::Latest,
    });
    Ok(CacheOrigin { cache, image, verifies })
}

/// Reads `--cache-to`: `type=registry,ref=NAME`, `type=local,dest=DIR`, `type=inline`, or a repository alone.
pub fn cache_to(text: &str) -> Result<CacheTarget, String> {
    let fields = fields(text)?;
    if !is_inline(&fields) {
        return parse(&fields, "dest").map(CacheTarget::Cache);
    }
    let mut is_max = false;
    for (key, value) in &fields {
        match key.as_str() {
            "type" => {}
            "mode" => is_max = !is_min(value)?,
            // It is part of the image: there is nothing that could fail alone.
            "ignore-error" => drop(boolean(value)?),
            _ => return Err(format!("type=inline has no key {key:?}")),
        }
    }
    Ok(CacheTarget::Inline { is_max })
}

/// Keys with their values. As BuildKit has it, a name alone is one in a registry.
fn fields(text: &str) -> Result<Vec<(String, String)>, String> {
    if !text.contains(['=', ',']) {
        return Ok(vec![("ref".to_owned(), text.to_owned())]);
    }
    let fields = csv::parse(text)?.into_iter();
    fields
        .map(|(key, value)| Ok((key.clone(), value.ok_or_else(|| format!("{key:?} has no value"))?)))
        .collect()
}

fn is_inline(fields: &[(String, String)]) -> bool {
    fields.iter().any(|(key, value)| key == "type" && value == "inline")
}

fn namespace(text: &str) -> Result<Namespace, String> {
    text.parse().map_err(|error: lbuild_shared_cache::CacheError| error.to_string())
}

fn parse(fields: &[(String, String)], folder_key: &str) -> Result<CacheSpec, String> {
    let is_target = folder_key == "dest";
    let (mut kind, mut reference, mut folder) = (None, None, None);
    let mut spec = CacheSpec {
        place: CachePlace::Folder(PathBuf::new()),
        namespace: Namespace::default(),
        is_min: false,
        ignores_errors: false,
        claims: false,
    };
    for (key, value) in fields {
        match key.as_str() {
            "type" => kind = Some(value.as_str()),
            "ref" => reference = Some(value),
            key if key == folder_key => folder = Some(value),
            "namespace" => spec.namespace = namespace(value)?,
            "mode" if is_target => spec.is_min = is_min(value)?,
            "ignore-error" if is_target => spec.ignores_errors = boolean(value)?,
            "claim" if is_target => spec.claims = boolean(value)?,
            _ => return Err(format!("unknown key {key:?}")),
        }
    }
    spec.place = match (kind.unwrap_or("registry"), reference, folder) {
        ("registry", Some(name), None) => {
            CachePlace::Registry(name.parse().map_err(|error| format!("{name:?}: {error}"))?)
        }
        ("local", None, Some(folder)) if !folder.is_empty() => CachePlace::Folder(folder.into()),
        ("registry", _, _) => return Err("type=registry takes ref=NAME, a repository".to_owned()),
        ("local", _, _) => return Err(format!("type=local takes {folder_key}=DIR")),
        (other, _, _) => {
            let known = if is_target { "registry, local and inline" } else { "registry and local" };
            return Err(format!("type={other} is none of {known}"));
        }
    };
    if spec.is_min && spec.claims {
        return Err("claim=true needs mode=max: who waits for a step must find its record".to_owned());
    }
    Ok(spec)
}

fn is_min(value: &str) -> Result<bool, String> {
    match value {
        "min" => Ok(true),
        "max" => Ok(false),
        _ => Err(format!("mode={value} is neither min nor max")),
    }
}

fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{value:?} is neither true nor false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> CacheSpec {
        match cache_to(text) {
            Ok(CacheTarget::Cache(spec)) => spec,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn an_image_may_carry_the_cache() {
        use CarryingImage::{Latest, Written};
        for (text, expected) in [
            ("host:5000/app", Some(Latest)),
            ("host:5000/app:main", Some(Written)),
            ("type=registry,ref=app", Some(Latest)),
            (&format!("type=registry,ref=app@sha256:{}", "0".repeat(64)), Some(Written)),
            ("type=registry,ref=app:main,namespace=pr-1", None),
            ("type=local,src=/x", None),
        ] {
            assert_eq!(cache_from(text).unwrap().image, expected, "{text}");
        }
        for (text, is_max) in [
            ("type=inline", false),
            ("type=inline,mode=min,ignore-error=true", false),
            ("mode=max,type=inline", true),
        ] {
            assert_eq!(cache_to(text), Ok(CacheTarget::Inline { is_max }), "{text}");
        }
        for text in ["type=inline,ref=app", "type=inline,dest=x", "type=inline,mode=all"] {
            assert!(cache_to(text).is_err(), "{text}");
        }
        assert!(cache_from("type=inline").unwrap_err().contains("type=registry,ref=NAME"));
    }

    #[test]
    fn what_is_read_may_be_verified() {
        for (text, expected) in [("app", false), ("type=registry,ref=app,verify=true", true)] {
            assert_eq!(cache_from(text).unwrap().verifies, expected, "{text}");
        }
        assert!(cache_from("type=registry,ref=app,verify=maybe").is_err());
        assert!(cache_to("type=registry,ref=app,verify=true").is_err());
    }

    #[test]
    fn caches_are_read_as_buildx_reads_them() {
        let registry = |name: &str| CachePlace::Registry(name.parse().unwrap());
        let folder = |path: &str| CachePlace::Folder(path.into());
        for (text, expected) in [
            ("type=registry,ref=host:5000/cache", registry("host:5000/cache")),
            ("host/a/b:tag", registry("host/a/b:tag")),
            ("type=local,dest=/x", folder("/x")),
        ] {
            assert_eq!(to(text).place, expected, "{text}");
        }
        assert_eq!(cache_from("type=local,src=/x").unwrap().cache.place, folder("/x"));
        let spec = to("type=local,dest=d,mode=min,ignore-error=true,namespace=pr-1");
        assert!(spec.is_min && spec.ignores_errors && spec.namespace.to_string() == "pr-1");
        assert!(!to("type=local,dest=d,mode=max").is_min);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in [
            "type=gha",
            "type=local",
            "type=local,src=/x",
            "type=registry",
            "type=registry,ref=UPPER",
            "type=local,dest=/x,mode=all",
            "type=local,dest=/x,namespace=a/b",
            "type=local,dest=/x,ignore-error=maybe",
            "type=local,dest=/x,mode=min,claim=true",
            "type=local,dest=/x,colour=blue",
            "type=local,dest",
        ] {
            assert!(cache_to(text).is_err(), "{text}");
        }
        assert!(cache_from("type=local,src=/x,mode=max").is_err());
    }
}
