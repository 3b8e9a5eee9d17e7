//! Bounds how far a compressed stream expands.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Expanded bytes that are free: only what is larger can do harm, and a file of zeros in an honest
/// layer compresses as well as a bomb does.
pub(crate) const FREE_BYTES: u64 = 4 << 30;

/// Whether `expanded` bytes are too many to come from `taken` bytes.
pub(crate) fn is_bomb(expanded: u64, taken: u64, ratio: u64) -> bool {
    expanded > FREE_BYTES && expanded > taken.saturating_mul(ratio)
}

/// A stream that counts the bytes taken from it.
#[derive(Debug)]
pub(crate) struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, count: Arc::default() }
    }

    /// The count as it goes.
    pub fn count(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.count)
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// A decoder that fails once it gave too much for what it took.
#[derive(Debug)]
pub(crate) struct Guard<D> {
    decoder: D,
    taken: Arc<AtomicU64>,
    expanded: u64,
    ratio: u64,
}

impl<D> Guard<D> {
    /// Allows `ratio` bytes of `decoder` for each byte counted in `taken`.
    pub fn new(decoder: D, taken: Arc<AtomicU64>, ratio: u64) -> Self {
        Self { decoder, taken, expanded: 0, ratio }
    }
}

impl<D: Read> Read for Guard<D> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.decoder.read(buffer)?;
        self.expanded += count as u64;
        if is_bomb(self.expanded, self.taken.load(Ordering::Relaxed), self.ratio) {
            let message = format!("the compressed data expands more than {}-fold", self.ratio);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_large_expansions_are_bombs() {
        for (expanded, taken, ratio, expected) in [
            (FREE_BYTES, 0, 10, false),
            (FREE_BYTES + 1, 0, 10, true),
            (FREE_BYTES + 1, FREE_BYTES / 10, 10, true),
            (FREE_BYTES + 1, FREE_BYTES / 10 + 1, 10, false),
            (u64::MAX, u64::MAX / 2, 10, false),
        ] {
            assert_eq!(is_bomb(expanded, taken, ratio), expected, "{expanded} {taken} {ratio}");
        }
    }

    /// A decoder that makes a lot of nothing, fast.
    struct Bomb;

    impl Read for Bomb {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(1 << 30)
        }
    }

    #[test]
    fn a_bomb_is_stopped() {
        let mut guard = Guard::new(Bomb, Arc::new(AtomicU64::new(1 << 20)), 100);
        let mut expanded = 0;
        let error = loop {
            match guard.read(&mut []) {
                Ok(count) => expanded += count as u64,
                Err(error) => break error,
            }
        };
        assert_eq!((expanded, error.kind()), (FREE_BYTES, io::ErrorKind::InvalidData));
    }
}
