//! Digests of long streams, computed beside the work that makes them.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use crate::{Digest, Hasher};

/// Below this many bytes a thread costs more than it saves.
const WORTH_A_THREAD: u64 = 1 << 20;

const BUFFER_BYTES: usize = 256 << 10;

/// Buffers that wait for the thread; there are two more, one on each side.
const MAX_WAITING: usize = 4;

/// A [`Hasher`] for long streams: after the first megabyte, a thread of its own computes the digest, where
/// there is a processor for it.
///
/// It holds at most 1.5 MB.
pub struct HasherBeside {
    written: u64,
    hasher: Hasher,
    thread: Option<Thread>,
}

/// A thread that digests buffers and gives them back.
struct Thread {
    buffer: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    handle: JoinHandle<Hasher>,
}

impl Default for HasherBeside {
    fn default() -> Self {
        Self::new()
    }
}

impl HasherBeside {
    /// A hasher that has seen nothing.
    pub fn new() -> Self {
        Self { written: 0, hasher: Hasher::new(), thread: None }
    }

    /// Adds `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.written += bytes.len() as u64;
        if self.thread.is_none() && self.written > WORTH_A_THREAD && has_processors() {
            self.thread = Thread::start(&self.hasher).ok();
        }
        match &mut self.thread {
            Some(thread) => thread.update(bytes),
            None => self.hasher.update(bytes),
        }
    }

    /// Bytes seen so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The digest of everything seen.
    pub fn finish(self) -> Digest {
        match self.thread {
            Some(thread) => thread.finish(),
            None => self.hasher.finish(),
        }
    }
}

impl Thread {
    /// Goes on where `hasher` is.
    fn start(hasher: &Hasher) -> io::Result<Self> {
        let mut hasher = hasher.clone();
        let (full, buffers) = sync_channel::<Vec<u8>>(MAX_WAITING);
        let (returned, empty) = channel();
        let digest = move || {
            for mut buffer in buffers {
                hasher.update(&buffer);
                buffer.clear();
                // Nobody takes it where the stream has ended.
                let _ = returned.send(buffer);
            }
            hasher
        };
        let handle = thread::Builder::new().name("digest".to_owned()).spawn(digest)?;
        Ok(Self { buffer: Vec::with_capacity(BUFFER_BYTES), full, empty, handle })
    }

    fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = bytes.len().min(BUFFER_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            if self.buffer.len() == BUFFER_BYTES {
                self.hand_over();
            }
        }
    }

    fn hand_over(&mut self) {
        let next = self.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BUFFER_BYTES));
        // It ends early only by a panic, which `finish` passes on.
        let _ = self.full.send(std::mem::replace(&mut self.buffer, next));
    }

    fn finish(mut self) -> Digest {
        self.hand_over();
        let Self { full, handle, .. } = self;
        drop(full);
        handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).finish()
    }
}

/// Whether there is more than one processor; asked once, since the answer takes reading files.
fn has_processors() -> bool {
    static SEVERAL: OnceLock<bool> = OnceLock::new();
    *SEVERAL.get_or_init(|| thread::available_parallelism().is_ok_and(|count| count.get() > 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_whole_stream() {
        let content: Vec<u8> =
            (0..4_000_000_u32).map(|number| (number.wrapping_mul(number) >> 7) as u8).collect();
        for length in [0, 1, 1 << 20, (1 << 20) + 1, 2_000_000, content.len()] {
            for piece in [7_777, 128 << 10, content.len()] {
                let mut hasher = HasherBeside::new();
                content[..length].chunks(piece).for_each(|piece| hasher.update(piece));
                assert_eq!(hasher.written(), length as u64);
                assert_eq!(hasher.finish(), Digest::of(&content[..length]), "{length} by {piece}");
            }
        }
    }
}
