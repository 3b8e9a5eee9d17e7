//! Copies that end before they are done.

use std::io::{self, Read};

use rustix::io::Errno;

/// Whether nobody wants the result any more: asked between the parts of a file.
pub(super) type IsCancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// # Errors
/// `ECANCELED` once nobody wants the result.
pub(super) fn check(is_cancelled: IsCancelled<'_>) -> io::Result<()> {
    if is_cancelled() { Err(Errno::CANCELED.into()) } else { Ok(()) }
}

/// A stream that fails once nobody wants the result.
pub(super) struct Cancellable<'a, R> {
    inner: R,
    is_cancelled: IsCancelled<'a>,
}

impl<'a, R: Read> Cancellable<'a, R> {
    pub(super) fn new(inner: R, is_cancelled: IsCancelled<'a>) -> Self {
        Self { inner, is_cancelled }
    }
}

impl<R: Read> Read for Cancellable<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        check(self.is_cancelled)?;
        self.inner.read(buffer)
    }
}
