//! An image archive, read once from the beginning to the end.
//!
//! The document that tells what the files are (`manifest.json`, `index.json`) usually comes last.
//! So small files are kept in memory and large ones become blobs of the store as they pass; those
//! that turn out to belong to nothing go with the store's next prune.

use std::collections::BTreeMap;
use std::io::{BufReader, Read};
use std::path::{Component, Path};

use lbuild_archive::{ArchiveError, Entry, EntryKind, Reader, decompress_within};
use lbuild_layer_store::Store;
use lbuild_oci::Digest;

use crate::source::{Source, Stored, check_digest, named_digest};
use crate::{ImportError, Limits};

/// Files up to this many bytes may be kept in memory, …
const SMALL: u64 = 1 << 20;
/// … as long as all of them together have no more than this.
const MEMORY: u64 = 64 << 20;

/// Bytes that the table of files may take: names, targets of links, and what each file costs besides.
const TABLE: u64 = 64 << 20;
const TABLE_ENTRY: u64 = 128;

/// Symbolic links that lead to symbolic links; `docker save` makes chains of one.
const MAX_LINKS: usize = 8;

/// Directories that a root file system has and an image archive has not.
const ROOT_DIRECTORIES: [&str; 14] =
    ["bin", "boot", "dev", "etc", "home", "lib", "opt", "proc", "root", "sbin", "sys", "tmp", "usr", "var"];

/// The files of an archive by their path.
pub(crate) struct ArchiveSource<'a> {
    store: &'a Store,
    files: BTreeMap<String, Kept>,
    /// Bytes of [`TABLE`] that are left.
    table: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Kept {
    Memory(Vec<u8>),
    Blob(Stored),
    /// The path of the file that this one stands for.
    Link(String),
}

impl<'a> ArchiveSource<'a> {
    /// Reads all of `reader`, compressed or not.
    pub fn read(store: &'a Store, reader: impl Read, limits: &Limits) -> Result<Self, ImportError> {
        let (_, stream) = decompress_within(reader, &limits.archive).map_err(ArchiveError::Read)?;
        let mut archive = Reader::new(BufReader::new(stream), limits.archive);
        let mut source = Self { store, files: BTreeMap::new(), table: TABLE };
        let mut memory = MEMORY;
        let mut is_first = true;
        while let Some(entry) = next(&mut archive, is_first)? {
            source.take(entry, &mut memory)?;
            is_first = false;
        }
        archive.finish()?;
        Ok(source)
    }

    fn take(&mut self, mut entry: Entry<'_, impl Read>, memory: &mut u64) -> Result<(), ImportError> {
        let path = normal(&entry.header.path)?;
        reject_root_file_system(&path)?;
        let kept = match &entry.header.kind {
            EntryKind::File => self.keep(&path, &mut entry, memory)?,
            EntryKind::HardLink(target) => Kept::Link(normal(target)?),
            EntryKind::Symlink(target) => Kept::Link(resolve(&path, target)?),
            _ => return Ok(()),
        };
        match self.files.get(&path) {
            Some(known) if *known != kept => Err(ImportError::Duplicate { path }),
            Some(_) => Ok(()),
            None => {
                self.charge(&path, &kept)?;
                self.files.insert(path, kept);
                Ok(())
            }
        }
    }

    fn charge(&mut self, path: &str, kept: &Kept) -> Result<(), ImportError> {
        let target = if let Kept::Link(target) = kept { target.len() } else { 0 };
        let cost = TABLE_ENTRY + (path.len() + target) as u64;
        let what = "bytes of file names in an image archive";
        self.table = self.table.checked_sub(cost).ok_or(ArchiveError::Limit { what, limit: TABLE })?;
        Ok(())
    }

    fn keep(
        &self,
        path: &str,
        entry: &mut Entry<'_, impl Read>,
        memory: &mut u64,
    ) -> Result<Kept, ImportError> {
        let size = entry.header.size;
        let named = named_digest(path);
        if size > SMALL.min(*memory) {
            let stored = self.store(path, entry, named.as_ref())?;
            return Ok(Kept::Blob(stored));
        }
        *memory -= size;
        let mut bytes = Vec::with_capacity(size as usize);
        entry
            .read_to_end(&mut bytes)
            .map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
        if let Some(named) = named {
            check_digest(path, &named, Digest::of(&bytes))?;
        }
        Ok(Kept::Memory(bytes))
    }

    fn store(
        &self,
        path: &str,
        reader: &mut dyn Read,
        expected: Option<&Digest>,
    ) -> Result<Stored, ImportError> {
        Stored::keep(self.store, path, reader, expected)
    }

    fn file(&self, path: &str) -> Result<Option<&Kept>, ImportError> {
        let mut path = normal(path.as_bytes())?;
        for _ in 0..MAX_LINKS {
            match self.files.get(&path) {
                Some(Kept::Link(target)) => path.clone_from(target),
                other => return Ok(other),
            }
        }
        let reason = "it is a link that leads nowhere".to_owned();
        Err(ImportError::Invalid { path, reason })
    }
}

impl Source for ArchiveSource<'_> {
    fn document(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ImportError> {
        let too_large = || ImportError::DocumentTooLarge { path: path.to_owned(), limit };
        match self.file(path)? {
            None | Some(Kept::Link(_)) => Ok(None),
            Some(Kept::Memory(bytes)) if bytes.len() as u64 <= limit => Ok(Some(bytes.clone())),
            Some(Kept::Blob(stored)) if stored.size <= limit => {
                let file = self.store.open_blob(&stored.digest);
                let mut file = file.map_err(|source| ImportError::Store { what: path.to_owned(), source })?;
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes)
                    .map_err(|source| ImportError::Read { path: path.to_owned(), source })?;
                Ok(Some(bytes))
            }
            Some(_) => Err(too_large()),
        }
    }

    fn blob(&self, path: &str) -> Result<Option<Stored>, ImportError> {
        match self.file(path)? {
            None | Some(Kept::Link(_)) => Ok(None),
            Some(Kept::Blob(stored)) => Ok(Some(*stored)),
            Some(Kept::Memory(bytes)) => self.store(path, &mut &bytes[..], None).map(Some),
        }
    }

    fn not_an_image(&self) -> ImportError {
        let reason = if self.files.is_empty() {
            "it is empty"
        } else if self.files.contains_key("repositories") {
            "it is in the form of Docker before 1.10, which has no manifest.json; save the image anew"
        } else {
            "it has neither a manifest.json nor an index.json with an oci-layout"
        };
        ImportError::NotAnImage { reason: reason.to_owned() }
    }
}

/// The next entry. What does not even begin as a tar is no image archive.
fn next<R: Read>(archive: &mut Reader<R>, is_first: bool) -> Result<Option<Entry<'_, R>>, ImportError> {
    archive.next().map_err(|error| match error {
        ArchiveError::Malformed { .. } | ArchiveError::Truncated { .. } if is_first => {
            ImportError::NotAnImage { reason: "it is no tar archive".to_owned() }
        }
        error => error.into(),
    })
}

/// A path in the one form that it is looked up by.
fn normal(path: &[u8]) -> Result<String, ImportError> {
    join("", path)
}

/// The path that the target of the symbolic link `link` stands for.
fn resolve(link: &str, target: &[u8]) -> Result<String, ImportError> {
    let directory =
        if target.starts_with(b"/") { "" } else { link.rsplit_once('/').map_or("", |(parent, _)| parent) };
    join(directory, target)
}

fn join(directory: &str, path: &[u8]) -> Result<String, ImportError> {
    let invalid = |reason: &str| ImportError::Invalid {
        path: String::from_utf8_lossy(path).into_owned(),
        reason: reason.to_owned(),
    };
    let text = std::str::from_utf8(path).map_err(|_| invalid("no file of an image archive is named so"))?;
    let mut parts: Vec<&str> = directory.split('/').filter(|part| !part.is_empty()).collect();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::ParentDir => {
                parts.pop().ok_or_else(|| invalid("it leads out of the archive"))?;
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Ok(parts.join("/"))
}

/// Stops at the first sign of a root file system, before it is copied file by file.
fn reject_root_file_system(path: &str) -> Result<(), ImportError> {
    let first = path.split('/').next().unwrap_or_default();
    if !ROOT_DIRECTORIES.contains(&first) {
        return Ok(());
    }
    let reason = format!(
        "it holds /{path}, as the root file system of an image does; to make an image of that, build a \
         Dockerfile with FROM scratch and ADD"
    );
    Err(ImportError::NotAnImage { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_have_one_form_and_stay_inside() {
        for (directory, path, expected) in [
            ("", "./manifest.json", Some("manifest.json")),
            ("", "/blobs//sha256/x", Some("blobs/sha256/x")),
            ("", "a/../b", Some("b")),
            ("", "../b", None),
            ("", "a/../../b", None),
            ("1", "../2/layer.tar", Some("2/layer.tar")),
            ("1", "../../etc/passwd", None),
        ] {
            assert_eq!(join(directory, path.as_bytes()).ok().as_deref(), expected, "{directory} {path}");
        }
        assert!(join("", b"\xff").is_err());
        assert_eq!(resolve("1/layer.tar", b"/2/layer.tar").unwrap(), "2/layer.tar");
        assert_eq!(resolve("1/layer.tar", b"../2.tar").unwrap(), "2.tar");
    }

    #[test]
    fn names_and_targets_of_links_take_bounded_memory() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), lbuild_layer_store::StoreOptions::default()).unwrap();
        let link = Kept::Link("target".to_owned());
        let cost = TABLE_ENTRY + 10;
        for (table, is_enough) in [(cost, true), (cost - 1, false)] {
            let mut source = ArchiveSource { store: &store, files: BTreeMap::new(), table };
            let result = source.charge("path", &link);
            match result {
                Ok(()) => assert!(is_enough && source.table == 0),
                Err(error) => assert!(!is_enough && matches!(error, ImportError::Archive(_)), "{error}"),
            }
        }
    }

    #[test]
    fn a_root_file_system_is_told_from_an_image() {
        for path in ["etc/passwd", "usr", "bin/sh"] {
            let error = reject_root_file_system(path).unwrap_err().to_string();
            assert!(error.contains("FROM scratch"), "{error}");
        }
        for path in ["manifest.json", "blobs/sha256", "0123/layer.tar", "repositories", "bin.tar", ""] {
            assert!(reject_root_file_system(path).is_ok(), "{path}");
        }
    }
}
