//! A layer that is unpacked while it comes.
//!
//! Three threads have their part of it: the caller's writes what comes into a file, one decompresses that
//! file as it grows and digests the tar, one makes the tar's entries. The layer is taken when all three are
//! done and both digests are right; until then nothing of it has a name.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use lbuild_archive::{ArchiveError, Bounded, Compression, Limits};
use lbuild_oci::{Digest, Hasher};

use crate::apply::Application;
use crate::arrival::{Arrival, ArrivalReader};
use crate::error::OnPath;
use crate::ground::{Beneath, Ground};
use crate::rise::Place;
use crate::staging::Scratch;
use crate::{StoreError, directory};

const BUFFER_BYTES: usize = 128 << 10;
/// Buffers of a tar between the thread that decompresses it and the one that unpacks it.
const BUFFERS: usize = 8;

/// How a layer comes.
#[derive(Debug, Clone, Copy)]
pub struct Incoming {
    /// The digest of the blob.
    pub digest: Digest,
    /// Whether the blob is the tar itself, which may begin as compressed data does.
    pub is_tar: bool,
    /// Bytes that the tar may have.
    pub max_bytes: u64,
    /// What else it may cost.
    pub limits: Limits,
}

/// A layer that came and was unpacked; its blob is in the store.
#[derive(Debug, Clone, Copy)]
pub struct Received {
    /// Bytes of the blob.
    pub blob_size: u64,
    /// Bytes of the tar.
    pub size: u64,
    /// How the blob is compressed.
    pub compression: Compression,
}

/// A tar that was digested.
struct Tar {
    digest: Digest,
    size: u64,
    compression: Compression,
}

impl Place<'_> {
    /// Takes the layer from `blob`: keeps the blob and unpacks it while it comes.
    ///
    /// # Errors
    /// [`StoreError::Io`] if `blob` cannot be read or the disk be written, [`StoreError::DigestMismatch`],
    /// and those of unpacking; [`StoreError::Interrupted`] if another layer failed. Nothing is kept then.
    pub fn receive(&self, blob: &mut dyn Read, incoming: &Incoming) -> Result<Received, StoreError> {
        let (file, path) = self.store.staging.file()?;
        let result = self.receive_into(blob, file, &path, incoming).and_then(|(received, directory)| {
            self.stage(directory)?;
            Ok(received)
        });
        match result {
            Ok(received) => {
                self.store.keep_blob(incoming.digest, path)?;
                Ok(received)
            }
            Err(error) => {
                // What cannot be removed now goes with the staging area.
                let _ = fs::remove_file(&path);
                Err(error)
            }
        }
    }

    fn receive_into(
        &self,
        blob: &mut dyn Read,
        file: File,
        path: &PathBuf,
        incoming: &Incoming,
    ) -> Result<(Received, Scratch), StoreError> {
        let arrival = Arrival::default();
        let reader = arrival.reader(path).on("open", path)?;
        let (tar, entries) = handover();
        let (written, digested, applied) = thread::scope(|scope| {
            let digesting = scope.spawn(|| self.digest_tar(reader, incoming, tar));
            let applying = scope.spawn(|| self.apply_tar(entries, incoming));
            let written = self.write(blob, file, path, incoming, &arrival);
            arrival.end(written.is_ok());
            (written, joined(digesting), joined(applying))
        });
        // What did not come whole explains all else, and a wrong digest why it cannot be unpacked.
        let blob_size = written?;
        let Tar { digest, size, compression } = digested?;
        if digest != *self.diff_id().digest() {
            let (what, expected) = (format!("layer {}", self.diff_id()), *self.diff_id().digest());
            return Err(StoreError::DigestMismatch { what, expected, actual: digest });
        }
        Ok((Received { blob_size, size, compression }, applied?))
    }

    /// Writes what comes, verified, and returns its length in bytes.
    fn write(
        &self,
        blob: &mut dyn Read,
        mut file: File,
        path: &Path,
        incoming: &Incoming,
        arrival: &Arrival,
    ) -> Result<u64, StoreError> {
        let (mut hasher, mut size) = (Hasher::new(), 0);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            self.check()?;
            match blob.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    hasher.update(&buffer[..count]);
                    file.write_all(&buffer[..count]).on("write", path)?;
                    arrival.grew(count);
                    size += count as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).on("receive", path),
            }
        }
        match hasher.finish() {
            actual if actual == incoming.digest => Ok(size),
            actual => {
                let (what, expected) = ("the blob".to_owned(), incoming.digest);
                Err(StoreError::DigestMismatch { what, expected, actual })
            }
        }
    }

    /// Decompresses the blob to its end, also where nobody takes the tar any more: its digest may tell why.
    fn digest_tar(
        &self,
        blob: ArrivalReader<'_>,
        incoming: &Incoming,
        mut output: TarWriter,
    ) -> Result<Tar, StoreError> {
        let unreadable = |error| self.unreadable(ArchiveError::Read(error));
        let (compression, tar): (_, Box<dyn Read>) = match incoming.is_tar {
            true => (Compression::None, Box::new(blob)),
            false => {
                let opened = lbuild_archive::decompress_within(blob, &incoming.limits).map_err(unreadable)?;
                (opened.0, Box::new(opened.1))
            }
        };
        let mut tar = Bounded::new(tar, incoming.max_bytes);
        let (mut hasher, mut size) = (Hasher::new(), 0);
        loop {
            self.check()?;
            let mut buffer = output.buffer();
            let count = fill(&mut tar, &mut buffer).map_err(unreadable)?;
            if count == 0 {
                return Ok(Tar { digest: hasher.finish(), size, compression });
            }
            hasher.update(&buffer[..count]);
            size += count as u64;
            buffer.truncate(count);
            output.put(buffer);
        }
    }

    fn apply_tar(&self, mut tar: TarReader, incoming: &Incoming) -> Result<Scratch, StoreError> {
        let scratch = self.store.staging.directory()?;
        let target = directory::open(scratch.path()).on("open", scratch.path())?;
        self.carry_notes(target.as_fd())?;
        let application = Application::new(target, Ground::new(self), self.store.marks, self.diff_id());
        application.run(&mut tar, &incoming.limits)?;
        Ok(scratch)
    }

    fn unreadable(&self, source: ArchiveError) -> StoreError {
        StoreError::ReadLayer { diff_id: *self.diff_id(), source }
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Fills the buffer, if there is so much, and returns how much there was.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Gives a tar to another thread.
struct TarWriter {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
}

/// A tar that another thread gives. It ends where that thread ends, for whatever reason.
struct TarReader {
    full: Receiver<Vec<u8>>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    at: usize,
}

fn handover() -> (TarWriter, TarReader) {
    let (full, receiver) = sync_channel(BUFFERS);
    let (sender, empty) = channel();
    (TarWriter { full, empty }, TarReader { full: receiver, empty: sender, current: Vec::new(), at: 0 })
}

impl TarWriter {
    /// A buffer to be filled.
    fn buffer(&self) -> Vec<u8> {
        let mut buffer = self.empty.try_recv().unwrap_or_default();
        buffer.resize(BUFFER_BYTES, 0);
        buffer
    }

    fn put(&mut self, buffer: Vec<u8>) {
        // Whoever unpacks it has failed then, and says why.
        let _ = self.full.send(buffer);
    }
}

impl Read for TarReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.current.len() {
            match self.full.recv() {
                Ok(next) => {
                    let last = std::mem::replace(&mut self.current, next);
                    self.at = 0;
                    // Nobody takes it at the end of the tar.
                    let _ = self.empty.send(last);
                }
                Err(_) => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len() - self.at);
        buffer[..count].copy_from_slice(&self.current[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
