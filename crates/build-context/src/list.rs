//! What a context holds, for people.

use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::context::Context;
use crate::error::ContextError;
use crate::ignore::Reason;
use crate::metadata::Metadata;
use crate::names::Names;
use crate::walk::unreadable;

/// One file of a context's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// From the context's root.
    pub path: PathBuf,
    /// What it is.
    pub metadata: Metadata,
    /// Whether a build sees it. What is below a directory that it does not see is not listed.
    pub is_visible: bool,
    /// The ignore rule that decides about it, if any matches.
    pub reason: Option<Reason>,
}

impl Context {
    /// The files of the folder in sorted order, a directory before what it holds; ignored ones too.
    ///
    /// # Errors
    /// [`ContextError::Read`] for a directory that cannot be read.
    pub fn list(&self) -> Result<Vec<Listed>, ContextError> {
        let mut listed = Vec::new();
        // What is still to be listed, the next one last: a folder may be deeper than a stack.
        let mut pending = self.list_directory(Path::new(""))?;
        while let Some(next) = pending.pop() {
            if next.is_visible && next.metadata.is_directory() {
                let below = self.list_directory(&next.path)?;
                listed.push(next);
                pending.extend(below);
            } else {
                listed.push(next);
            }
        }
        Ok(listed)
    }

    /// The entries of one directory, the last one first.
    fn list_directory(&self, directory: &Path) -> Result<Vec<Listed>, ContextError> {
        let mut listed = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let open = self.root().open_at(directory, flags, Mode::empty());
        let open = open.map_err(|source| unreadable(directory, source))?;
        for name in Names::sorted(&open).map_err(|source| unreadable(directory, source))? {
            let path = directory.join(&name);
            let metadata = match fs::statat(&open, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => Metadata::of(&stat),
                Err(Errno::NOENT) => continue,
                Err(error) => return Err(unreadable(&path, error)),
            };
            let is_visible = self.ignore().shows(&path, metadata.is_directory());
            let reason = self.ignore().explain(&path);
            listed.push(Listed { path, metadata, is_visible, reason });
        }
        listed.reverse();
        Ok(listed)
    }
}
