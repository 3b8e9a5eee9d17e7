//! Digests under keys, kept in a file that several processes share.
//!
//! The file is only a shortcut: one that is damaged counts as empty, and of two processes that save at once
//! one may lose what it learned. It is read when something is looked for first. A record takes 50 bytes, in
//! memory as in the file, so that a million take 50 MB, and no more are held than are kept.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use lbuild_oci::{Digest, Hasher};

use crate::aside;

const MAGIC: &[u8] = b"lbuild file digests 2\n";
const KEY_BYTES: usize = 16;
const DIGEST_BYTES: usize = 32;
const RECORD_BYTES: usize = KEY_BYTES + DIGEST_BYTES + 2;

/// How often a place is guessed anew by the key that stands at it. The first guess is off by about the root of
/// the number of records, each further one by the root of that.
const REFINEMENTS: usize = 2;

/// New records that are kept apart before they are sorted in.
const MAX_RECENT: usize = 16_000;

/// Records of another process's file that are in memory at a time: 6.5 MB.
const TAKEN_OVER: usize = 1 << 17;

/// As many lookups are worth a thread.
const LOOKUPS: usize = 1024;

/// The beginning of a SHA-256. Evenly spread, which the search relies on.
pub(crate) type Key = [u8; KEY_BYTES];

/// Digests under keys. May be used by several threads.
#[derive(Debug)]
pub(crate) struct Book {
    /// Where it is kept, if anywhere.
    path: Option<PathBuf>,
    /// Records kept, those used longest ago dropped first.
    capacity: usize,
    /// Read when it is needed first.
    state: OnceLock<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    known: Records,
    recent: HashMap<Key, Known>,
    /// The day on which the book was read, counted from the Unix epoch.
    today: u16,
    has_changed: bool,
    /// The file as it was read.
    read_from: Option<Identity>,
}

/// What tells one version of the file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: SystemTime,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    digest: Digest,
    /// When it was last used, in days since the Unix epoch.
    day: u16,
}

/// A digest that was looked up.
struct Found {
    digest: Digest,
    /// Of its record, if that is sorted in.
    place: Option<usize>,
}

/// Records in the order of their keys, each key once.
#[derive(Debug, Default)]
struct Records {
    all: Vec<[u8; RECORD_BYTES]>,
}

impl Book {
    /// The book in the file `path`, empty if there is none or it cannot be used. Without a path it is forgotten
    /// at the end.
    pub(crate) fn new(path: Option<PathBuf>, capacity: usize) -> Self {
        Self { path, capacity, state: OnceLock::new() }
    }

    /// The digests under the keys of `items`. Many are looked up by several threads.
    pub(crate) fn get_all<T: Sync>(
        &self,
        items: &[T],
        key: impl Fn(&T) -> Key + Sync,
    ) -> Vec<Option<Digest>> {
        let state = &mut *self.state();
        let found = state.find_all(items, &key);
        for place in found.iter().flatten().filter_map(|found| found.place) {
            state.use_today(place);
        }
        found.into_iter().map(|found| found.map(|found| found.digest)).collect()
    }

    /// Records a digest.
    pub(crate) fn insert(&self, key: Key, digest: Digest) {
        let state = &mut *self.state();
        state.recent.insert(key, Known { digest, day: state.today });
        state.has_changed = true;
        if state.recent.len() >= MAX_RECENT {
            state.settle(self.capacity);
        }
    }

    /// Writes the book back to its file, with what others wrote there meanwhile.
    ///
    /// # Errors
    /// As the file system's. The caller may go on: only time is lost.
    pub(crate) fn save(&self) -> io::Result<()> {
        let (Some(path), Some(_)) = (&self.path, self.state.get()) else { return Ok(()) };
        let state = &mut *self.state();
        if !state.has_changed {
            return Ok(());
        }
        state.settle(self.capacity);
        let others = File::open(path).and_then(|file| Ok((identity(&file)?, file)));
        if let Ok((identity, file)) = others
            && state.read_from != Some(identity)
        {
            // What cannot be read is as good as nothing.
            let _ = state.take_over(file, self.capacity);
        }
        aside::write_with(path, |file| state.known.write(file))?;
        state.read_from = File::open(path).and_then(|file| identity(&file)).ok();
        state.has_changed = false;
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let state = self.state.get_or_init(|| Mutex::new(self.read()));
        // A panic elsewhere leaves nothing half-done in a map of plain values.
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self) -> State {
        let read = || {
            let file = File::open(self.path.as_ref()?).ok()?;
            let identity = identity(&file).ok()?;
            Some((Records::read(file, self.capacity).ok()?, Some(identity)))
        };
        let (known, read_from) = read().unwrap_or_default();
        State { known, read_from, today: short_today(), ..State::default() }
    }
}

impl State {
    /// Looks keys up, by several threads if there are many.
    fn find_all<T: Sync>(&self, items: &[T], key: &(impl Fn(&T) -> Key + Sync)) -> Vec<Option<Found>> {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(items.len() / LOOKUPS);
        if threads <= 1 {
            return self.find_some(items, key);
        }
        thread::scope(|scope| {
            let chunks = items.chunks(items.len().div_ceil(threads));
            let threads: Vec<_> = chunks.map(|chunk| scope.spawn(|| self.find_some(chunk, key))).collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| -> Vec<_> {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().flat_map(join).collect()
        })
    }

    fn find_some<T>(&self, items: &[T], key: impl Fn(&T) -> Key) -> Vec<Option<Found>> {
        let keys: Vec<Key> = items.iter().map(key).collect();
        let places = self.known.find_all(&keys);
        let found = |(key, place): (&Key, Option<usize>)| match self.recent.get(key) {
            Some(known) => Some(Found { digest: known.digest, place: None }),
            None => Some(Found { digest: decode(self.known.all.get(place?)?).digest, place }),
        };
        keys.iter().zip(places).map(found).collect()
    }

    /// Notes that a record was used today.
    fn use_today(&mut self, place: usize) {
        let Some(record) = self.known.all.get_mut(place) else { return };
        let known = decode(record);
        if known.day != self.today {
            *record = encode(&key_of(record), &Known { day: self.today, ..known });
            self.has_changed = true;
        }
    }

    /// Sorts the recent records in.
    fn settle(&mut self, capacity: usize) {
        self.known.add(self.recent.drain().map(|(key, known)| encode(&key, &known)), capacity);
    }

    /// Adds the records of a file that another process wrote, unless they are known better.
    fn take_over(&mut self, mut file: File, capacity: usize) -> io::Result<()> {
        let mut left = check(&mut file, capacity)?;
        file.seek(SeekFrom::Start(MAGIC.len() as u64))?;
        while left > 0 {
            let mut others = vec![[0; RECORD_BYTES]; left.min(TAKEN_OVER)];
            file.read_exact(others.as_flattened_mut())?;
            left -= others.len();
            let keys: Vec<_> = others.iter().map(key_of).collect();
            let mut found = self.known.find_all(&keys).into_iter();
            others.retain(|_| found.next().flatten().is_none());
            self.known.add(others.into_iter(), capacity);
        }
        Ok(())
    }
}

impl Records {
    /// Reads a file that [`Book::save`] wrote.
    fn read(mut file: File, capacity: usize) -> io::Result<Self> {
        let mut all = vec![[0; RECORD_BYTES]; begin(&mut file, capacity)?];
        file.read_exact(all.as_flattened_mut())?;
        let mut hasher = Hasher::new();
        hasher.update(MAGIC);
        hasher.update(all.as_flattened());
        end(&mut file, hasher)?;
        Ok(Self { all })
    }

    /// Writes what [`Records::read`] reads: magic, records, and the digest of all that.
    fn write(&self, file: &mut File) -> io::Result<()> {
        let mut hasher = Hasher::new();
        for part in [MAGIC, self.all.as_flattened()] {
            hasher.update(part);
            file.write_all(part)?;
        }
        file.write_all(hasher.finish().as_bytes())
    }

    /// The places of records, by their keys. Keys are spread evenly, so that a record is near where its first
    /// bytes point to, and nearer to where the distance from what is found there points to. All are guessed
    /// side by side: the memory answers many questions in the time of one.
    fn find_all(&self, keys: &[Key]) -> Vec<Option<usize>> {
        let count = self.all.len();
        let Some(last) = count.checked_sub(1) else { return vec![None; keys.len()] };
        let places = |distance: i128| distance.saturating_mul(count as i128) >> 64;
        let clamp = |guess: i128| usize::try_from(guess).unwrap_or(0).min(last);
        let wanted: Vec<i128> = keys.iter().map(|key| i128::from(beginning(key))).collect();
        let mut guesses: Vec<usize> = wanted.iter().map(|wanted| clamp(places(*wanted))).collect();
        for _ in 0..REFINEMENTS {
            for (guess, wanted) in guesses.iter_mut().zip(&wanted) {
                let found = i128::from(beginning(&key_of(&self.all[*guess])));
                *guess = clamp(*guess as i128 + places(wanted - found));
            }
        }
        keys.iter().zip(guesses).map(|(key, guess)| self.find_near(key, guess)).collect()
    }

    /// The place of a key's record, which is probably near `guess`.
    fn find_near(&self, key: &Key, guess: usize) -> Option<usize> {
        let count = self.all.len();
        let (mut low, mut high) = (guess, guess);
        let mut step = 2;
        while low > 0 && key_of(&self.all[low]) > *key {
            low = low.saturating_sub(step);
            step *= 2;
        }
        step = 2;
        while high < count && key_of(&self.all[high]) < *key {
            high = (high + step).min(count);
            step *= 2;
        }
        let high = (high + 1).min(count);
        let found = self.all.get(low..high)?.binary_search_by(|record| key_of(record).cmp(key)).ok()?;
        Some(low + found)
    }

    /// Adds records, and forgets those used longest ago if there are then more than `capacity`.
    fn add(&mut self, records: impl ExactSizeIterator<Item = [u8; RECORD_BYTES]>, capacity: usize) {
        let count = self.all.len() + records.len();
        // A large vector that grows leaves the places where it was behind, which the allocator keeps. Room for
        // all that there may be takes no memory until something is written there.
        let room = if count > MAX_RECENT { count.max(capacity + MAX_RECENT) } else { count };
        self.all.reserve_exact(room - self.all.len());
        self.all.extend(records);
        self.all.sort_unstable();
        self.all.dedup_by_key(|record| key_of(record));
        self.forget_oldest(capacity);
    }

    /// Forgets those used longest ago, if there are too many.
    fn forget_oldest(&mut self, capacity: usize) {
        let Some(surplus) = self.all.len().checked_sub(capacity).filter(|surplus| *surplus > 0) else {
            return;
        };
        let mut days: Vec<u16> = self.all.iter().map(|record| decode(record).day).collect();
        let (_, latest_forgotten, _) = days.select_nth_unstable(surplus - 1);
        let latest_forgotten = *latest_forgotten;
        let mut left = surplus;
        self.all.retain(|record| {
            let is_forgotten = left > 0 && decode(record).day <= latest_forgotten;
            left -= usize::from(is_forgotten);
            !is_forgotten
        });
    }
}

/// Reads a file up to its records, and returns how many there are.
fn begin(file: &mut File, capacity: usize) -> io::Result<usize> {
    let length = usize::try_from(file.metadata()?.len()).map_err(|_| invalid())?;
    let frame = MAGIC.len() + DIGEST_BYTES;
    let length = length.checked_sub(frame).filter(|length| length.is_multiple_of(RECORD_BYTES));
    let count = length.ok_or_else(invalid)? / RECORD_BYTES;
    let mut magic = [0; MAGIC.len()];
    file.read_exact(&mut magic)?;
    if magic != MAGIC || count > capacity {
        return Err(invalid());
    }
    Ok(count)
}

/// Reads the end of a file, which is the digest of what is before it.
fn end(file: &mut File, hasher: Hasher) -> io::Result<()> {
    let mut digest = [0; DIGEST_BYTES];
    file.read_exact(&mut digest)?;
    if hasher.finish().as_bytes() == &digest { Ok(()) } else { Err(invalid()) }
}

/// Reads a whole file to verify it, and returns how many records it has.
fn check(file: &mut File, capacity: usize) -> io::Result<usize> {
    let count = begin(file, capacity)?;
    let mut hasher = Hasher::new();
    hasher.update(MAGIC);
    io::copy(&mut Read::by_ref(file).take((count * RECORD_BYTES) as u64), &mut hasher)?;
    end(file, hasher)?;
    Ok(count)
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// The beginning of a digest, or of a record.
pub(crate) fn key_of<const N: usize>(bytes: &[u8; N]) -> Key {
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&bytes[..KEY_BYTES]);
    key
}

/// The first bytes of a key, as a number.
fn beginning(key: &Key) -> u64 {
    key.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

fn encode(key: &Key, known: &Known) -> [u8; RECORD_BYTES] {
    let mut record = [0; RECORD_BYTES];
    record[..KEY_BYTES].copy_from_slice(key);
    record[KEY_BYTES..KEY_BYTES + DIGEST_BYTES].copy_from_slice(known.digest.as_bytes());
    record[KEY_BYTES + DIGEST_BYTES..].copy_from_slice(&known.day.to_le_bytes());
    record
}

fn decode(record: &[u8; RECORD_BYTES]) -> Known {
    let (mut digest, mut day) = ([0; DIGEST_BYTES], [0; 2]);
    digest.copy_from_slice(&record[KEY_BYTES..KEY_BYTES + DIGEST_BYTES]);
    day.copy_from_slice(&record[KEY_BYTES + DIGEST_BYTES..]);
    Known { digest: Digest::from_bytes(digest), day: u16::from_le_bytes(day) }
}

fn identity(file: &File) -> io::Result<Identity> {
    let metadata = file.metadata()?;
    Ok(Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.len(),
        modified: metadata.modified()?,
    })
}

/// The day, since the Unix epoch.
pub(crate) fn today() -> u32 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since_epoch.as_secs() / 86_400).unwrap_or(u32::MAX)
}

/// [`today`], as a record has it.
fn short_today() -> u16 {
    u16::try_from(today()).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(number: u64, day: u16) -> [u8; RECORD_BYTES] {
        let digest = Digest::of(number.to_le_bytes());
        encode(&key_of(digest.as_bytes()), &Known { digest, day })
    }

    #[test]
    fn every_record_is_found_and_no_other() {
        for count in [0, 1, 2, 17, 5000] {
            let mut records = Records::default();
            records.add((0..count).map(|number| record(number, 1)).collect::<Vec<_>>().into_iter(), 5000);
            let all: Vec<_> = (0..count).map(|number| record(number, 1)).collect();
            assert_eq!(found(&records, &all), all.iter().copied().map(Some).collect::<Vec<_>>(), "{count}");
            let others = [key_of(&record(count, 1)), [0; KEY_BYTES], [0xff; KEY_BYTES]];
            assert_eq!(records.find_all(&others), [None; 3], "{count}");
        }
    }

    #[test]
    fn keys_that_are_not_spread_are_found_too() {
        let mut records = Records::default();
        let same = |last: u8| {
            let mut key = [0x7f; KEY_BYTES];
            key[KEY_BYTES - 1] = last;
            encode(&key, &Known { digest: Digest::of([last]), day: 1 })
        };
        let all: Vec<_> = (0..=255).map(same).collect();
        records.add(all.clone().into_iter(), all.len());
        assert_eq!(found(&records, &all), all.into_iter().map(Some).collect::<Vec<_>>());
    }

    /// What is found by the keys of records.
    fn found(records: &Records, wanted: &[[u8; RECORD_BYTES]]) -> Vec<Option<[u8; RECORD_BYTES]>> {
        let keys: Vec<_> = wanted.iter().map(key_of).collect();
        records.find_all(&keys).into_iter().map(|place| records.all.get(place?).copied()).collect()
    }

    #[test]
    fn those_used_longest_ago_are_forgotten_first() {
        let capacity = 1000;
        let count = capacity as u64 + 2;
        let mut records = Records::default();
        let day = |number| if number < 3 { 1 } else { 2 };
        let all: Vec<_> = (0..count).map(|number| record(number, day(number))).collect();
        records.add(all.into_iter(), capacity);
        assert_eq!(records.all.len(), capacity);
        assert_eq!(records.all.iter().filter(|record| decode(record).day == 1).count(), 1);
    }

    /// A book with the records of these numbers, sorted in.
    fn book(path: &std::path::Path, numbers: std::ops::Range<u64>) -> Book {
        let book = Book::new(Some(path.to_owned()), 3 * TAKEN_OVER);
        let all: Vec<_> = numbers.map(|number| record(number, 1)).collect();
        book.state().known.add(all.into_iter(), book.capacity);
        book.state().has_changed = true;
        book
    }

    #[test]
    fn no_more_are_held_than_are_kept() {
        let book = Book::new(None, 1000);
        for number in 0..2 * MAX_RECENT as u64 {
            let digest = Digest::of(number.to_le_bytes());
            book.insert(key_of(digest.as_bytes()), digest);
        }
        let state = book.state();
        assert_eq!((state.known.all.len(), state.recent.len()), (1000, 0));
    }

    #[test]
    fn what_others_wrote_meanwhile_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("book");
        let (first, second) = (2, TAKEN_OVER as u64 + 5);
        let (mine, other) = (book(&path, 0..first + 1), book(&path, first..second));
        other.save().unwrap();
        mine.save().unwrap();
        let saved = Records::read(File::open(&path).unwrap(), mine.capacity).unwrap();
        let mut expected: Vec<_> = (0..second).map(|number| record(number, 1)).collect();
        expected.sort_unstable();
        assert_eq!(saved.all, expected);
    }

    #[test]
    fn of_a_file_that_is_not_whole_nothing_is_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("book");
        let (mine, other) = (book(&path, 0..2), book(&path, 2..4));
        other.save().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[MAGIC.len() + 7] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        mine.save().unwrap();
        assert_eq!(Records::read(File::open(&path).unwrap(), 4).unwrap().all.len(), 2);
    }
}
