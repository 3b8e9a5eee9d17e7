//! What is told of builds afterwards: a record of each, what its steps printed, and which files its
//! copies held.
//!
//! ```text
//! builds/<number>-<subject>   a record; empty while the build runs, and for ever if it was killed
//! logs/<number>/<step>        what a step printed, zstd
//! file-lists/<digest>         the files of a copy, zstd
//! ```
//!
//! Builds are numbered in the order in which they were first heard of. A *subject* says what was
//! built, so that builds of the same can be found by their names. Nothing here decides what an image
//! holds: what is damaged or missing is only not told.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lbuild_oci::Digest;
use serde::{Deserialize, Serialize};

use crate::error::OnPath;
use crate::image::file_names;
use crate::{Removed, Store, StoreError, record, usage};

/// How long something that a step printed may stay in memory before it is in its log.
const LOG_FLUSH: Duration = Duration::from_secs(1);
/// Fast: a log is written while the step runs, and read rarely.
const LEVEL: i32 = 1;

/// A build that the store knows of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BuildName {
    /// Counted from 1; unique in the store.
    pub number: u64,
    /// What was built, a word of hexadecimal digits.
    pub subject: String,
}

/// How many builds are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepBuilds {
    /// Of the same subject.
    pub of_subject: usize,
    /// Altogether.
    pub all: usize,
}

impl Default for KeepBuilds {
    fn default() -> Self {
        Self { of_subject: 20, all: 200 }
    }
}

/// What stands before a record's bytes, on a line of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    /// The file lists that the record speaks of.
    file_lists: BTreeSet<Digest>,
}

impl Store {
    /// The builds that are remembered, the latest first.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn builds(&self) -> Result<Vec<BuildName>, StoreError> {
        let folder = self.builds_folder();
        let mut names = Vec::new();
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
            entries => entries.on("read", &folder)?,
        };
        for entry in entries {
            names.extend(entry.on("read", &folder)?.file_name().to_str().and_then(BuildName::parse));
        }
        names.sort_unstable_by(|one, other| other.cmp(one));
        Ok(names)
    }

    /// What a build's end recorded; `None` for a build that has not ended, was killed, or whose record
    /// is damaged.
    pub fn build_record(&self, build: &BuildName) -> Option<Vec<u8>> {
        decode(&record::read_intact(&self.build_path(build)).ok()??).map(|(_, body)| body)
    }

    /// Gives a build that has just begun its number.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn begin_build(&self, subject: &str) -> Result<BuildName, StoreError> {
        let folder = self.builds_folder();
        fs::create_dir_all(&folder).on("create", &folder)?;
        let lock_path = folder.join("lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.on("open", &lock_path)?;
        lock.lock().on("lock", &lock_path)?;
        let number = self.builds()?.first().map_or(1, |latest| latest.number.saturating_add(1));
        let build = BuildName { number, subject: subject.to_owned() };
        let path = self.build_path(&build);
        File::create(&path).on("create", path)?;
        Ok(build)
    }

    /// Records a build's end: what `body` tells, which speaks of `file_lists`. Forgets the builds that
    /// are too many then.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn end_build(
        &self,
        build: &BuildName,
        body: &[u8],
        file_lists: BTreeSet<Digest>,
        keep: KeepBuilds,
    ) -> Result<(), StoreError> {
        let mut content = lbuild_oci::json::canonical(&Head { file_lists: file_lists.clone() });
        content.push(b'\n');
        content.extend_from_slice(body);
        record::write(&self.staging, &self.build_path(build), &content)?;
        self.forget_builds(keep, &file_lists)
    }

    /// Forgets every build but the latest ones, with logs and file lists.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn keep_builds(&self, keep: KeepBuilds) -> Result<(), StoreError> {
        self.forget_builds(keep, &BTreeSet::new())
    }

    /// Forgets what is told of builds that have ended, and counts it.
    pub(crate) fn prune_builds(&self, dry_run: bool) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        for build in self.builds()? {
            let path = self.build_path(&build);
            if record::read_intact(&path)?.is_none() {
                // It may be going on.
                continue;
            }
            let logs = self.logs_folder(&build);
            let bytes = |path: &Path| if path.exists() { usage::of(path).bytes } else { 0 };
            removed.add(bytes(&path) + bytes(&logs));
            if !dry_run {
                usage::remove_tree(&logs)?;
                usage::remove_tree(&path)?;
            }
        }
        let lists = self.root().join("file-lists");
        if lists.exists() {
            // The folder stays: a build may be about to put a list there.
            for name in file_names(&lists)? {
                let list = lists.join(name);
                removed.bytes += usage::of(&list).bytes;
                if !dry_run {
                    usage::remove_tree(&list)?;
                }
            }
        }
        Ok(removed)
    }

    /// [`Store::keep_builds`], where a record that stays is known to speak of `in_use`.
    fn forget_builds(&self, keep: KeepBuilds, in_use: &BTreeSet<Digest>) -> Result<(), StoreError> {
        let mut kept: Vec<BuildName> = Vec::new();
        let mut unused = BTreeSet::new();
        for build in self.builds()? {
            let same = kept.iter().filter(|other| other.subject == build.subject).count();
            if same < keep.of_subject && kept.len() < keep.all {
                kept.push(build);
                continue;
            }
            let path = self.build_path(&build);
            if let Some((head, _)) = record::read_intact(&path)?.as_deref().and_then(decode) {
                unused.extend(head.file_lists);
            }
            usage::remove_tree(&self.logs_folder(&build))?;
            usage::remove_tree(&path)?;
        }
        unused.retain(|list| !in_use.contains(list));
        for build in &kept {
            if unused.is_empty() {
                break;
            }
            if let Some((head, _)) = record::read_intact(&self.build_path(build))?.as_deref().and_then(decode)
            {
                unused.retain(|list| !head.file_lists.contains(list));
            }
        }
        unused.iter().try_for_each(|list| usage::remove_tree(&self.file_list_path(list)))
    }

    /// Begins to keep what a step prints.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn begin_log(&self, build: &BuildName, step: usize) -> Result<LogWriter, StoreError> {
        let folder = self.logs_folder(build);
        fs::create_dir_all(&folder).on("create", &folder)?;
        let path = folder.join(step.to_string());
        let encoder = File::create(&path).and_then(encoder).on("create", &path)?;
        Ok(LogWriter { encoder, path, flushed: Instant::now(), is_pending: false })
    }

    /// What a step has printed so far; `None` if it printed nothing.
    ///
    /// # Errors
    /// [`StoreError::Io`]. A log that its writer did not end is read as far as it goes.
    pub fn log(&self, build: &BuildName, step: usize) -> Result<Option<impl Read + use<>>, StoreError> {
        let path = self.logs_folder(build).join(step.to_string());
        Ok(open(&path)?.map(Unended))
    }

    /// The steps of a build that printed something.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn logged_steps(&self, build: &BuildName) -> Result<Vec<usize>, StoreError> {
        let folder = self.logs_folder(build);
        let mut steps = Vec::new();
        match fs::read_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            entries => {
                for entry in entries.on("read", &folder)? {
                    let name = entry.on("read", &folder)?.file_name();
                    steps.extend(name.to_str().and_then(|name| name.parse::<usize>().ok()));
                }
            }
        }
        steps.sort_unstable();
        Ok(steps)
    }

    /// Keeps the file list `id`, which `write` writes, unless it is there already.
    ///
    /// # Errors
    /// [`StoreError::Io`], or what `write` returns; the list is then not there.
    pub fn keep_file_list<E: From<StoreError>>(
        &self,
        id: &Digest,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let path = self.file_list_path(id);
        if path.exists() {
            return Ok(());
        }
        let (file, aside) = self.staging.file()?;
        let mut encoder = encoder(file).on("write", &aside)?;
        write(&mut encoder)?;
        encoder.finish().on("write", &aside)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).on("create", folder)?;
        Ok(fs::rename(&aside, &path).on("rename", &aside)?)
    }

    /// The file list `id`. One that is damaged gives an error while it is read.
    pub fn file_list(&self, id: &Digest) -> Option<impl Read + use<>> {
        open(&self.file_list_path(id)).ok()?
    }

    fn builds_folder(&self) -> PathBuf {
        self.root().join("builds")
    }

    fn build_path(&self, build: &BuildName) -> PathBuf {
        self.builds_folder().join(format!("{}-{}", build.number, build.subject))
    }

    fn logs_folder(&self, build: &BuildName) -> PathBuf {
        self.root().join("logs").join(build.number.to_string())
    }

    fn file_list_path(&self, id: &Digest) -> PathBuf {
        self.root().join("file-lists").join(id.hex())
    }
}

impl BuildName {
    fn parse(name: &str) -> Option<Self> {
        let (number, subject) = name.split_once('-')?;
        let is_word = !subject.is_empty() && subject.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_word.then_some(())?;
        Some(Self { number: number.parse().ok()?, subject: subject.to_owned() })
    }
}

/// Keeps what a step prints; what is written can be read by others at the latest a second later, as long
/// as more is written.
pub struct LogWriter {
    encoder: zstd::Encoder<'static, File>,
    path: PathBuf,
    flushed: Instant,
    is_pending: bool,
}

impl LogWriter {
    /// Adds what a step printed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.encoder.write_all(bytes).on("write", &self.path)?;
        self.is_pending = true;
        if self.flushed.elapsed() > LOG_FLUSH {
            self.flush()?;
        }
        Ok(())
    }

    /// Lets others read what was written.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn flush(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.is_pending) {
            self.encoder.flush().on("write", &self.path)?;
        }
        self.flushed = Instant::now();
        Ok(())
    }

    /// Ends the log.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn finish(self) -> Result<(), StoreError> {
        self.encoder.finish().map(drop).on("write", self.path)
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A stream whose end may be missing.
struct Unended<R>(R);

impl<R: Read> Read for Unended<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(0),
            result => result,
        }
    }
}

fn encoder(file: File) -> io::Result<zstd::Encoder<'static, File>> {
    let mut encoder = zstd::Encoder::new(file, LEVEL)?;
    encoder.include_checksum(true)?;
    Ok(encoder)
}

fn open(path: &Path) -> Result<Option<zstd::Decoder<'static, BufReader<File>>>, StoreError> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        file => file.and_then(zstd::Decoder::new).map(Some).on("read", path),
    }
}

fn decode(content: &[u8]) -> Option<(Head, Vec<u8>)> {
    let newline = content.iter().position(|&byte| byte == b'\n')?;
    Some((serde_json::from_slice(&content[..newline]).ok()?, content[newline + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreOptions;

    fn store(folder: &Path) -> Store {
        Store::open(folder, StoreOptions::default()).unwrap()
    }

    fn text(mut from: impl Read) -> String {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    }

    fn list(store: &Store, content: &str) -> Digest {
        let id = Digest::of(content);
        let write = |to: &mut dyn Write| to.write_all(content.as_bytes()).on("write", "list");
        store.keep_file_list::<StoreError>(&id, write).unwrap();
        id
    }

    #[test]
    fn builds_are_numbered_and_their_records_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        assert_eq!(store.builds().unwrap(), []);
        let first = store.begin_build("ab").unwrap();
        let second = store.begin_build("cd").unwrap();
        assert_eq!((first.number, second.number), (1, 2));
        store.end_build(&first, b"one\ntwo", BTreeSet::new(), KeepBuilds::default()).unwrap();
        assert_eq!(store.builds().unwrap(), [second.clone(), first.clone()]);
        assert_eq!(store.build_record(&first).as_deref(), Some(&b"one\ntwo"[..]));
        assert_eq!(store.build_record(&second), None, "it has not ended");
    }

    #[test]
    fn too_many_builds_are_forgotten_with_what_only_they_speak_of() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let (own, shared) = (list(&store, "own"), list(&store, "shared"));
        let keep = KeepBuilds { of_subject: 1, all: 2 };
        let build = |subject: &str, lists: &[Digest]| {
            let build = store.begin_build(subject).unwrap();
            let mut log = store.begin_log(&build, 3).unwrap();
            log.write(b"output").unwrap();
            log.finish().unwrap();
            store.end_build(&build, b"", lists.iter().copied().collect(), keep).unwrap();
            build
        };
        let old = build("a", &[own, shared]);
        let other = build("b", &[]);
        let latest = build("a", &[shared]);
        assert_eq!(store.builds().unwrap(), [latest, other.clone()]);
        assert!(store.log(&old, 3).unwrap().is_none());
        assert_eq!(text(store.log(&other, 3).unwrap().unwrap()), "output");
        assert!(store.file_list(&own).is_none());
        assert_eq!(text(store.file_list(&shared).unwrap()), "shared");
        build("c", &[]);
        assert_eq!(store.builds().unwrap().len(), 2, "of all subjects together");
    }

    #[test]
    fn a_prune_forgets_builds_that_have_ended() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let id = list(&store, "files");
        let ended = store.begin_build("a").unwrap();
        store.end_build(&ended, b"", [id].into(), KeepBuilds::default()).unwrap();
        let going_on = store.begin_build("a").unwrap();
        let counted = store.prune_builds(true).unwrap();
        assert_eq!(store.builds().unwrap().len(), 2);
        assert_eq!(store.prune_builds(false).unwrap(), counted);
        assert_eq!(store.builds().unwrap(), [going_on]);
        assert!(counted.count == 1 && counted.bytes > 0 && store.file_list(&id).is_none());
    }

    #[test]
    fn a_log_is_read_while_it_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let build = store.begin_build("a").unwrap();
        assert!(store.log(&build, 0).unwrap().is_none());
        let mut log = store.begin_log(&build, 0).unwrap();
        log.write(b"first\n").unwrap();
        log.flush().unwrap();
        assert_eq!(text(store.log(&build, 0).unwrap().unwrap()), "first\n");
        log.write(b"second\n").unwrap();
        log.finish().unwrap();
        assert_eq!(text(store.log(&build, 0).unwrap().unwrap()), "first\nsecond\n");
        assert_eq!(store.logged_steps(&build).unwrap(), [0]);
    }

    #[test]
    fn a_damaged_record_or_list_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let build = store.begin_build("a").unwrap();
        store.end_build(&build, b"record", BTreeSet::new(), KeepBuilds::default()).unwrap();
        let id = list(&store, "files");
        for path in [store.build_path(&build), store.file_list_path(&id)] {
            let mut content = fs::read(&path).unwrap();
            *content.last_mut().unwrap() ^= 1;
            fs::write(path, content).unwrap();
        }
        assert_eq!(store.build_record(&build), None);
        assert!(store.file_list(&id).unwrap().read_to_end(&mut Vec::new()).is_err());
    }
}
