//! The submodules of a checkout, and theirs.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::RemoteError;
use super::git::Git;

/// Submodules of submodules of submodules: deeper than any that people make.
const MAX_DEPTH: usize = 16;

/// The mode of a submodule in git's index.
const GITLINK: &[u8] = b"160000 ";

/// Checks out all submodules below the checkout `files` of `url`.
///
/// Each level is looked at before git works on it. Without `keep_git`, no `.git` stays.
///
/// # Errors
/// [`RemoteError::Submodule`] for what only an attack has; [`RemoteError::Git`].
pub(super) fn update(git: &Git<'_>, url: &str, files: &Path, keep_git: bool) -> Result<(), RemoteError> {
    let mut pending = vec![(git.clone(), files.to_owned(), 0)];
    let mut checked_out = Vec::new();
    while let Some((git, folder, depth)) = pending.pop() {
        let refused = |reason: String| RemoteError::Submodule { url: url.to_owned(), reason };
        if !folder.join(".gitmodules").symlink_metadata().is_ok_and(|metadata| metadata.is_file()) {
            continue;
        }
        if depth == MAX_DEPTH {
            return Err(refused(format!("they are nested deeper than {MAX_DEPTH} levels")));
        }
        check_configuration(&git, url)?;
        let paths = paths(&git)?;
        if let Some(path) = paths.iter().find(|path| has_control(path.as_os_str().as_bytes())) {
            return Err(refused(format!("its path {path:?} has a control character")));
        }
        fetch(&git, url)?;
        for path in paths {
            let place = folder.join(path);
            // git does not follow links; neither do we.
            if place.canonicalize().ok().as_deref() != Some(&resolved(&folder, &place)) {
                return Err(refused(format!("{} is reached through a link", place.display())));
            }
            pending.push((git.in_folder(&place), place.clone(), depth + 1));
            checked_out.push(place);
        }
    }
    if !keep_git {
        checked_out.iter().try_for_each(|place| remove_git(place))?;
    }
    Ok(())
}

/// Refuses values that git reads otherwise than it wrote them (CVE-2025-48384).
fn check_configuration(git: &Git<'_>, url: &str) -> Result<(), RemoteError> {
    let what = format!("read the submodules of {url}");
    let listed = git.run(&what, ["config", "--file", ".gitmodules", "--no-includes", "--list", "-z"])?;
    for entry in listed.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        // NAME, a line feed, VALUE.
        let (name, value) = match entry.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&entry[..end], &entry[end + 1..]),
            None => (entry, &[][..]),
        };
        if has_control(name) || has_control(value) {
            let reason = format!("{:?} has a control character", String::from_utf8_lossy(entry));
            return Err(RemoteError::Submodule { url: url.to_owned(), reason });
        }
    }
    Ok(())
}

fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().any(u8::is_ascii_control)
}

/// Where the submodules of this level lie.
fn paths(git: &Git<'_>) -> Result<Vec<PathBuf>, RemoteError> {
    let listed = git.run("list the submodules", ["ls-files", "--stage", "-z"])?;
    let links = listed.split(|byte| *byte == 0).filter(|entry| entry.starts_with(GITLINK));
    let path = |entry: &[u8]| {
        let tab = entry.iter().position(|byte| *byte == b'\t')?;
        Some(PathBuf::from(OsStr::from_bytes(&entry[tab + 1..])))
    };
    Ok(links.filter_map(path).collect())
}

fn fetch(git: &Git<'_>, url: &str) -> Result<(), RemoteError> {
    let what = format!("fetch the submodules of {url}");
    let update = ["submodule", "--quiet", "update", "--init", "--force", "--checkout"];
    match git.run(&what, update.iter().chain(&["--depth=1"])) {
        // Some servers have no shallow copies, or none of that commit.
        Err(RemoteError::Git { output, .. }) if !output.contains("not allowed") => {
            git.run(&what, update).map(drop)
        }
        result => result.map(drop),
    }
}

/// The path of `place` if no component below `folder` is a link.
fn resolved(folder: &Path, place: &Path) -> PathBuf {
    let below = place.strip_prefix(folder).unwrap_or(place);
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned()).join(below)
}

fn remove_git(place: &Path) -> Result<(), RemoteError> {
    let path = place.join(".git");
    let removed = match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
        Ok(_) => fs::remove_file(&path),
        Err(_) => Ok(()),
    };
    removed.map_err(|source| RemoteError::Io { what: format!("remove {}", path.display()), source })
}
