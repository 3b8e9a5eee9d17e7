//! What a store's directory says of itself: its format, and where its snapshots have their marks.
//!
//! Both are written before anything else, and synced, since a store without them is none.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use crate::error::OnPath;
use crate::layout::Layout;
use crate::{Ownership, StoreError, StoreOptions, lock, staging};

/// The format that this code writes. A change that an earlier lbuild would get wrong is another number,
/// with a way from the one before in [`upgrade`].
///
/// 2: what processes have found is kept by their leases ([`crate::lock`]), and no more by a lock.
const VERSION: u32 = 2;

/// Beside other files of these names a store may begin: they are its own, or the file system's.
const HARMLESS: [&str; 3] = ["version", "marks", "lost+found"];

/// Reads what the store in `layout` is, or makes it one if it is empty. `options` say
/// where overlayfs has its marks here, and whose the files are.
///
/// # Errors
/// [`StoreError::NotAStore`], [`StoreError::NewerVersion`], [`StoreError::Damaged`] or [`StoreError::OtherMarks`].
pub(crate) fn check(layout: &Layout, options: StoreOptions) -> Result<(), StoreError> {
    let version = match read(&layout.version())? {
        Some(version) => version,
        None => {
            check_empty(layout)?;
            write_first(layout, &layout.version(), &VERSION.to_string())?
        }
    };
    match version.parse::<u32>() {
        Ok(VERSION) => {}
        Ok(older) if older < VERSION => upgrade(layout)?,
        Err(_) => {
            let reason = format!("it has {version:?} instead of the number of the store's format");
            return Err(StoreError::Damaged { path: layout.version(), reason });
        }
        Ok(_) => {
            let path = layout.root().to_owned();
            return Err(StoreError::NewerVersion { path, found: version, supported: VERSION });
        }
    }
    let expected = match (options.userxattr, options.ownership) {
        (false, _) => "trusted",
        (true, Ownership::Real) => "user",
        (true, Ownership::Noted) => "user, with noted owners",
    };
    let found = match read(&layout.marks())? {
        Some(found) => found,
        None => write_first(layout, &layout.marks(), expected)?,
    };
    if found != expected {
        return Err(StoreError::OtherMarks { path: layout.root().to_owned(), found, expected });
    }
    Ok(())
}

/// Makes a store of format 1 one of this format, once no earlier lbuild uses it any more: those keep the
/// store's lock as long as they live.
fn upgrade(layout: &Layout) -> Result<(), StoreError> {
    let _alone = lock::exclusive(&layout.lock(), layout.root(), lock::PATIENCE)?;
    let aside = layout.root().join(format!("version.{}", staging::unique_name()));
    write_synced(&aside, &VERSION.to_string())?;
    fs::rename(&aside, layout.version()).on("rename", &aside)
}

/// The content of a file of one line. One that a crash of the machine left empty counts as absent; one that
/// is damaged reads as what no store has.
fn read(path: &Path) -> Result<Option<String>, StoreError> {
    let content = match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        result => result.on("read", path)?,
    };
    let text = String::from_utf8_lossy(&content).trim().to_owned();
    Ok(Some(text).filter(|text| !text.is_empty()))
}

fn check_empty(layout: &Layout) -> Result<(), StoreError> {
    let root = layout.root();
    if layout.version().exists() {
        // What a crash left of it: the rest is ours.
        return Ok(());
    }
    for entry in fs::read_dir(root).on("read", root)? {
        let name = entry.on("read", root)?.file_name();
        let name = name.to_string_lossy();
        if !HARMLESS.iter().any(|harmless| name.starts_with(harmless)) {
            // Another process may be making the same store.
            return match layout.version().exists() {
                true => Ok(()),
                false => Err(StoreError::NotAStore { path: root.to_owned() }),
            };
        }
    }
    Ok(())
}

/// Writes `text` into `path`, unless another process was first; returns what is there.
fn write_first(layout: &Layout, path: &Path, text: &str) -> Result<String, StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = layout.root().join(format!("{name}.{}", staging::unique_name()));
    write_synced(&aside, text)?;
    let is_torn = path.exists() && read(path)?.is_none();
    let flags = if is_torn { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
    match rustix::fs::renameat_with(CWD, &aside, CWD, path, flags) {
        Err(Errno::EXIST) => fs::remove_file(&aside).on("remove", &aside)?,
        result => result.on("rename", &aside)?,
    }
    Ok(read(path)?.unwrap_or_default())
}

fn write_synced(path: &Path, line: &str) -> Result<(), StoreError> {
    let mut file = File::create(path).on("create", path)?;
    writeln!(file, "{line}").on("write", path)?;
    file.sync_data().on("sync", path)
}
