//! The files of an image, without the image.

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use lbuild_archive::{EntryKind, Header, Unpacker, Writer};
use lbuild_confined::Root;
use lbuild_layer_store::{ImageRecord, Store};
use rustix::fs::FileType;

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
    tree::walk(view.root(), store.notes_devices(), &mut |mut header, file| {
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
/// As [`write_rootfs_tar`]; [`ExportError::Write`] if the folder cannot be made,
/// [`ExportError::RootFolder`] if it is `/`, and [`ExportError::InTheWay`] rather than to replace a
/// file or link by a directory.
///
/// Where devices are only noted, since none can be made, the folder gets none.
pub fn write_rootfs_dir(
    store: &Store,
    image: &ImageRecord,
    destination: &Path,
    timestamp: Option<i64>,
) -> Result<(), ExportError> {
    let write_error = |source| ExportError::Write { path: destination.to_owned(), source };
    DirBuilder::new().recursive(true).mode(0o755).create(destination).map_err(write_error)?;
    if destination.canonicalize().map_err(write_error)? == Path::new("/") {
        return Err(ExportError::RootFolder { path: destination.to_owned() });
    }
    let root = Root::open(destination).map_err(write_error)?;
    let there = root.try_clone().map_err(write_error)?;
    let view = store.view(&image.layers).map_err(|source| ExportError::Store { image: image.id, source })?;
    let mut unpacker = Unpacker::new(root, false);
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    tree::walk(view.root(), store.notes_devices(), &mut |mut header, file| {
        if store.notes_devices() && is_device(&header.kind) {
            return Ok(());
        }
        set_time(&mut header, timestamp);
        (header.uid, header.gid) = (user, group);
        if header.kind == EntryKind::Directory {
            refuse_what_is_in_the_way(&there, &header.path)?;
        }
        match file {
            Some(mut file) => unpacker.put(&header, &mut file)?,
            None => unpacker.put(&header, &mut io::empty())?,
        };
        Ok(())
    })?;
    Ok(unpacker.finish()?)
}

/// A usr-merged `/bin` is a link in one tree and a directory in another: neither may replace the other.
fn refuse_what_is_in_the_way(folder: &Root, path: &[u8]) -> Result<(), ExportError> {
    // With its slash, the path would lead through a link.
    let path = Path::new(OsStr::from_bytes(path.strip_suffix(b"/").unwrap_or(path)));
    match folder.lstat(path) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
            Err(ExportError::InTheWay { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

fn is_device(kind: &EntryKind) -> bool {
    matches!(kind, EntryKind::CharDevice { .. } | EntryKind::BlockDevice { .. })
}

fn set_time(header: &mut Header, timestamp: Option<i64>) {
    if let Some(timestamp) = timestamp {
        header.mtime = timestamp;
    }
}
