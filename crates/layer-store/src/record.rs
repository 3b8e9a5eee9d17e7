//! Small files that are either whole or absent.
//!
//! A record is written aside and renamed, and begins with the digest of the rest, so that one that
//! a crash of the machine tore is seen and counts as absent. What people named is synced before
//! it replaces what it was before; the rest can be made again.
//!
//! The form: `sha256:` and 64 digits, a newline, the body.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::SystemTime;

use lbuild_oci::Digest;

use crate::StoreError;
use crate::error::OnPath;
use crate::staging::Staging;

/// Writes `body` as the record `path`, whose directory is made if it is missing. A crash of the
/// machine may tear it.
pub(crate) fn write(staging: &Staging, path: &Path, body: &[u8]) -> Result<(), StoreError> {
    write_aside(staging, path, body, false)
}

/// [`write`], where a crash of the machine leaves the new record or the one that was there before.
pub(crate) fn write_synced(staging: &Staging, path: &Path, body: &[u8]) -> Result<(), StoreError> {
    write_aside(staging, path, body, true)
}

/// The body of the record `path`; `None` if there is none.
///
/// # Errors
/// [`StoreError::Damaged`] if it is not as it was written.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    read_with(path, |_, _| {})
}

/// [`read`], which marks the record as used now, at most once an hour.
pub(crate) fn read_used(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    read_with(path, touch_open)
}

/// [`read`], where a damaged record counts as absent.
pub(crate) fn read_intact(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match read(path) {
        Err(StoreError::Damaged { .. }) => Ok(None),
        result => result,
    }
}

/// The value that the JSON record `path` holds; a damaged one counts as absent.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, StoreError> {
    Ok(read_intact(path)?.and_then(|body| serde_json::from_slice(&body).ok()))
}

/// Marks a record as used now, at most once an hour.
pub(crate) fn touch(path: &Path) {
    if let Ok(file) = File::open(path)
        && let Ok(metadata) = file.metadata()
    {
        touch_open(&file, &metadata);
    }
}

fn touch_open(file: &File, metadata: &Metadata) {
    let now = SystemTime::now();
    let is_recent =
        metadata.modified().is_ok_and(|last| now.duration_since(last).is_ok_and(|age| age.as_secs() < 3600));
    if !is_recent {
        // A record whose time cannot be set is only pruned earlier.
        let _ = file.set_modified(now);
    }
}

fn read_with(path: &Path, visit: impl FnOnce(&File, &Metadata)) -> Result<Option<Vec<u8>>, StoreError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.on("read", path)?,
    };
    let metadata = file.metadata().on("read", path)?;
    let content = read_all(&file, metadata.len()).on("read", path)?;
    visit(&file, &metadata);
    match body(&content) {
        Some(body) => Ok(Some(body.to_vec())),
        None => Err(StoreError::Damaged {
            path: path.to_owned(),
            reason: "its checksum does not match".to_owned(),
        }),
    }
}

/// The content of a file of `length` bytes, in one call: a cached build reads many records.
fn read_all(mut file: &File, length: u64) -> io::Result<Vec<u8>> {
    let mut content = vec![0; length as usize];
    let mut filled = 0;
    while filled < content.len() {
        match file.read(&mut content[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    content.truncate(filled);
    Ok(content)
}

fn write_aside(staging: &Staging, path: &Path, body: &[u8], is_synced: bool) -> Result<(), StoreError> {
    let (mut file, aside) = staging.file()?;
    let mut content = format!("{}\n", Digest::of(body)).into_bytes();
    content.extend_from_slice(body);
    file.write_all(&content).on("write", &aside)?;
    if is_synced {
        file.sync_data().on("sync", &aside)?;
    }
    if let Err(error) = fs::rename(&aside, path) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(error).on("write", path);
        }
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory).on("create", directory)?;
        fs::rename(&aside, path).on("write", path)?;
    }
    Ok(())
}

fn body(content: &[u8]) -> Option<&[u8]> {
    let newline = content.iter().position(|&byte| byte == b'\n')?;
    let expected: Digest = std::str::from_utf8(&content[..newline]).ok()?.parse().ok()?;
    let body = &content[newline + 1..];
    (Digest::of(body) == expected).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staging(directory: &Path) -> Staging {
        Staging::create(&directory.join("tmp")).unwrap()
    }

    #[test]
    fn a_record_reads_back_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let staging = staging(directory.path());
        let path = directory.path().join("a/b");
        assert_eq!(read(&path).unwrap(), None);
        for body in [&b""[..], b"one\ntwo", b"\0\xff"] {
            write(&staging, &path, body).unwrap();
            assert_eq!(read(&path).unwrap().as_deref(), Some(body));
        }
    }

    #[test]
    fn a_torn_record_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let staging = staging(directory.path());
        let path = directory.path().join("record");
        write(&staging, &path, b"content of the record").unwrap();
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(read(&path), Err(StoreError::Damaged { .. })), "{length}");
        }
        for position in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[position] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert_eq!(read_intact(&path).unwrap(), None, "{position}");
        }
    }

    #[test]
    fn a_use_is_noted_at_most_once_an_hour() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("record");
        fs::write(&path, "").unwrap();
        let age = |seconds| {
            let time = SystemTime::now() - std::time::Duration::from_secs(seconds);
            File::open(&path).unwrap().set_modified(time).unwrap();
            touch(&path);
            let elapsed = fs::metadata(&path).unwrap().modified().unwrap().elapsed().unwrap();
            elapsed.as_secs()
        };
        assert!(age(1800) >= 1800);
        assert!(age(7200) < 1800);
    }
}
