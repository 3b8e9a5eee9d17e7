//! What `--build-context` names.

use std::path::{Path, PathBuf};

use lbuild_build_context::remote::Remote;
use lbuild_importer::LocalImage;
use lbuild_oci::Reference;

/// Where the files of a named context come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// A folder.
    Folder(PathBuf),
    /// Nothing: the image `scratch`.
    Empty,
    /// An image, by its name or id, or a name that says where it is.
    Image(String),
    /// An image of an OCI layout.
    Layout {
        /// The layout's folder.
        path: PathBuf,
        /// The image's tag, name or digest, where there are several.
        image: Option<String>,
    },
    /// What is fetched.
    Remote(Remote),
}

/// Reads `--build-context NAME=SOURCE`.
pub fn named_context(text: &str) -> Result<(String, ContextSource), String> {
    let (name, source) = text
        .split_once('=')
        .filter(|(name, source)| !name.is_empty() && !source.is_empty())
        .ok_or("expected NAME=SOURCE: a folder, an image, a URL")?;
    Ok((name.to_lowercase(), ContextSource::parse(source)?))
}

impl ContextSource {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(image) = text.strip_prefix("docker-image://") {
            return Ok(if image == "scratch" { Self::Empty } else { Self::Image(image.to_owned()) });
        }
        if let Some(layout) = text.strip_prefix("oci-layout://") {
            let (path, image) = split_layout(layout);
            return Ok(Self::Layout { path: path.into(), image: image.map(str::to_owned) });
        }
        if LocalImage::parse(text)?.is_some() {
            return Ok(Self::Image(text.to_owned()));
        }
        if Path::new(text).is_dir() {
            return Ok(Self::Folder(text.into()));
        }
        if let Some(remote) = Remote::of_context(text).map_err(|error| error.to_string())? {
            return Ok(Self::Remote(remote));
        }
        let is_path = text.starts_with(['.', '/']) || text.contains("://");
        if is_path || text.parse::<Reference>().is_err() {
            return Err(format!("{text} is neither a folder nor an image nor a URL"));
        }
        Ok(Self::Image(text.to_owned()))
    }
}

/// `PATH`, `PATH:TAG` or `PATH@DIGEST`.
fn split_layout(text: &str) -> (&str, Option<&str>) {
    if let Some((path, digest)) = text.rsplit_once('@') {
        return (path, Some(digest));
    }
    match text.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let layout = |path: &str, image: Option<&str>| ContextSource::Layout {
            path: path.into(),
            image: image.map(str::to_owned),
        };
        let image = |name: &str| ContextSource::Image(name.to_owned());
        for (text, expected) in [
            ("/", ContextSource::Folder("/".into())),
            ("docker-image://debian:12", image("debian:12")),
            ("docker-image://scratch", ContextSource::Empty),
            ("debian:12", image("debian:12")),
            ("docker-daemon:debian:12", image("docker-daemon:debian:12")),
            ("oci:a/b:1", image("oci:a/b:1")),
            ("oci-layout://a/b", layout("a/b", None)),
            ("oci-layout:///a/b:v1", layout("/a/b", Some("v1"))),
            ("oci-layout://a:b/c", layout("a:b/c", None)),
            ("oci-layout://a@sha256:00", layout("a", Some("sha256:00"))),
            ("http://host/x.tar", ContextSource::Remote(Remote::Http("http://host/x.tar".into()))),
        ] {
            assert_eq!(named_context(&format!("Name={text}")), Ok(("name".to_owned(), expected)), "{text}");
        }
        let (_, git) = named_context("x=https://host/r.git#main").unwrap();
        assert!(matches!(git, ContextSource::Remote(Remote::Git(_))), "{git:?}");
    }

    #[test]
    fn what_is_nothing_is_refused() {
        for text in ["x", "=.", "x=", "x=./no-such", "x=/no/such", "x=file:///", "x=UPPER", "x=git://h/r#--a"]
        {
            assert!(named_context(text).is_err(), "{text}");
        }
    }
}
