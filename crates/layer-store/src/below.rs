//! What a step found before it changed anything: the other side of every comparison.

use std::cell::OnceCell;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, OFlags, Stat};
use rustix::io::{self, Errno};

use crate::StoreError;
use crate::directory;
use crate::hollow::Token;

type OpenView<'a> = dyn Fn() -> Result<OwnedFd, StoreError> + 'a;

/// The merged tree below a step.
pub(crate) struct Below<'a> {
    /// With the stubs; `None` if nothing lies below.
    full: Option<OwnedFd>,
    /// Opens the layers without the stubs; `None` if there are no stubs.
    open_layers: Option<&'a OpenView<'a>>,
    layers: OnceCell<OwnedFd>,
    /// Where files may be hollow: what tells them.
    pub hollow: Option<Token>,
}

impl<'a> Below<'a> {
    /// `full` is what the step saw. Where that holds stubs, `open_layers` opens what it would have
    /// seen without them.
    pub fn new(full: Option<OwnedFd>, open_layers: Option<&'a OpenView<'a>>, hollow: Option<Token>) -> Self {
        Self { full, open_layers, layers: OnceCell::new(), hollow }
    }

    /// The tree with the stubs.
    pub fn root(&self) -> Option<BorrowedFd<'_>> {
        self.full.as_ref().map(AsFd::as_fd)
    }

    /// Whether a layer has something at `path`, which is `name` in the lower directory `lower`.
    pub fn has(&self, lower: Option<BorrowedFd<'_>>, name: &CStr, path: &[u8]) -> Result<bool, StoreError> {
        let failed = |error| directory::error("read", path, error);
        if lower_stat(lower, name).map_err(failed)?.is_none() {
            return Ok(false);
        }
        match self.layers()? {
            None => Ok(true),
            Some(layers) => {
                Ok(directory::open_beneath(layers, path, OFlags::PATH).map_err(failed)?.is_some())
            }
        }
    }

    /// Whether a layer has something in the directory `path`, which is `lower`.
    pub fn has_content(&self, lower: Option<BorrowedFd<'_>>, path: &[u8]) -> Result<bool, StoreError> {
        let failed = |error| directory::error("read", path, error);
        let Some(lower) = lower else { return Ok(false) };
        match self.layers()? {
            None => Ok(!directory::is_empty(lower).map_err(failed)?),
            Some(layers) => match directory::open_beneath(layers, path, OFlags::DIRECTORY).map_err(failed)? {
                Some(found) => Ok(!directory::is_empty(found.as_fd()).map_err(failed)?),
                None => Ok(false),
            },
        }
    }

    fn layers(&self) -> Result<Option<BorrowedFd<'_>>, StoreError> {
        let Some(open) = self.open_layers else { return Ok(None) };
        if self.layers.get().is_none() {
            // Set only here, by the one thread that holds this.
            let _ = self.layers.set(open()?);
        }
        Ok(self.layers.get().map(AsFd::as_fd))
    }
}

/// Metadata of `name` in a lower directory; `None` if either is not there.
pub(crate) fn lower_stat(lower: Option<BorrowedFd<'_>>, name: &CStr) -> io::Result<Option<Stat>> {
    let Some(lower) = lower else { return Ok(None) };
    match fs::statat(lower, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
