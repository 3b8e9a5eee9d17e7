//! An OCI layout folder.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lbuild_confined::Root;
use lbuild_layer_store::Store;
use rustix::fs::{Mode, OFlags};

use crate::ImportError;
use crate::source::{self, Source, Stored};

/// A folder; links in it do not lead out.
pub(crate) struct FolderSource<'a> {
    store: &'a Store,
    path: PathBuf,
    root: Root,
    /// Files that are blobs of the store now, by their path: images share layers.
    stored: RefCell<HashMap<String, Stored>>,
}

impl<'a> FolderSource<'a> {
    pub fn open(store: &'a Store, path: &Path) -> Result<Self, ImportError> {
        let root = Root::open(path)
            .map_err(|source| ImportError::Read { path: path.display().to_string(), source })?;
        Ok(Self { store, path: path.to_owned(), root, stored: RefCell::default() })
    }

    fn read_error(&self, path: &str, source: io::Error) -> ImportError {
        ImportError::Read { path: self.path.join(path).display().to_string(), source }
    }
}

impl Source for FolderSource<'_> {
    fn document(&self, path: &str, limit: u64) -> Result<Option<Vec<u8>>, ImportError> {
        source::document(&self.root, &self.path, path, limit)
    }

    fn blob(&self, path: &str) -> Result<Option<Stored>, ImportError> {
        if let Some(stored) = self.stored.borrow().get(path) {
            return Ok(Some(*stored));
        }
        // Without O_NONBLOCK a FIFO of that name would stop us for good.
        let mut file = match self.root.open_at(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.read_error(path, error)),
        };
        let metadata = file.metadata().map_err(|error| self.read_error(path, error))?;
        if !metadata.is_file() {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(self.read_error(path, error));
        }
        // One byte more than there is tells a file that grows.
        let mut reader = file.by_ref().take(metadata.len() + 1);
        let stored = Stored::keep(self.store, path, &mut reader, None)?;
        self.stored.borrow_mut().insert(path.to_owned(), stored);
        Ok(Some(stored))
    }

    fn not_an_image(&self) -> ImportError {
        let reason = format!(
            "{} is no OCI layout, which has the files oci-layout and index.json",
            self.path.display()
        );
        ImportError::NotAnImage { reason }
    }
}
