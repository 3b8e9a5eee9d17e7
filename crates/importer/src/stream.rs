//! A reader that stops what unpacks to more than is allowed.

use std::io::{self, Read};

/// Below this many bytes the ratio does not count: small layers of zeros are honest.
const RATIO_FREE: u64 = 1 << 30;

/// Passes on at most the bytes that an honest layer has, and fails with `FileTooLarge` beyond.
pub(crate) struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Bounded<R> {
    /// `compressed` is the length of the blob, `layer` and `ratio` are those of
    /// [`Limits`](crate::Limits).
    pub fn new(inner: R, compressed: u64, layer: u64, ratio: u64) -> Self {
        let limit = layer.min(compressed.saturating_mul(ratio).max(RATIO_FREE));
        Self { inner, left: limit, limit }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let message = format!("it unpacks to more than the {} bytes that are allowed", self.limit);
            io::Error::new(io::ErrorKind::FileTooLarge, message)
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_both_limits_counts() {
        let gib = 1u64 << 30;
        for (compressed, layer, ratio, expected) in [
            (10, 1 << 40, 100, gib),
            (gib, 1 << 40, 100, 100 * gib),
            (gib, 5, 100, 5),
            (u64::MAX, 1 << 40, 100, 1 << 40),
        ] {
            assert_eq!(Bounded::new(io::empty(), compressed, layer, ratio).limit, expected);
        }
    }

    #[test]
    fn reading_beyond_the_limit_fails() {
        let read = |length: u64| {
            let mut reader = Bounded::new(io::repeat(0).take(length), 1, 100, 1);
            io::copy(&mut reader, &mut io::sink())
        };
        assert_eq!(read(100).unwrap(), 100);
        assert_eq!(read(101).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
