//! COPY and ADD: which files go where, and how they get there.
//!
//! A step is [prepared](prepare) first, which lists its sources; its [digest](PreparedCopy::digest) goes
//! into the cache key, and only a miss [applies](PreparedCopy::apply) it to a tree. The rules are
//! BuildKit's:
//!
//! - A file goes into the destination if that is a directory or ends in `/` (or `/.`), else becomes it.
//!   A directory gives its content and not itself.
//! - Missing directories are made with mode 755, or a numeric `--chmod` less the write permissions of group
//!   and others, and belong to root or `--chown`. Symbolic links on the way to the destination are followed
//!   inside the tree.
//! - Directories merge: one that is there takes the mode, owner and time of the copied one, but the
//!   destination itself only the time. A file replaces any file or link. A file over a directory and a
//!   directory over a file are errors, and so is a directory over a link.
//! - Modes (setuid and such included), times, hard links within one source and holes are kept. So is
//!   `security.capability`, but for files of a user's folder; other extended attributes are not. A socket
//!   becomes an empty file.
//!
//! `--link` is the same copy applied to an empty tree.

mod apply;
mod cancel;
mod content;
mod destination;
mod error;
mod mode;
mod node;
mod selected;
#[cfg(test)]
mod tests;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use lbuild_archive::Limits;
use lbuild_build_context::{DigestMemo, Entry, Relevant, Selection, Selector, SourceTree, select};
use lbuild_confined::Root;
use lbuild_oci::{Digest, Hasher};

pub use apply::CopyReport;
pub use error::CopyError;
pub use mode::{ModeChange, ModeError};
pub(crate) use node::times;

use crate::explain::{DIGEST_BYTES, ListedFile};
use apply::Copier;
use cancel::IsCancelled;
use destination::Destination;

/// Changes whenever the same request would give another result.
const DIGEST_VERSION: &str = "copy 3";

/// One COPY or ADD, its variables expanded and its names looked up.
#[derive(Debug)]
pub struct CopyRequest<'a> {
    /// In the order of the instruction.
    pub sources: Vec<CopySource<'a>>,
    /// As written; empty and `.` stand for the working directory. A slash at the end matters.
    pub destination: &'a str,
    /// Absolute; a relative destination starts here.
    pub workdir: &'a Path,
    /// `--chown`: user and group of all that is copied and made.
    pub owner: Option<(u32, u32)>,
    /// `--chmod`.
    pub mode: Option<ModeChange>,
    /// `--exclude`.
    pub exclude: &'a [String],
    /// `--parents`.
    pub parents: bool,
    /// Which sources are unpacked if they are archives.
    pub unpack: Unpack,
    /// Time for directories that are made and for inline files, in seconds since the Unix epoch. Without
    /// it directories keep the time at which they are made, and inline files get 0.
    pub created_mtime: Option<i64>,
}

/// Something to copy.
#[derive(Debug)]
pub enum CopySource<'a> {
    /// Files of the context, of a stage or an image.
    Tree {
        /// Where they are.
        tree: SourceTree<'a>,
        /// The path, perhaps with wildcards.
        pattern: String,
    },
    /// A heredoc.
    Inline {
        /// The name before the destination is looked at.
        name: String,
        /// What the file holds.
        content: Vec<u8>,
    },
    /// A file that ADD has downloaded; its mode becomes 600.
    Download {
        /// Where it is now, a path of this process.
        file: &'a Path,
        /// The name that its URL or its server suggests.
        name: String,
        /// When the server says that it changed, in seconds since the Unix epoch.
        mtime: Option<i64>,
    },
}

/// Which sources that are tar archives, compressed or not, are unpacked into the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpack {
    /// None: COPY, and ADD with `--unpack=false`.
    Never,
    /// Files of trees: ADD.
    Local,
    /// Downloads too: ADD with `--unpack`.
    All,
}

/// A request whose sources are found.
#[derive(Debug)]
pub struct PreparedCopy<'a> {
    items: Vec<Item<'a>>,
    destination: Destination,
    owner: Option<(u32, u32)>,
    mode: Option<ModeChange>,
    unpack: Unpack,
    archive_limits: Limits,
    notes_devices: bool,
    created_mtime: Option<i64>,
}

#[derive(Debug)]
enum Item<'a> {
    Selected { tree: SourceTree<'a>, pattern: String, selection: Selection },
    Inline { name: String, content: Vec<u8> },
    Download { file: &'a Path, name: String, mtime: Option<i64> },
}

/// Lists what a request copies.
///
/// # Errors
/// [`CopyError::Source`] if a source does not exist or cannot be read.
pub fn prepare(request: CopyRequest<'_>) -> Result<PreparedCopy<'_>, CopyError> {
    let CopyRequest { exclude, parents, .. } = request;
    let find = |source| {
        Ok(match source {
            CopySource::Tree { tree, pattern } => {
                let selection = select(&tree, &Selector { pattern: &pattern, exclude, parents })?;
                Item::Selected { tree, pattern, selection }
            }
            CopySource::Inline { name, content } => Item::Inline { name, content },
            CopySource::Download { file, name, mtime } => Item::Download { file, name, mtime },
        })
    };
    Ok(PreparedCopy {
        items: request.sources.into_iter().map(find).collect::<Result<_, CopyError>>()?,
        destination: Destination::new(request.destination, request.workdir),
        owner: request.owner,
        mode: request.mode,
        unpack: request.unpack,
        archive_limits: Limits::default(),
        notes_devices: false,
        created_mtime: request.created_mtime,
    })
}

impl PreparedCopy<'_> {
    /// The same for archives that may cost more, or less.
    pub fn with_archive_limits(self, archive_limits: Limits) -> Self {
        Self { archive_limits, ..self }
    }

    /// The same for trees in which empty files stand for devices
    /// ([`DeviceNote`](lbuild_archive::DeviceNote)).
    pub fn noting_devices(self, notes_devices: bool) -> Self {
        Self { notes_devices, ..self }
    }

    /// The digest of all that the result depends on, but for the tree that it is applied to and for times.
    ///
    /// # Errors
    /// [`CopyError::Source`] or [`CopyError::Read`] if a source cannot be read; [`CopyError::Interrupted`]
    /// once `is_cancelled`.
    pub fn digest(&self, memo: &DigestMemo, is_cancelled: IsCancelled<'_>) -> Result<Digest, CopyError> {
        self.digest_all(memo, is_cancelled).map_err(|error| unless_cancelled(error, is_cancelled))
    }

    /// Calls `visit` for every file of the sources, in the order of a walk. It sees them as the digest
    /// does: without what does not reach the copy.
    ///
    /// # Errors
    /// As [`PreparedCopy::digest`]; what `visit` returns is [`CopyError::List`].
    pub fn list(
        &self,
        memo: &DigestMemo,
        visit: &mut dyn FnMut(&ListedFile) -> io::Result<()>,
        is_cancelled: IsCancelled<'_>,
    ) -> Result<(), CopyError> {
        let relevant = self.relevant();
        for (source, item) in (0..).zip(&self.items) {
            match item {
                Item::Selected { tree, selection, .. } => {
                    let mut failure = None;
                    let mut visit = |path: &Path, entry: &Entry, digest: Option<&Digest>| {
                        failure = failure
                            .take()
                            .or_else(|| visit(&listed(source, path, entry, digest, relevant)).err());
                    };
                    selection.list(tree, memo, is_cancelled, &mut visit)?;
                    failure.map_or(Ok(()), Err).map_err(CopyError::List)?;
                }
                Item::Inline { name, content } => {
                    let digest = beginning(Some(&Digest::of(content)));
                    let path = name.clone().into_bytes();
                    visit(&ListedFile { source, path, kind: b'f', digest, ..ListedFile::default() })
                        .map_err(CopyError::List)?;
                }
                Item::Download { name, .. } => {
                    let path = name.clone().into_bytes();
                    visit(&ListedFile { source, path, kind: b'f', ..ListedFile::default() })
                        .map_err(CopyError::List)?;
                }
            }
        }
        Ok(())
    }

    /// Copies into a tree that nobody else changes meanwhile.
    ///
    /// # Errors
    /// [`CopyError`], [`CopyError::Interrupted`] once `is_cancelled`; the tree is then half-changed.
    pub fn apply(&self, root: &Root, is_cancelled: IsCancelled<'_>) -> Result<CopyReport, CopyError> {
        self.apply_for(root, self.owner, is_cancelled)
    }

    /// [`PreparedCopy::apply`] for an owner that was looked up since.
    pub fn apply_for(
        &self,
        root: &Root,
        owner: Option<(u32, u32)>,
        is_cancelled: IsCancelled<'_>,
    ) -> Result<CopyReport, CopyError> {
        self.copy_all(root, owner, is_cancelled).map_err(|error| unless_cancelled(error, is_cancelled))
    }

    fn digest_all(&self, memo: &DigestMemo, is_cancelled: IsCancelled<'_>) -> Result<Digest, CopyError> {
        let mut key = Key(Hasher::new());
        key.add(DIGEST_VERSION);
        key.add(self.destination.as_str());
        key.add(format!("{:?} {:?}", self.owner, self.unpack));
        key.add(self.mode.as_ref().map_or("", ModeChange::as_str));
        let relevant = self.relevant();
        for item in &self.items {
            match item {
                Item::Selected { tree, selection, .. } => {
                    key.add("tree");
                    key.add(selection.digest(tree, memo, relevant, is_cancelled)?.as_bytes());
                }
                Item::Inline { name, content } => {
                    key.add("inline");
                    key.add(name);
                    key.add(content);
                }
                Item::Download { file, name, .. } => {
                    key.add("download");
                    key.add(name);
                    key.add(content::digest(file, is_cancelled)?.as_bytes());
                }
            }
        }
        Ok(key.0.finish())
    }

    fn relevant(&self) -> Relevant {
        Relevant {
            owner: self.owner.is_none(),
            mode: !self.mode.as_ref().is_some_and(ModeChange::is_absolute),
        }
    }

    fn copy_all(
        &self,
        root: &Root,
        owner: Option<(u32, u32)>,
        is_cancelled: IsCancelled<'_>,
    ) -> Result<CopyReport, CopyError> {
        let mode = self.mode.as_ref();
        let (destination, mtime) = (&self.destination, self.created_mtime);
        let mut copier = Copier::new(root, destination, owner, mode, mtime, is_cancelled);
        copier.archive_limits = self.archive_limits;
        copier.notes_devices = self.notes_devices;
        for item in &self.items {
            match item {
                Item::Selected { tree, pattern, selection } => {
                    for pick in &selection.picks {
                        if self.unpack == Unpack::Never || !copier.unpack(tree, pick, pattern)? {
                            copier.copy(tree, selection, pick)?;
                        }
                    }
                }
                Item::Inline { name, content } => copier.write_inline(name, content)?,
                Item::Download { file, name, mtime } => {
                    if self.unpack != Unpack::All || !copier.unpack_file(file, name)? {
                        copier.copy_download(file, name, *mtime)?;
                    }
                }
            }
        }
        copier.finish()
    }
}

fn listed(
    source: u64,
    path: &Path,
    entry: &Entry,
    digest: Option<&Digest>,
    relevant: Relevant,
) -> ListedFile {
    let metadata = &entry.metadata;
    // A copied directory gives its content and not itself.
    let is_top_directory = entry.depth == 0 && metadata.is_directory();
    ListedFile {
        source,
        path: path.as_os_str().as_bytes().to_owned(),
        kind: metadata.kind.letter(),
        mode: (relevant.mode && !is_top_directory).then_some(metadata.mode),
        owner: (relevant.owner && !is_top_directory).then_some((metadata.uid, metadata.gid)),
        digest: beginning(digest),
    }
}

fn beginning(digest: Option<&Digest>) -> [u8; DIGEST_BYTES] {
    digest.and_then(|digest| digest.as_bytes().first_chunk().copied()).unwrap_or_default()
}

/// Whatever fails once a copy is cancelled fails because of that.
fn unless_cancelled(error: CopyError, is_cancelled: IsCancelled<'_>) -> CopyError {
    if is_cancelled() { CopyError::Interrupted } else { error }
}

/// A hasher of texts that cannot run into each other.
struct Key(Hasher);

impl Key {
    fn add(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.update((bytes.as_ref().len() as u64).to_le_bytes());
        self.0.update(bytes);
    }
}
