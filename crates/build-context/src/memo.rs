//! Digests of files that have been read before.
//!
//! A file is known by device, inode, size, mtime and ctime. A change within the clock's grain of the
//! last one shows in none of these, so a file that changed just before it was read is not remembered
//! (git's rule for racy entries). The file that holds the memo is only a shortcut: one that is damaged
//! counts as empty, and of two processes that save at once one may lose what it learned.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lbuild_oci::Digest;

use crate::aside;
use crate::metadata::{Metadata, Time};

const MAGIC: &[u8] = b"lbuild file digests 1\n";
const RECORD_BYTES: usize = 84;
const DIGEST_BYTES: usize = 32;

/// Longer than the grain of any file system's timestamps (2 s on FAT).
const GRAIN: Duration = Duration::from_secs(3);

/// Records kept, those used longest ago dropped first: 84 MB.
const MAX_RECORDS: usize = 1_000_000;

/// Digests by what stat(2) says of a file. May be used by several threads.
#[derive(Debug, Default)]
pub struct DigestMemo {
    path: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    known: HashMap<Key, Known>,
    has_changed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    device: u64,
    inode: u64,
    size: u64,
    mtime: Time,
    ctime: Time,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    digest: Digest,
    /// When it was last used, in days since the Unix epoch.
    day: u32,
}

impl DigestMemo {
    /// A memo that is forgotten at the end.
    pub fn new() -> Self {
        Self::default()
    }

    /// The memo in the file `path`, empty if there is none or it cannot be used.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let known = fs::read(&path).ok().and_then(|bytes| decode(&bytes)).unwrap_or_default();
        Self { path: Some(path), state: Mutex::new(State { known, has_changed: false }) }
    }

    /// The digest recorded for a file in this state.
    pub fn get(&self, metadata: &Metadata) -> Option<Digest> {
        let mut state = self.state();
        let known = state.known.get_mut(&Key::of(metadata))?;
        let digest = known.digest;
        let today = today();
        if known.day != today {
            known.day = today;
            state.has_changed = true;
        }
        Some(digest)
    }

    /// Records the digest of a file that was in this state before `read_at`, when reading it began, and
    /// still is. Does nothing if it had changed so shortly before that a further change could hide.
    pub fn insert(&self, metadata: &Metadata, read_at: SystemTime, digest: Digest) {
        let since_epoch = read_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let latest = metadata.mtime.max(metadata.ctime);
        let latest = Duration::new(u64::try_from(latest.seconds).unwrap_or(0), latest.nanos.min(999_999_999));
        if latest + GRAIN > since_epoch {
            return;
        }
        let mut state = self.state();
        state.known.insert(Key::of(metadata), Known { digest, day: today() });
        state.has_changed = true;
    }

    /// Writes the memo back to its file, with what others wrote there meanwhile.
    ///
    /// # Errors
    /// As the file system's. The caller may go on: only time is lost.
    pub fn save(&self) -> io::Result<()> {
        let (Some(path), mut state) = (&self.path, self.state()) else { return Ok(()) };
        if !state.has_changed {
            return Ok(());
        }
        if let Some(others) = fs::read(path).ok().and_then(|bytes| decode(&bytes)) {
            for (key, known) in others {
                state.known.entry(key).or_insert(known);
            }
        }
        aside::write(path, &encode(&state.known))?;
        state.has_changed = false;
        Ok(())
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic elsewhere leaves nothing half-done in a map of plain values.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Key {
    fn of(metadata: &Metadata) -> Self {
        let Metadata { device, inode, size, mtime, ctime, .. } = *metadata;
        Self { device, inode, size, mtime, ctime }
    }
}

/// The day, since the Unix epoch.
pub(crate) fn today() -> u32 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since_epoch.as_secs() / 86_400).unwrap_or(u32::MAX)
}

/// Magic, records, and the digest of all that.
fn encode(known: &HashMap<Key, Known>) -> Vec<u8> {
    let mut records: Vec<_> = known.iter().collect();
    if records.len() > MAX_RECORDS {
        records.sort_unstable_by_key(|(_, known)| std::cmp::Reverse(known.day));
        records.truncate(MAX_RECORDS);
    }
    let mut bytes = Vec::with_capacity(MAGIC.len() + records.len() * RECORD_BYTES + DIGEST_BYTES);
    bytes.extend_from_slice(MAGIC);
    for (key, known) in records {
        bytes.extend_from_slice(&key.device.to_le_bytes());
        bytes.extend_from_slice(&key.inode.to_le_bytes());
        bytes.extend_from_slice(&key.size.to_le_bytes());
        for time in [key.mtime, key.ctime] {
            bytes.extend_from_slice(&time.seconds.to_le_bytes());
            bytes.extend_from_slice(&time.nanos.to_le_bytes());
        }
        bytes.extend_from_slice(&known.day.to_le_bytes());
        bytes.extend_from_slice(known.digest.as_bytes());
    }
    let digest = Digest::of(&bytes);
    bytes.extend_from_slice(digest.as_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<HashMap<Key, Known>> {
    let (content, digest) = bytes.split_last_chunk::<DIGEST_BYTES>()?;
    let records = content.strip_prefix(MAGIC)?;
    if Digest::of(content).as_bytes() != digest || !records.len().is_multiple_of(RECORD_BYTES) {
        return None;
    }
    records.chunks_exact(RECORD_BYTES).map(decode_record).collect()
}

fn decode_record(mut record: &[u8]) -> Option<(Key, Known)> {
    let mut u64_field = || Some(u64::from_le_bytes(*take::<8>(&mut record)?));
    let (device, inode, size) = (u64_field()?, u64_field()?, u64_field()?);
    let mut time = || {
        let seconds = i64::from_le_bytes(*take::<8>(&mut record)?);
        Some(Time { seconds, nanos: u32::from_le_bytes(*take::<4>(&mut record)?) })
    };
    let key = Key { device, inode, size, mtime: time()?, ctime: time()? };
    let day = u32::from_le_bytes(*take::<4>(&mut record)?);
    let digest = Digest::from_bytes(*take::<DIGEST_BYTES>(&mut record)?);
    Some((key, Known { digest, day }))
}

fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(head)
}
