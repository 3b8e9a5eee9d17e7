//! `-o`: where an image goes, and in which form.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::args::csv;

/// One `-o`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The form.
    pub form: Form,
    /// Where to.
    pub destination: Destination,
    /// How layers are compressed; `None`: as the form needs it.
    pub compression: Option<Compression>,
    /// The compressor's level; `None`: its default.
    pub level: Option<u8>,
    /// Whether layers that are compressed already are compressed anew.
    pub force_compression: bool,
    /// Further names that the image gets (`name=`).
    pub names: Vec<String>,
    /// Whether the image is pushed to its registries.
    pub push: bool,
    /// Whether a pushed image gets no tag.
    pub push_by_digest: bool,
    /// Annotations of the index of several images.
    pub index_annotations: BTreeMap<String, String>,
    /// Whether the documents of a pushed image have Docker's media types.
    pub docker_media_types: bool,
}

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One tar, both `docker load`-able and an OCI layout.
    Archive,
    /// An OCI layout in a tar.
    Oci,
    /// An OCI layout in a folder.
    OciFolder,
    /// The root file system as a tar.
    Tar,
    /// The root file system as a folder.
    Local,
    /// The image in the store, which every build gives.
    Image,
    /// Handed to the local Docker.
    Load,
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To no file: the store, or Docker.
    None,
    /// To standard output.
    Stdout,
    /// To a file or a folder.
    Path(PathBuf),
}

/// How layers are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Output {
    /// An output of `form` to `destination` with all else at its default.
    pub fn new(form: Form, destination: Destination) -> Self {
        Self {
            form,
            destination,
            compression: None,
            level: None,
            force_compression: false,
            names: Vec::new(),
            push: false,
            push_by_digest: false,
            index_annotations: BTreeMap::new(),
            docker_media_types: false,
        }
    }

    /// Reads the value of `-o`: a path (`NAME.tar` is an archive, another name a folder for the root file
    /// system), `-` for an archive on standard output, or `type=…,dest=…`.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("it is empty: expected NAME.tar, -, or type=…,dest=…".to_owned());
        }
        if text == "-" {
            return Ok(Self::new(Form::Archive, Destination::Stdout));
        }
        if !text.contains('=') {
            return Self::from_path(text);
        }
        Self::from_fields(csv::parse(text)?)
    }

    /// The output that a bare path asks for.
    fn from_path(path: &str) -> Result<Self, String> {
        let lower = path.to_ascii_lowercase();
        if [".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2"].iter().any(|end| lower.ends_with(end)) {
            return Err(format!(
                "an image's archive is a plain tar; its layers can be compressed: \
                 type=docker,dest={},compression=gzip",
                path[..lower.rfind(".t").unwrap_or(path.len())].to_owned() + ".tar"
            ));
        }
        let form = if lower.ends_with(".tar") { Form::Archive } else { Form::Local };
        Ok(Self::new(form, Destination::Path(path.into())))
    }

    /// The output that `type=…,dest=…` asks for.
    fn from_fields(fields: Vec<csv::Field>) -> Result<Self, String> {
        let mut output = Self::new(Form::Archive, Destination::None);
        let (mut kind, mut packed) = (None, true);
        for (key, value) in fields {
            let value = value.ok_or_else(|| format!("{key:?} has no value"))?;
            match key.as_str() {
                "type" => kind = Some(value),
                "dest" if value == "-" => output.destination = Destination::Stdout,
                "dest" if value.is_empty() => return Err("dest is empty".to_owned()),
                "dest" => output.destination = Destination::Path(value.into()),
                "compression" => output.compression = Some(compression(&value)?),
                "compression-level" => output.level = Some(level(&value)?),
                "force-compression" => output.force_compression = boolean(&key, &value)?,
                "tar" => packed = boolean(&key, &value)?,
                "name" => output.names.extend(value.split(',').map(str::to_owned)),
                "push" => output.push = boolean(&key, &value)?,
                "push-by-digest" => output.push_by_digest = boolean(&key, &value)?,
                "oci-mediatypes" => output.docker_media_types = !boolean(&key, &value)?,
                // Accepted since they ask for what is done anyway.
                "rewrite-timestamp" | "unpack" | "store" => {
                    boolean(&key, &value)?;
                }
                _ => return Err(format!("unknown key {key:?}")),
            }
        }
        output.form = form(kind.as_deref(), packed)?;
        output.push |= kind.as_deref() == Some("registry");
        output.check()?;
        Ok(output)
    }

    /// Fills in or refuses what the form and the other keys do not allow.
    fn check(&mut self) -> Result<(), String> {
        match (self.form, &self.destination) {
            (Form::Archive, Destination::None) => self.form = Form::Load,
            (Form::Oci | Form::Tar, Destination::None) => self.destination = Destination::Stdout,
            (Form::Local | Form::OciFolder, Destination::None) => {
                return Err("dest=FOLDER is missing".to_owned());
            }
            (Form::Local | Form::OciFolder, Destination::Stdout) => {
                return Err("a folder cannot go to standard output".to_owned());
            }
            (Form::Image, Destination::Path(_) | Destination::Stdout) => {
                return Err("type=image stays in the store and has no dest".to_owned());
            }
            _ => {}
        }
        let flat = matches!(self.form, Form::Tar | Form::Local);
        if flat && (self.compression.is_some() || self.level.is_some() || self.force_compression) {
            return Err("compression is for the layers of an image; this output has none".to_owned());
        }
        if self.push && self.form != Form::Image {
            return Err("push goes with type=image or type=registry".to_owned());
        }
        self.check_compression()
    }

    /// Refuses a level that the compression does not have.
    pub fn check_compression(&self) -> Result<(), String> {
        match (self.compression, self.level) {
            (None | Some(Compression::None), Some(_)) => {
                Err("compression-level needs compression=gzip or compression=zstd".to_owned())
            }
            (Some(Compression::Gzip), Some(10..)) => Err("gzip's levels are 0 to 9".to_owned()),
            (Some(Compression::Zstd), Some(0 | 23..)) => Err("zstd's levels are 1 to 22".to_owned()),
            _ => Ok(()),
        }
    }
}

fn form(kind: Option<&str>, packed: bool) -> Result<Form, String> {
    let form = match kind {
        None => return Err("type is missing: expected docker, oci, registry, tar or local".to_owned()),
        Some("docker") => Form::Archive,
        Some("oci") if !packed => return Ok(Form::OciFolder),
        Some("oci") => Form::Oci,
        Some("tar") => Form::Tar,
        Some("local") => Form::Local,
        Some("image" | "cacheonly" | "registry") => Form::Image,
        Some(other) => {
            return Err(format!("unknown type {other:?}: expected docker, oci, registry, tar or local"));
        }
    };
    if packed { Ok(form) } else { Err("tar=false goes with type=oci".to_owned()) }
}

/// Reads the name of a compression.
pub fn compression(value: &str) -> Result<Compression, String> {
    match value {
        "uncompressed" | "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err(format!("unknown compression {value:?}: expected uncompressed, gzip or zstd")),
    }
}

fn level(value: &str) -> Result<u8, String> {
    value.parse().map_err(|_| format!("{value:?} is not a compression level"))
}

fn boolean(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(format!("{key} is true or false, not {value:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Destination {
        Destination::Path(path.into())
    }

    #[test]
    fn outputs_are_read() {
        for (text, form, destination) in [
            ("image.tar", Form::Archive, path("image.tar")),
            ("-", Form::Archive, Destination::Stdout),
            ("out", Form::Local, path("out")),
            ("type=docker,dest=a.tar", Form::Archive, path("a.tar")),
            ("type=docker,dest=-", Form::Archive, Destination::Stdout),
            ("type=docker", Form::Load, Destination::None),
            ("type=oci,dest=a.tar", Form::Oci, path("a.tar")),
            ("type=oci", Form::Oci, Destination::Stdout),
            ("type=oci,tar=false,dest=a", Form::OciFolder, path("a")),
            ("type=tar,dest=a", Form::Tar, path("a")),
            ("type=local,\"dest=a,b\"", Form::Local, path("a,b")),
            ("type=image,push=false", Form::Image, Destination::None),
        ] {
            assert_eq!(Output::parse(text), Ok(Output::new(form, destination)), "{text}");
        }
    }

    #[test]
    fn what_is_pushed_is_an_image() {
        let pushed = Output { push: true, ..Output::new(Form::Image, Destination::None) };
        for text in ["type=registry", "type=image,push=true"] {
            assert_eq!(Output::parse(text), Ok(pushed.clone()), "{text}");
        }
        let text = "type=image,push=true,push-by-digest=true,oci-mediatypes=false,\"name=a.io/x,b.io/y\"";
        let expected = Output {
            push_by_digest: true,
            docker_media_types: true,
            names: vec!["a.io/x".to_owned(), "b.io/y".to_owned()],
            ..pushed
        };
        assert_eq!(Output::parse(text), Ok(expected));
    }

    #[test]
    fn compression_is_read() {
        let expected = Output {
            compression: Some(Compression::Zstd),
            level: Some(19),
            force_compression: true,
            ..Output::new(Form::Oci, path("a"))
        };
        let text = "type=oci,dest=a,compression=zstd,compression-level=19,force-compression=true";
        assert_eq!(Output::parse(text), Ok(expected));
    }

    #[test]
    fn wrong_outputs_are_refused_with_the_reason() {
        for (text, reason) in [
            ("", "empty"),
            ("image.tar.gz", "dest=image.tar,compression=gzip"),
            ("dest=a.tar", "type is missing"),
            ("type=zip,dest=a", "unknown type"),
            ("type=docker,dest=", "dest is empty"),
            ("type=docker,dest", "no value"),
            ("type=local", "dest=FOLDER"),
            ("type=local,dest=-", "standard output"),
            ("type=tar,tar=false,dest=a", "type=oci"),
            ("type=tar,dest=a,compression=gzip", "this output has none"),
            ("type=oci,dest=a,compression-level=3", "needs compression"),
            ("type=oci,dest=a,compression=gzip,compression-level=10", "0 to 9"),
            ("type=oci,dest=a,compression=estargz", "unknown compression"),
            ("type=oci,push=true", "goes with type=image"),
            ("type=docker,colour=red", "unknown key"),
        ] {
            let error = Output::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
