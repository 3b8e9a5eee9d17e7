//! A reader that stops what is longer than is allowed.

use std::io::{self, Read};

/// Passes on at most so many bytes, and fails with `FileTooLarge` beyond.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    left: u64,
    limit: u64,
}

impl<R: Read> Bounded<R> {
    /// Allows `limit` bytes.
    pub fn new(inner: R, limit: u64) -> Self {
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
    fn reading_beyond_the_limit_fails() {
        let read = |length: u64| {
            let mut reader = Bounded::new(io::repeat(0).take(length), 100);
            io::copy(&mut reader, &mut io::sink())
        };
        assert_eq!(read(100).unwrap(), 100);
        assert_eq!(read(101).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
