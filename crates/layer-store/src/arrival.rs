//! A file that is being written, and read while it grows.
//!
//! So nobody who reads more slowly than the bytes come holds them up, and none of them waits in memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Condvar, Mutex};

use lbuild_oci::lock;

/// How far the file is.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes that were written.
    written: u64,
    /// Whether all came, once nothing more comes.
    is_whole: Option<bool>,
}

/// Reads the file to its end, waiting for what comes. The end of one that did not come whole is an error.
#[derive(Debug)]
pub(crate) struct ArrivalReader<'a> {
    file: File,
    arrival: &'a Arrival,
    read: u64,
}

impl Arrival {
    /// So many bytes more were written.
    pub fn grew(&self, count: usize) {
        lock(&self.state).written += count as u64;
        self.changed.notify_all();
    }

    /// Nothing more comes.
    pub fn end(&self, is_whole: bool) {
        lock(&self.state).is_whole = Some(is_whole);
        self.changed.notify_all();
    }

    /// A reader from the beginning of the file, which is at `path`.
    pub fn reader(&self, path: &Path) -> io::Result<ArrivalReader<'_>> {
        Ok(ArrivalReader { file: File::open(path)?, arrival: self, read: 0 })
    }

    /// Waits until there are more than `read` bytes; returns how many, or 0 at the end.
    fn more_than(&self, read: u64) -> io::Result<u64> {
        let mut state = lock(&self.state);
        loop {
            match state.is_whole {
                _ if state.written > read => return Ok(state.written - read),
                Some(true) => return Ok(0),
                Some(false) => return Err(io::Error::other("the rest of it did not come")),
                None => {}
            }
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

impl Read for ArrivalReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.arrival.more_than(self.read)?;
        let wanted = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..wanted])?;
        if count == 0 && wanted > 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.read += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;

    use super::*;

    #[test]
    fn what_comes_is_read_to_its_end_or_to_where_it_broke() {
        for is_whole in [true, false] {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            let arrival = Arrival::default();
            let mut reader = arrival.reader(file.path()).unwrap();
            let (result, content) = thread::scope(|scope| {
                let reads = scope.spawn(move || {
                    let mut content = Vec::new();
                    (reader.read_to_end(&mut content).is_ok(), content)
                });
                for part in [&b"one "[..], b"two ", b"three"] {
                    file.write_all(part).unwrap();
                    arrival.grew(part.len());
                }
                arrival.end(is_whole);
                reads.join().unwrap()
            });
            assert_eq!((result, &content[..]), (is_whole, &b"one two three"[..]));
        }
    }
}
