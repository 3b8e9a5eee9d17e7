//! Images of a local Docker, over its socket.
//!
//! Source: <https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Image/operation/ImageGet>

use std::io::{self, Read};
use std::path::Path;

use lbuild_docker::Connection;
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Digest, Reference};
use serde::Deserialize;
use serde_json::json;

use crate::{ImportError, LoadOptions, load, unchanged};

/// Bytes of an error's text that are read.
const MAX_MESSAGE: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: Digest,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// Brings the image `name` of the Docker that listens on `socket` into the store; `None` if it has none
/// of that name.
pub(crate) fn import(store: &Store, socket: &Path, name: &str) -> Result<Option<ImageRecord>, ImportError> {
    let docker = Docker { socket };
    let Some(id) = docker.id_of(name)? else { return Ok(None) };
    // The id is that of the configuration, unless Docker keeps images in containerd.
    let known =
        store.image(&id).map_err(|source| ImportError::Store { what: format!("image {name}"), source })?;
    let identity = json!({ "docker": id });
    if let Some(known) = known.or_else(|| unchanged::image(store, &identity)) {
        return Ok(Some(known));
    }
    let options = LoadOptions { is_unnamed: true, ..LoadOptions::default() };
    let loaded = load(store, docker.archive(&id)?, &options)?;
    let [image] = &loaded[..] else { return Err(ImportError::Unclear { count: loaded.len() }) };
    unchanged::remember(store, &identity, image);
    unchanged::record(store, &image.id)
}

struct Docker<'a> {
    socket: &'a Path,
}

impl Docker<'_> {
    /// The id of an image; `None` if there is none, or no image can have that name.
    fn id_of(&self, name: &str) -> Result<Option<Digest>, ImportError> {
        let hex = name.strip_prefix("sha256:").unwrap_or(name);
        let is_id = !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id && name.parse::<Reference>().is_err() {
            return Ok(None);
        }
        let target = format!("/images/{name}/json");
        let response = self.connect()?.get(&target).map_err(|error| self.broken(error))?;
        match response.status {
            404 => Ok(None),
            200 => serde_json::from_slice::<Inspected>(&response.body)
                .map(|inspected| Some(inspected.id))
                .map_err(|error| self.broken(error.into())),
            status => Err(self.refused(status, &response.body)),
        }
    }

    /// The image as `docker save` gives it.
    fn archive(&self, id: &Digest) -> Result<impl Read, ImportError> {
        let target = format!("/images/{id}/get");
        let mut answer = self.connect()?.stream(&target).map_err(|error| self.broken(error))?;
        if answer.status != 200 {
            let mut body = Vec::new();
            // What cannot be read leaves the status to tell.
            let _ = answer.body.by_ref().take(MAX_MESSAGE).read_to_end(&mut body);
            return Err(self.refused(answer.status, &body));
        }
        Ok(answer.body)
    }

    fn connect(&self) -> Result<Connection, ImportError> {
        Connection::open(self.socket)
            .map_err(|source| ImportError::DockerUnreachable { socket: self.socket.to_owned(), source })
    }

    fn broken(&self, source: io::Error) -> ImportError {
        ImportError::DockerConnection { socket: self.socket.to_owned(), source }
    }

    fn refused(&self, status: u16, body: &[u8]) -> ImportError {
        let message = serde_json::from_slice::<Refusal>(body).map(|refusal| refusal.message);
        ImportError::DockerRefused { message: message.unwrap_or_else(|_| format!("HTTP status {status}")) }
    }
}
