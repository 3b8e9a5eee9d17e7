//! The digest of a selection, for a step's cache key.
//!
//! It covers what a copy would take over: names, kinds, modes, owners, link targets, device numbers,
//! file capabilities and content. Never times.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use lbuild_archive::DeviceNote;
use lbuild_oci::{Digest, Hasher};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::ContextError;
use crate::grain::{COARSEST, grain};
use crate::listing;
use crate::memo::{self, DigestMemo};
use crate::metadata::{self, Kind, Metadata, Time};
use crate::select::{Pick, Selection};
use crate::trail::Trail;
use crate::tree::SourceTree;
use crate::walk::{Entry, unreadable};

/// Threads that read files; each has one buffer and one file open.
const MAX_READERS: usize = 8;
const BUFFER_BYTES: usize = 256 << 10;
/// Entries that are in memory at once.
const BATCH: usize = 8192;
/// Raised when the digest of an unchanged selection becomes another.
const STATE_VERSION: u8 = 1;
/// Stands where the depth of an entry could, before each pick.
const NEW_PICK: u64 = u64::MAX;

/// Which metadata of the sources reaches the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relevant {
    /// Owner and group: not with `--chown`.
    pub owner: bool,
    /// Mode: not with a numeric `--chmod`.
    pub mode: bool,
}

impl Selection {
    /// The digest of everything selected, from the tree that it was selected from.
    ///
    /// Files are read unless the memo knows them, several at a time. `is_cancelled` is asked between
    /// their parts.
    ///
    /// # Errors
    /// [`ContextError::Read`] for a file or link that cannot be read, [`ContextError::Interrupted`].
    pub fn digest(
        &self,
        tree: &SourceTree<'_>,
        memo: &DigestMemo,
        relevant: Relevant,
        is_cancelled: &(dyn Fn() -> bool + Sync),
    ) -> Result<Digest, ContextError> {
        let state = self.state(relevant);
        if let Some(digest) = state.and_then(|state| memo.selection(&state)) {
            return Ok(digest);
        }
        let mut is_as_listed = true;
        let mut fields = Fields(Hasher::new());
        fields.number(self.picks.len() as u64);
        self.visit(tree, memo, is_cancelled, &mut |visited| {
            let Visited { pick, entry, content, .. } = visited;
            is_as_listed &= visited.is_as_listed;
            if entry.depth == 0 {
                fields.number(NEW_PICK);
                // A directory's own name does not reach the copy.
                fields.bytes(if entry.metadata.is_directory() { b"" } else { pick.name.as_bytes() });
            }
            fields.entry(entry, relevant);
            match content {
                Content::File(digest) => fields.bytes(digest.as_bytes()),
                Content::Link(target) => fields.bytes(target),
                Content::None => {}
            }
        })?;
        let digest = fields.0.finish();
        if let Some(state) = state.filter(|_| is_as_listed) {
            memo.insert_selection(&state, digest);
        }
        Ok(digest)
    }

    /// The digest of all that the walk has found, which is another if anything changes. `None` if a change could
    /// hide, or if what was found is not kept.
    fn state(&self, relevant: Relevant) -> Option<Digest> {
        let mut hasher = Hasher::new();
        hasher.update([STATE_VERSION, u8::from(relevant.owner), u8::from(relevant.mode)]);
        let mut last_change = Time::default();
        for pick in &self.picks {
            hasher.update((pick.name.len() as u64).to_le_bytes());
            hasher.update(pick.name.as_bytes());
            let entries = pick.listing.kept()?;
            hasher.update((entries.len() as u64).to_le_bytes());
            for Entry { depth, name, metadata, is_implied } in entries {
                let mut metadata = *metadata;
                if metadata.is_directory() {
                    // What it holds comes next, and its times do not reach the digest.
                    (metadata.size, metadata.mtime, metadata.ctime) = Default::default();
                }
                last_change = last_change.max(memo::last_change(&metadata));
                listing::add(&mut hasher, *depth, name, &metadata, *is_implied);
            }
        }
        memo::is_settled(last_change, self.begun, COARSEST).then(|| hasher.finish())
    }

    /// Calls `visit` for everything selected, with its path in the tree and, for a file or link, the digest
    /// of its content.
    ///
    /// # Errors
    /// As [`Selection::digest`].
    pub fn list(
        &self,
        tree: &SourceTree<'_>,
        memo: &DigestMemo,
        is_cancelled: &(dyn Fn() -> bool + Sync),
        visit: &mut dyn FnMut(&Path, &Entry, Option<&Digest>),
    ) -> Result<(), ContextError> {
        self.visit(tree, memo, is_cancelled, &mut |visited| {
            let digest = match visited.content {
                Content::File(digest) => Some(*digest),
                Content::Link(target) => Some(Digest::of(target)),
                Content::None => None,
            };
            visit(visited.path, visited.entry, digest.as_ref());
        })
    }

    /// Visits every entry with its content, of which only a part is in memory at any time.
    fn visit(
        &self,
        tree: &SourceTree<'_>,
        memo: &DigestMemo,
        is_cancelled: &(dyn Fn() -> bool + Sync),
        visit: &mut dyn FnMut(Visited<'_>),
    ) -> Result<(), ContextError> {
        let files = Files { tree, memo, is_cancelled };
        for pick in &self.picks {
            let mut entries = self.entries(tree, pick)?;
            let mut cursor = Cursor::new(pick);
            loop {
                let mut batch = Vec::new();
                while batch.len() < BATCH
                    && let Some(entry) = entries.next()?
                {
                    batch.push((entry, Reading { digest: Digest::of([]), is_as_listed: true }));
                }
                let unknown = files.recall(&mut batch, &cursor);
                if is_cancelled() {
                    return Err(ContextError::Interrupted);
                }
                for (index, read) in files.read_all(&unknown)? {
                    batch[index].1 = read;
                }
                for (entry, Reading { digest, is_as_listed }) in &batch {
                    let path = cursor.enter(entry);
                    let mut is_as_listed = *is_as_listed;
                    let target;
                    let content = match entry.metadata.kind {
                        Kind::File => Content::File(digest),
                        Kind::Symlink => {
                            target = tree.root().read_link(path).map_err(|error| unreadable(path, error))?;
                            let now = tree.root().lstat(path).map(|stat| Metadata::of(&stat));
                            is_as_listed = now.is_ok_and(|now| !now.has_changed_since(&entry.metadata));
                            Content::Link(target.as_os_str().as_bytes())
                        }
                        _ => Content::None,
                    };
                    visit(Visited { pick, path, entry, content, is_as_listed });
                }
                if batch.len() < BATCH {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// An entry, and what it holds.
struct Visited<'a> {
    pick: &'a Pick,
    path: &'a Path,
    entry: &'a Entry,
    content: Content<'a>,
    /// Whether the content is known to be that of the file as it was listed.
    is_as_listed: bool,
}

enum Content<'a> {
    File(&'a Digest),
    Link(&'a [u8]),
    None,
}

/// What was read of a file.
struct Reading {
    digest: Digest,
    /// Whether the file still was as it was listed.
    is_as_listed: bool,
}

/// A file that is to be read: its number in the batch, what it was when it was listed, and where it is.
struct Unknown {
    index: usize,
    listed: Metadata,
    path: PathBuf,
}

/// The path of the entry that a loop over a pick's entries is at.
#[derive(Clone)]
struct Cursor(Trail);

impl Cursor {
    fn new(pick: &Pick) -> Self {
        Self(Trail::new(&pick.path))
    }

    fn enter(&mut self, entry: &Entry) -> &Path {
        while self.0.depth() > 0 && self.0.depth() >= entry.depth {
            self.0.pop();
        }
        if entry.depth > 0 {
            self.0.push(&entry.name);
        }
        self.0.path()
    }
}

/// A hasher of fields that cannot run into each other.
struct Fields(Hasher);

impl Fields {
    fn number(&mut self, number: u64) {
        self.0.update(number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.update(bytes);
    }

    /// All of an entry but its content.
    fn entry(&mut self, entry: &Entry, relevant: Relevant) {
        let Entry { depth, name, metadata, is_implied } = entry;
        self.number(*depth as u64);
        self.bytes(name.as_bytes());
        self.number(u64::from(*is_implied));
        // A copied directory gives its content and not itself.
        let is_top_directory = *depth == 0 && metadata.is_directory();
        self.0.update([metadata.kind.letter()]);
        self.number(if relevant.mode && !is_top_directory { metadata.mode.into() } else { u64::MAX });
        if relevant.owner && !is_top_directory {
            self.number(metadata.uid.into());
            self.number(metadata.gid.into());
        }
        if matches!(metadata.kind, Kind::CharDevice | Kind::BlockDevice) {
            self.number(metadata.special);
        }
    }
}

/// Files of a tree, to be read.
struct Files<'a> {
    tree: &'a SourceTree<'a>,
    memo: &'a DigestMemo,
    is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Files<'_> {
    /// Fills in the digests that the memo knows, and returns the other files. The cursor stands before the first
    /// entry.
    fn recall(&self, batch: &mut [(Cow<'_, Entry>, Reading)], cursor: &Cursor) -> Vec<Unknown> {
        let metadata = batch.iter().map(|(entry, _)| &entry.metadata);
        let files: Vec<_> = metadata.filter(|metadata| metadata.kind == Kind::File).collect();
        let mut known = self.memo.get_all(&files).into_iter();
        let mut missing = Vec::new();
        for (index, (entry, read)) in batch.iter_mut().enumerate() {
            let is_file = entry.metadata.kind == Kind::File;
            match is_file.then(|| known.next().flatten()) {
                Some(Some(digest)) => read.digest = digest,
                Some(None) => missing.push(index),
                None => {}
            }
        }
        if missing.is_empty() {
            return Vec::new();
        }
        let mut cursor = cursor.clone();
        let mut missing = missing.into_iter().peekable();
        let mut unknown = Vec::new();
        for (index, (entry, _)) in batch.iter().enumerate() {
            let path = cursor.enter(entry);
            if missing.next_if_eq(&index).is_some() {
                unknown.push(Unknown { index, listed: entry.metadata, path: path.to_owned() });
            }
        }
        unknown
    }

    /// Reads files, several at a time, and returns what was read with their numbers.
    fn read_all(&self, files: &[Unknown]) -> Result<Vec<(usize, Reading)>, ContextError> {
        let next = AtomicUsize::new(0);
        let read_some = || {
            let mut buffer = vec![0; BUFFER_BYTES];
            let mut digests = Vec::new();
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let read = self.read_one(file, &mut buffer).map_err(|error| {
                    next.store(files.len(), Ordering::Relaxed);
                    match Errno::from_io_error(&error) {
                        Some(Errno::CANCELED) => ContextError::Interrupted,
                        _ => unreadable(&file.path, error),
                    }
                })?;
                digests.push((file.index, read));
            }
            Ok(digests)
        };
        let readers = thread::available_parallelism().map_or(1, usize::from).min(MAX_READERS);
        if readers.min(files.len()) <= 1 {
            return read_some();
        }
        thread::scope(|scope| {
            let threads: Vec<_> = (0..readers.min(files.len())).map(|_| scope.spawn(read_some)).collect();
            let mut digests = Vec::with_capacity(files.len());
            for thread in threads {
                match thread.join() {
                    Ok(result) => digests.extend(result?),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            Ok(digests)
        })
    }

    /// The digest of a file's content, capabilities and noted device, which the memo then knows.
    fn read_one(&self, unknown: &Unknown, buffer: &mut [u8]) -> io::Result<Reading> {
        let read_at = SystemTime::now();
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut file = File::from(self.tree.root().open_at(&unknown.path, flags, Mode::empty())?);
        let stat = rustix::fs::fstat(&file)?;
        let before = Metadata::of(&stat);
        let device = DeviceNote::read(&file, &stat)?;
        if before.kind != Kind::File {
            return Err(io::Error::other("it is no longer a regular file"));
        }
        let mut content = Hasher::new();
        loop {
            if (self.is_cancelled)() {
                return Err(Errno::CANCELED.into());
            }
            match file.read(buffer) {
                Ok(0) => break,
                Ok(length) => content.update(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let content = with_attribute(content.finish(), metadata::capabilities(&file)?);
        let digest = with_attribute(content, device.map(|device| device.text()));
        let is_unchanged = Metadata::of(&rustix::fs::fstat(&file)?) == before;
        if is_unchanged {
            self.memo.insert(&before, read_at, grain(&file, &before), digest);
        }
        Ok(Reading { digest, is_as_listed: is_unchanged && !before.has_changed_since(&unknown.listed) })
    }
}

fn with_attribute(content: Digest, value: Option<Vec<u8>>) -> Digest {
    match value {
        None => content,
        Some(value) => Digest::of([content.as_bytes().as_slice(), &value].concat()),
    }
}
