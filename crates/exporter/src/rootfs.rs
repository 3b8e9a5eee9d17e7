//! The files of an image, without the image.

use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use lbuild_archive::{Header, Unpacker, Writer};
use lbuild_confined::Root;
use lbuild_layer_store::{ImageRecord, Store};

use crate::{ExportError, tree};

/// Writes the merged files of `image` as a tar. With a `timestamp`, in seconds since the Unix epoch,
/// that is the time of all files.
///
/// # Errors
/// [`ExportError::Store`], [`Read`](ExportError::Read), [`Archive`](ExportError::Archive) or
/// [`Output`](ExportError::Output).
pub fn write_rootfs_tar(
    store: &Store,
    image: &ImageRecord,
    out: &mut dyn Write,
    timestamp: Option<i64>,
) -> Result<(), ExportError> {
    let view = store.view(&image.layers).map_err(|source| ExportError::Store { image: image.id, source })?;
    let mut tar = Writer::new(out);
    tree::walk(view.root(), &mut |mut header, file| {
        set_time(&mut header, timestamp);
        match file {
            Some(file) => tar.append_file(&header, &file)?,
            None => tar.append(&header, &mut io::empty())?,
        }
        Ok(())
    })?;
    tar.finish().and_then(Write::flush).map_err(ExportError::Output)
}

/// Writes the merged files of `image` into the folder `destination`, which is made if it does not
/// exist. Files that are there stay unless the image has one of that name. As with BuildKit, all
/// files belong to this process's user. Nothing lands outside the folder, whatever links it holds.
///
/// # Errors
/// As [`write_rootfs_tar`]; [`ExportError::Write`] if the folder cannot be made.
pub fn write_rootfs_dir(
    store: &Store,
    image: &ImageRecord,
    destination: &Path,
    timestamp: Option<i64>,
) -> Result<(), ExportError> {
    let write_error = |source| ExportError::Write { path: destination.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o755).create(destination).map_err(write_error)?;
    let root = Root::open(destination).map_err(write_error)?;
    let view = store.view(&image.layers).map_err(|source| ExportError::Store { image: image.id, source })?;
    let mut unpacker = Unpacker::new(root, false);
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    tree::walk(view.root(), &mut |mut header, file| {
        set_time(&mut header, timestamp);
        (header.uid, header.gid) = (user, group);
        match file {
            Some(mut file) => unpacker.put(&header, &mut file)?,
            None => unpacker.put(&header, &mut io::empty())?,
        };
        Ok(())
    })?;
    Ok(unpacker.finish()?)
}

fn set_time(header: &mut Header, timestamp: Option<i64>) {
    if let Some(timestamp) = timestamp {
        header.mtime = timestamp;
    }
}
