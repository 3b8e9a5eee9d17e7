//! Hands an image to a running Docker.
//!
//! Docker opens no layer of an archive whose stack it has, so those layers are left out: after the
//! first time only the layers that are new travel. A Docker that keeps images in containerd reads the
//! archive another way and gets all of it.
//!
//! Source: <https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageLoad>

use std::io;
use std::path::Path;

use lbuild_docker::{Connection, Response};
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{DiffId, Digest, Reference};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::archive::{Form, write_package};
use crate::{ExportError, ExportOptions, Package};

/// Images of Docker's that are looked at for layers it has: more take longer than they save.
const MAX_LOOKED_AT: usize = 200;

/// What was handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DockerLoad {
    /// Layers that Docker had already.
    pub known_layers: usize,
    /// Layers that were sent.
    pub sent_layers: usize,
}

/// Loads `image` into the Docker that listens on `socket`, under `names`.
///
/// # Errors
/// [`ExportError::DockerUnreachable`], [`DockerConnection`](ExportError::DockerConnection),
/// [`DockerRefused`](ExportError::DockerRefused); else as [`Package::new`].
pub fn docker_load(
    store: &Store,
    image: &ImageRecord,
    socket: &Path,
    names: &[Reference],
) -> Result<DockerLoad, ExportError> {
    let options = ExportOptions { names: names.to_vec(), ..ExportOptions::default() };
    let package = Package::for_docker(store, image, &options)?;
    let docker = Docker { socket };
    let known = docker.known_layers(&image.layers, names)?;
    if known > 0 {
        match docker.load(&package, &options, known) {
            // Docker may have removed what it had a moment ago.
            Err(ExportError::DockerRefused { .. }) => {}
            result => return result,
        }
    }
    docker.load(&package, &options, 0)
}

struct Docker<'a> {
    socket: &'a Path,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(default)]
    driver_status: Option<Vec<(String, String)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: Digest,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(rename = "RootFS", default)]
    root_fs: RootFs,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RootFs {
    layers: Option<Vec<DiffId>>,
}

/// A line of the answer to a load, or an answer that is an error.
#[derive(Deserialize)]
struct Message {
    error: Option<String>,
    message: Option<String>,
}

impl Docker<'_> {
    /// How many of `layers`, from the bottom, Docker has stacked like that.
    fn known_layers(&self, layers: &[DiffId], names: &[Reference]) -> Result<usize, ExportError> {
        let info: Option<Info> = self.get("/info")?;
        if info.is_none_or(|info| info.keeps_images_in_containerd()) {
            return Ok(0);
        }
        let listed: Vec<Listed> = self.get("/images/json")?.unwrap_or_default();
        // What the name stood for until now is most likely the last build of the same image.
        let named = names.iter().map(Reference::familiar);
        let mut most = 0;
        for image in named.chain(listed.into_iter().map(|image| image.id.to_string())).take(MAX_LOOKED_AT) {
            let inspected: Option<Inspected> = self.get(&format!("/images/{image}/json"))?;
            let stacked = inspected.and_then(|inspected| inspected.root_fs.layers).unwrap_or_default();
            most = most.max(stacked.iter().zip(layers).take_while(|(own, wanted)| own == wanted).count());
            if most == layers.len() {
                break;
            }
        }
        Ok(most)
    }

    /// Sends the archive without the first `known` layers.
    fn load(
        &self,
        package: &Package<'_>,
        options: &ExportOptions,
        known: usize,
    ) -> Result<DockerLoad, ExportError> {
        let connection = self.connect()?;
        let mut body =
            connection.post("/images/load?quiet=1", "application/x-tar").map_err(|e| self.broken(e))?;
        let known_diff_ids: Vec<DiffId> =
            package.layers()[..known].iter().map(|layer| layer.diff_id).collect();
        let form = if known == 0 { Form::Both } else { Form::Docker };
        let written = write_package(package, &mut body, options, form, &|layer| {
            !known_diff_ids.contains(&layer.diff_id)
        });
        if let Err(error) = written {
            // Docker closes the connection when it has seen enough, and says why.
            if !body.is_broken() {
                return Err(error);
            }
        }
        let response = body.finish().map_err(|error| self.broken(error))?;
        check(&response)?;
        Ok(DockerLoad { known_layers: known, sent_layers: package.layers().len() - known })
    }

    /// The document at `target`; `None` if there is none.
    fn get<T: DeserializeOwned>(&self, target: &str) -> Result<Option<T>, ExportError> {
        let response = self.connect()?.get(target).map_err(|error| self.broken(error))?;
        if response.status == 404 {
            return Ok(None);
        }
        check(&response)?;
        let parsed = serde_json::from_slice(&response.body);
        parsed.map(Some).map_err(|error| self.broken(error.into()))
    }

    fn connect(&self) -> Result<Connection, ExportError> {
        Connection::open(self.socket)
            .map_err(|source| ExportError::DockerUnreachable { socket: self.socket.to_owned(), source })
    }

    fn broken(&self, source: io::Error) -> ExportError {
        ExportError::DockerConnection { socket: self.socket.to_owned(), source }
    }
}

impl Info {
    fn keeps_images_in_containerd(&self) -> bool {
        self.driver_status
            .iter()
            .flatten()
            .any(|(key, value)| key == "driver-type" && value.starts_with("io.containerd.snapshotter"))
    }
}

/// Finds the error in an answer, by its status or in its lines.
fn check(response: &Response) -> Result<(), ExportError> {
    let is_failure = response.status != 200;
    let lines = serde_json::Deserializer::from_slice(&response.body).into_iter::<Message>();
    for message in lines.map_while(Result::ok) {
        if let Some(message) = message.error.or(message.message.filter(|_| is_failure)) {
            return Err(ExportError::DockerRefused { message: message.trim_end().to_owned() });
        }
    }
    if is_failure {
        return Err(ExportError::DockerRefused { message: format!("HTTP status {}", response.status) });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_found_in_answers() {
        for (status, body, expected) in [
            (200, r#"{"stream":"Loaded image: app:latest\n"}"#, None),
            (200, "", None),
            (200, r#"[{"Id":"sha256:1"}]"#, None),
            (500, r#"{"message":"no space left"}"#, Some("no space left")),
            (
                200,
                "{\"stream\":\"x\"}\n{\"errorDetail\":{\"message\":\"bad\"},\"error\":\"bad\"}",
                Some("bad"),
            ),
            (503, "<html>", Some("HTTP status 503")),
        ] {
            let result = check(&Response { status, body: body.into() });
            let message = match result {
                Ok(()) => None,
                Err(ExportError::DockerRefused { message }) => Some(message),
                Err(other) => panic!("{other}"),
            };
            assert_eq!(message.as_deref(), expected, "{status} {body}");
        }
    }

    #[test]
    fn a_docker_on_containerd_is_recognised() {
        for (text, expected) in [
            (r#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#, true),
            (r#"{"DriverStatus":[["Backing Filesystem","extfs"]]}"#, false),
            (r#"{"DriverStatus":null}"#, false),
            ("{}", false),
        ] {
            let info: Info = serde_json::from_str(text).unwrap();
            assert_eq!(info.keeps_images_in_containerd(), expected, "{text}");
        }
    }
}
