//! A cache in a folder: `type=local`. Files are renamed into place, so that readers see whole ones.
//!
//! ```text
//! records/NAME            documents
//! blobs/sha256/DIGEST     layers
//! ```

use std::collections::HashSet;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lbuild_layer_store::Blob;
use lbuild_oci::Digest;

use crate::CacheError;
use crate::document;
use crate::error::OnPath;
use crate::storage::{Listed, Storage};

/// Bytes of a document: as much as registries take.
const MAX_DOCUMENT: u64 = 4 << 20;

/// What begins the source of a layer in a folder.
const SCHEME: &str = "folder:";

/// A blob that was put there lately may be of a record that is still to come.
const SWEEP_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// A cache in a folder.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    /// The cache in `root`, which need not exist.
    ///
    /// # Errors
    /// The current folder cannot be told, and `root` is relative.
    pub fn new(root: &Path) -> Result<Self, CacheError> {
        Ok(Self { root: std::path::absolute(root).on("find", root)? })
    }

    /// The folder in which a layer is, if `source` says that it is in one.
    pub fn of_source(source: &str) -> Option<Self> {
        source.strip_prefix(SCHEME).map(|root| Self { root: root.into() })
    }

    fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    fn blobs(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Writes a file aside and renames it.
    fn put(
        &self,
        folder: &Path,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), CacheError> {
        let path = folder.join(name);
        let put = || {
            fs::create_dir_all(folder)?;
            let mut aside = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
            write(aside.as_file_mut())?;
            // Others share the folder: not this user's alone, as temporary files are.
            aside.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            aside.persist(&path).map_err(|error| error.error).map(drop)
        };
        put().on("write", &path)
    }
}

impl Storage for Folder {
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let path = self.records().join(name);
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            File::open(&path)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_DOCUMENT {
                Err(io::ErrorKind::FileTooLarge.into())
            } else {
                Ok(bytes)
            }
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some).on("read", path),
        }
    }

    fn put_document(&self, name: &str, document: &[u8]) -> Result<(), CacheError> {
        self.put(&self.records(), name, |file| file.write_all(document))
    }

    fn remove_document(&self, name: &str) -> Result<(), CacheError> {
        remove(&self.records().join(name)).map(drop)
    }

    fn documents(&self, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Listed>, CacheError> {
        let mut listed = Vec::new();
        for entry in entries(&self.records())? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_wanted(&name) {
                listed.push(Listed { name, age: age(&entry) });
            }
        }
        Ok(listed)
    }

    fn has_blob(&self, blob: &Blob) -> Result<bool, CacheError> {
        let path = self.blob_path(&blob.digest);
        match fs::metadata(&path) {
            // Half of one would be replaced.
            Ok(metadata) => Ok(metadata.len() == blob.size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).on("read", path),
        }
    }

    fn put_blob(&self, blob: &Blob, mut file: &File) -> Result<(), CacheError> {
        self.put(&self.blobs(), &blob.digest.hex(), |target| {
            file.rewind()?;
            io::copy(&mut file, target).map(drop)
        })
    }

    fn blob(&self, blob: &Blob) -> io::Result<Box<dyn Read>> {
        // One byte more than there should be tells of too many.
        Ok(Box::new(File::open(self.blob_path(&blob.digest))?.take(blob.size.saturating_add(1))))
    }

    fn sweep(&self, least_age: Duration) -> Result<u64, CacheError> {
        let mut named = HashSet::new();
        for listed in self.documents(&|_| true)? {
            if let Some(bytes) = self.document(&listed.name)? {
                named.extend(document::blobs(&bytes).iter().map(Digest::hex));
            }
        }
        let mut removed = 0;
        for entry in entries(&self.blobs())? {
            let is_old = age(&entry).is_some_and(|age| age >= least_age.max(SWEEP_AGE));
            if is_old && !named.contains(&*entry.file_name().to_string_lossy()) && remove(&entry.path())? {
                removed += 1;
            }
        }
        Ok(removed)
    }

    fn source(&self) -> String {
        format!("{SCHEME}{}", self.root.display())
    }
}

fn entries(folder: &Path) -> Result<Vec<DirEntry>, CacheError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).on("read", folder),
        Ok(entries) => entries.collect::<io::Result<_>>().on("read", folder),
    }
}

/// Whether the file was there.
fn remove(path: &Path) -> Result<bool, CacheError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        result => result.map(|()| true).on("remove", path),
    }
}

fn age(entry: &DirEntry) -> Option<Duration> {
    let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
    Some(SystemTime::now().duration_since(modified).unwrap_or_default())
}
