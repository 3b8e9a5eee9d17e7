//! Images in an OCI layout folder.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use lbuild_layer_store::{ImageRecord, Store};
use serde_json::Value;

use crate::contents::Contents;
use crate::document::{self, blob_path, entry_name};
use crate::{ExportError, ExportOptions, Written};

const INDEX: &str = "index.json";
const LAYOUT: &str = "oci-layout";

/// Writes `images`, one for each platform, into the OCI layout folder `destination`, which is made if it
/// does not exist; several are tied together by an image index. In a layout that is there already, they
/// take their names over and what else is there stays.
///
/// # Errors
/// As [`Package::new`](crate::Package::new); [`ExportError::NoImage`], [`NotALayout`](ExportError::NotALayout), [`DamagedLayout`](ExportError::DamagedLayout)
/// or [`Write`](ExportError::Write). Until all blobs are written, the layout has what it had.
pub fn write_oci_layout(
    store: &Store,
    images: &[ImageRecord],
    destination: &Path,
    options: &ExportOptions,
) -> Result<Written, ExportError> {
    let mut entries = existing_entries(destination)?;
    let contents = Contents::new(store, images, options)?;
    let blobs = destination.join("blobs/sha256");
    fs::create_dir_all(&blobs).map_err(|source| ExportError::Write { path: blobs, source })?;
    for (digest, document) in contents.documents() {
        write_bytes(&destination.join(blob_path(&digest)), document)?;
    }
    for (package, layer) in contents.layers() {
        let path = destination.join(blob_path(&layer.descriptor.digest));
        if !has_length(&path, layer.descriptor.size) {
            write_file(&path, |out| package.write_layer(layer, out))?;
        }
    }
    let new = contents.entries(&options.names);
    entries.retain(|entry| !new.iter().any(|new| replaces(new, entry)));
    entries.extend(new);
    write_bytes(&destination.join(LAYOUT), document::LAYOUT)?;
    write_bytes(&destination.join(INDEX), &document::index(&entries))?;
    Ok(contents.written())
}

/// What `index.json` lists now; nothing if `destination` is new or empty.
fn existing_entries(destination: &Path) -> Result<Vec<Value>, ExportError> {
    let path = destination.join(INDEX);
    match fs::read(&path) {
        Ok(bytes) => parse_index(&bytes).map_err(|reason| ExportError::DamagedLayout { path, reason }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if is_empty(destination)? {
                return Ok(Vec::new());
            }
            Err(ExportError::NotALayout { path: destination.to_owned() })
        }
        Err(source) => Err(ExportError::Write { path, source }),
    }
}

fn is_empty(directory: &Path) -> Result<bool, ExportError> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(ExportError::Write { path: directory.to_owned(), source }),
    }
}

fn parse_index(bytes: &[u8]) -> Result<Vec<Value>, String> {
    let mut index: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    match index.get_mut("manifests").map(Value::take) {
        Some(Value::Array(entries)) => Ok(entries),
        _ => Err("it lists no manifests".to_owned()),
    }
}

/// Whether `new` takes the place of `old`: it has its name, or is the same image without one.
fn replaces(new: &Value, old: &Value) -> bool {
    match (entry_name(new), entry_name(old)) {
        (Some(new), Some(old)) => new == old,
        (_, None) => new["digest"] == old["digest"],
        (None, Some(_)) => false,
    }
}

fn has_length(path: &Path, length: u64) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == length)
}

fn write_bytes(path: &Path, content: &[u8]) -> Result<(), ExportError> {
    write_file(path, |out| out.write_all(content).map_err(ExportError::Output))
}

/// Writes a file beside `path` and renames it, so that `path` is never half a file.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".partial");
    let aside = PathBuf::from(aside);
    let write_error = |source| ExportError::Write { path: path.to_owned(), source };
    match fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(write_error(error)),
        _ => {}
    }
    let file = File::create_new(&aside).map_err(write_error)?;
    let mut out = BufWriter::with_capacity(128 << 10, file);
    let result = write(&mut out).and_then(|()| {
        out.flush().map_err(write_error)?;
        fs::rename(&aside, path).map_err(write_error)
    });
    if result.is_err() {
        // The error that is returned says more than another one here could.
        let _ = fs::remove_file(&aside);
    }
    result
}
