//! A cache in a folder: `type=local`. Files are renamed into place, so that readers see whole ones.
//!
//! Others may write there too. What they put in a file's place is no file, then; and a link in the place of
//! one of the folder's own folders leads nobody elsewhere, above all not the sweep.
//!
//! ```text
//! records/NAME            documents
//! blobs/sha256/DIGEST     layers
//! ```

use std::collections::HashSet;
use std::fs::{self, DirEntry, File};
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use lbuild_layer_store::Blob;
use lbuild_oci::Digest;
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
use rustix::io::Errno;

use crate::CacheError;
use crate::document;
use crate::error::OnPath;
use crate::storage::{Listed, Storage};

/// Bytes of a document: as much as registries take.
const MAX_DOCUMENT: u64 = 4 << 20;

/// What begins the source of a layer in a folder.
const SCHEME: &str = "folder:";

/// The folder of the documents.
const RECORDS: &[&str] = &["records"];

/// The folder of the layers.
const BLOBS: &[&str] = &["blobs", "sha256"];

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

    /// How one of the folders is told of.
    fn shown(&self, folder: &[&str]) -> PathBuf {
        self.root.join(folder.iter().collect::<PathBuf>())
    }

    /// One of the folders, which may be missing.
    fn opened(&self, folder: &[&str]) -> Result<Option<Opened>, CacheError> {
        match Opened::new(&self.root, folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some).on("open", self.shown(folder)),
        }
    }

    /// Writes a file aside and renames it.
    fn put(
        &self,
        folder: &[&str],
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), CacheError> {
        let put = || {
            let folder = Opened::made(&self.root, folder)?;
            let mut aside = tempfile::Builder::new().prefix(".new-").tempfile_in(folder.path())?;
            write(aside.as_file_mut())?;
            // Others share the folder: not this user's alone, as temporary files are.
            aside.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
            aside.persist(folder.path().join(name)).map_err(|error| error.error).map(drop)
        };
        put().on("write", self.shown(folder).join(name))
    }
}

impl Storage for Folder {
    fn document(&self, name: &str) -> Result<Option<Vec<u8>>, CacheError> {
        let Some(folder) = self.opened(RECORDS)? else { return Ok(None) };
        let read = || -> io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            folder.file(name)?.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > MAX_DOCUMENT {
                Err(io::ErrorKind::FileTooLarge.into())
            } else {
                Ok(bytes)
            }
        };
        match read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some).on("read", self.shown(RECORDS).join(name)),
        }
    }

    fn put_document(&self, name: &str, document: &[u8]) -> Result<(), CacheError> {
        self.put(RECORDS, name, |file| file.write_all(document))
    }

    fn remove_document(&self, name: &str) -> Result<(), CacheError> {
        let Some(folder) = self.opened(RECORDS)? else { return Ok(()) };
        remove(&folder, name).on("remove", self.shown(RECORDS).join(name)).map(drop)
    }

    fn documents(&self, is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Listed>, CacheError> {
        let mut listed = Vec::new();
        let Some(folder) = self.opened(RECORDS)? else { return Ok(listed) };
        for entry in folder.entries().on("read", self.shown(RECORDS))? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if is_wanted(&name) {
                listed.push(Listed { name, age: age(&entry) });
            }
        }
        Ok(listed)
    }

    fn has_blob(&self, blob: &Blob) -> Result<bool, CacheError> {
        let name = blob.digest.hex();
        let Some(folder) = self.opened(BLOBS)? else { return Ok(false) };
        match fs::symlink_metadata(folder.path().join(&*name)) {
            // Half of one would be replaced.
            Ok(metadata) => Ok(metadata.is_file() && metadata.len() == blob.size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).on("read", self.shown(BLOBS).join(&*name)),
        }
    }

    fn put_blob(&self, blob: &Blob, mut file: &File) -> Result<(), CacheError> {
        self.put(BLOBS, &blob.digest.hex(), |target| {
            file.rewind()?;
            io::copy(&mut file, target).map(drop)
        })
    }

    fn blob(&self, blob: &Blob) -> io::Result<Box<dyn Read>> {
        // One byte more than there should be tells of too many.
        let file = Opened::new(&self.root, BLOBS)?.file(&blob.digest.hex())?;
        Ok(Box::new(file.take(blob.size.saturating_add(1))))
    }

    fn sweep(&self, least_age: Duration) -> Result<u64, CacheError> {
        let mut named = HashSet::new();
        for listed in self.documents(&|_| true)? {
            if let Some(bytes) = self.document(&listed.name)? {
                named.extend(document::blobs(&bytes).iter().map(Digest::hex));
            }
        }
        let mut removed = 0;
        let Some(folder) = self.opened(BLOBS)? else { return Ok(removed) };
        for entry in folder.entries().on("read", self.shown(BLOBS))? {
            let is_old = age(&entry).is_some_and(|age| age >= least_age.max(SWEEP_AGE));
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if is_old && !named.contains(&*name) {
                let is_removed = remove(&folder, &name).on("remove", self.shown(BLOBS).join(&*name))?;
                removed += u64::from(is_removed);
            }
        }
        Ok(removed)
    }

    fn source(&self) -> String {
        format!("{SCHEME}{}", self.root.display())
    }
}

/// A folder of the cache, which no link can exchange for another.
struct Opened(OwnedFd);

impl Opened {
    /// Opens `folder` in `root`, whose own path may well lead through links.
    fn new(root: &Path, folder: &[&str]) -> io::Result<Self> {
        Self::each(root, folder, &|_, _| Ok(()))
    }

    /// The same for one that is made if it is missing.
    fn made(root: &Path, folder: &[&str]) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Self::each(root, folder, &|parent, name| match mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
            Err(Errno::EXIST) => Ok(()),
            result => result,
        })
    }

    fn each(
        root: &Path,
        folder: &[&str],
        before: &dyn Fn(&OwnedFd, &str) -> Result<(), Errno>,
    ) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut opened = openat(CWD, root, flags, Mode::empty())?;
        for name in folder {
            before(&opened, name)?;
            opened = openat(&opened, *name, flags | OFlags::NOFOLLOW, Mode::empty())?;
        }
        Ok(Self(opened))
    }

    /// A path that leads to the folder as long as it is open.
    fn path(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
    }

    /// A regular file: to open a FIFO would be to wait for somebody who writes to it.
    fn file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, Mode::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    fn entries(&self) -> io::Result<Vec<DirEntry>> {
        fs::read_dir(self.path())?.collect()
    }
}

/// Whether the file was there.
fn remove(folder: &Opened, name: &str) -> io::Result<bool> {
    match fs::remove_file(folder.path().join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        result => result.map(|()| true),
    }
}

fn age(entry: &DirEntry) -> Option<Duration> {
    let modified = entry.metadata().and_then(|metadata| metadata.modified()).ok()?;
    Some(SystemTime::now().duration_since(modified).unwrap_or_default())
}
