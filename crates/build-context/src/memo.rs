//! What is remembered of contents: of files that have been read before, and of whole selections.
//!
//! A file is known by device, inode, size, mtime and ctime. A change within the clock's grain of the
//! last one shows in none of these, so a file that changed just before it was read is not remembered
//! (git's rule for racy entries). A selection is known by all that its walk has found, so that an unchanged
//! one costs no more than the walk.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lbuild_oci::Digest;

use crate::book::{Book, Key, key_of};
use crate::metadata::{Metadata, Time};

/// 50 MB of records.
const MAX_FILES: usize = 1_000_000;

/// 500 kB of records, which every build reads that copies from a folder.
const MAX_SELECTIONS: usize = 10_000;

/// Digests by what stat(2) says. May be used by several threads.
#[derive(Debug)]
pub struct DigestMemo {
    files: Book,
    selections: Book,
}

impl DigestMemo {
    /// A memo that is forgotten at the end.
    pub fn new() -> Self {
        Self { files: Book::new(None, MAX_FILES), selections: Book::new(None, MAX_SELECTIONS) }
    }

    /// The memo in two files, of what is known of files and of selections. Those that are not there or cannot
    /// be used count as empty.
    pub fn open(files: impl Into<PathBuf>, selections: impl Into<PathBuf>) -> Self {
        Self {
            files: Book::new(Some(files.into()), MAX_FILES),
            selections: Book::new(Some(selections.into()), MAX_SELECTIONS),
        }
    }

    /// The digests recorded for files in these states. Many are looked up by several threads.
    pub fn get_all(&self, files: &[&Metadata]) -> Vec<Option<Digest>> {
        self.files.get_all(files, |metadata| file_key(metadata))
    }

    /// Records the digest of a file that was in this state before `read_at`, when reading it began, and
    /// still is. Does nothing if it had changed less than `grain` before, where a further change could hide.
    pub fn insert(&self, metadata: &Metadata, read_at: SystemTime, grain: Duration, digest: Digest) {
        if is_settled(last_change(metadata), read_at, grain) {
            self.files.insert(file_key(metadata), digest);
        }
    }

    /// The digest recorded for a selection in the state that `state` is the digest of.
    pub(crate) fn selection(&self, state: &Digest) -> Option<Digest> {
        self.selections.get_all(&[key_of(state.as_bytes())], |key| *key).pop().flatten()
    }

    /// Records the digest of a selection.
    pub(crate) fn insert_selection(&self, state: &Digest, digest: Digest) {
        self.selections.insert(key_of(state.as_bytes()), digest);
    }

    /// Writes the memo back to its files, with what others wrote there meanwhile.
    ///
    /// # Errors
    /// As the file system's. The caller may go on: only time is lost.
    pub fn save(&self) -> io::Result<()> {
        self.files.save().and(self.selections.save())
    }
}

impl Default for DigestMemo {
    fn default() -> Self {
        Self::new()
    }
}

/// When a file was changed last, as far as its times tell.
pub(crate) fn last_change(metadata: &Metadata) -> Time {
    metadata.mtime.max(metadata.ctime)
}

/// Whether a change after `looked_at` shows in a file's times, if that was its last change until then, and its times have
/// this grain.
pub(crate) fn is_settled(last_change: Time, looked_at: SystemTime, grain: Duration) -> bool {
    let seconds = u64::try_from(last_change.seconds).unwrap_or(0);
    let last_change = Duration::new(seconds, last_change.nanos.min(999_999_999));
    last_change + grain <= looked_at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What a file is known by.
fn file_key(metadata: &Metadata) -> Key {
    let Metadata { device, inode, size, mtime, ctime, .. } = metadata;
    let mut bytes = [0; 48];
    let (mtime_nanos, ctime_nanos) = (u64::from(mtime.nanos), u64::from(ctime.nanos));
    let fields = [
        *device,
        *inode,
        *size,
        mtime.seconds.cast_unsigned(),
        ctime.seconds.cast_unsigned(),
        mtime_nanos << 32 | ctime_nanos,
    ];
    for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
        place.copy_from_slice(&field.to_le_bytes());
    }
    key_of(Digest::of(bytes).as_bytes())
}
