//! A tree that COPY and ADD can read.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use lbuild_confined::Root;
use rustix::io::Errno;

use crate::ignore::Ignore;
use crate::metadata::{Kind, Metadata};

/// As many as the kernel follows in one path.
const MAX_SYMLINKS: usize = 40;

/// A directory tree, perhaps seen through ignore rules: what they hide does not exist here.
#[derive(Debug, Clone, Copy)]
pub struct SourceTree<'a> {
    root: &'a Root,
    ignore: Option<&'a Ignore>,
    owners: Owners,
}

/// Whose the files of a tree are for a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owners {
    /// Whose they are: a stage, an image, a tar archive.
    AsFound,
    /// Root's: a folder of the user's.
    Root,
}

impl<'a> SourceTree<'a> {
    /// The whole tree with its owners.
    pub fn new(root: &'a Root) -> Self {
        Self { root, ignore: None, owners: Owners::AsFound }
    }

    /// The tree through ignore rules.
    pub fn with_ignore(self, ignore: &'a Ignore) -> Self {
        Self { ignore: Some(ignore), ..self }
    }

    /// The tree with these owners.
    pub fn with_owners(self, owners: Owners) -> Self {
        Self { owners, ..self }
    }

    /// The open directory.
    pub fn root(&self) -> &'a Root {
        self.root
    }

    /// The rules that hide files of the tree.
    pub fn ignore(&self) -> Option<&'a Ignore> {
        self.ignore
    }

    /// Whether copies of its files keep file capabilities. Those of a user's folder do not: BuildKit
    /// changes its files' owners, and the kernel takes capabilities away from a file that it gives to another.
    pub fn keeps_capabilities(&self) -> bool {
        self.owners == Owners::AsFound
    }

    /// A file's metadata for a build, given what stat(2) says.
    pub(crate) fn metadata(&self, stat: &rustix::fs::Stat) -> Metadata {
        let metadata = Metadata::of(stat);
        match self.owners {
            Owners::AsFound => metadata,
            Owners::Root => Metadata { uid: 0, gid: 0, ..metadata },
        }
    }

    /// Metadata of `path` itself, `None` if there is none or the rules hide it. `path` must be resolved
    /// but for its last component.
    ///
    /// # Errors
    /// As openat2(2).
    pub fn lstat(&self, path: &Path) -> io::Result<Option<Metadata>> {
        let metadata = match self.root.lstat(path) {
            Ok(stat) => self.metadata(&stat),
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(self.is_visible(path, metadata.is_directory()).then_some(metadata))
    }

    /// The place that `path` stands for once every visible symbolic link is followed inside the tree,
    /// relative to its root. What does not exist or is hidden is kept as it is written.
    ///
    /// # Errors
    /// `ELOOP` after 40 links; else as openat2(2).
    pub fn resolve(&self, path: impl AsRef<Path>) -> io::Result<PathBuf> {
        let mut resolved = PathBuf::new();
        let mut pending = components(path.as_ref());
        let mut links = 0;
        while let Some(name) = pending.pop_front() {
            if name == ".." {
                resolved.pop();
                continue;
            }
            let next = resolved.join(&name);
            let link = self.lstat(&next)?.is_some_and(|metadata| metadata.kind == Kind::Symlink);
            if !link {
                resolved = next;
                continue;
            }
            links += 1;
            if links > MAX_SYMLINKS {
                return Err(Errno::LOOP.into());
            }
            let target = self.root.read_link(&next)?;
            if target.is_absolute() {
                resolved = PathBuf::new();
            }
            for component in components(&target).into_iter().rev() {
                pending.push_front(component);
            }
        }
        Ok(resolved)
    }

    /// Whether the rules show `path` and every directory above it.
    fn is_visible(&self, path: &Path, is_directory: bool) -> bool {
        let Some(ignore) = self.ignore else { return true };
        let mut above = path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
        path.as_os_str().is_empty()
            || ignore.shows(path, is_directory) && above.all(|directory| ignore.shows(directory, true))
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(OsStr::to_owned(name)),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().filter_map(name).collect()
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
