//! Copying the bytes of a file.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use lbuild_oci::{Digest, Hasher};
use rustix::fs::{self, SeekFrom as Position};
use rustix::io::Errno;

use super::cancel::{self, Cancellable, IsCancelled};
use super::error::CopyError;

const BUFFER_BYTES: usize = 256 << 10;

/// Below this, a read and a write are cheaper than asking the kernel to copy.
const KERNEL_COPY_BYTES: u64 = 64 << 10;

/// The kernel is asked to copy at most this at once: a slow disk should not delay an interrupt by long, and gets
/// something to do early.
const KERNEL_PART_BYTES: usize = 8 << 20;

/// From so many bytes on, the disk gets them at once.
const WORTH_WRITING: usize = 1 << 20;

/// stat(2) counts blocks of this size.
const BLOCK_BYTES: u64 = 512;

/// Copies files' bytes, by the kernel where it can: that shares blocks on file systems that do.
pub(super) struct ContentCopier<'a> {
    buffer: Vec<u8>,
    /// Cleared once the kernel refuses: the trees are on different file systems then.
    kernel_copies: bool,
    is_cancelled: IsCancelled<'a>,
}

impl<'a> ContentCopier<'a> {
    pub(super) fn new(is_cancelled: IsCancelled<'a>) -> Self {
        Self { buffer: vec![0; BUFFER_BYTES], kernel_copies: true, is_cancelled }
    }

    /// Copies the first `size` bytes of `source`, or what there is of them, into an empty file. Holes stay
    /// holes. `blocks` is what the source takes on its disk.
    pub(super) fn copy(&mut self, source: &File, target: &File, size: u64, blocks: u64) -> io::Result<()> {
        cancel::check(self.is_cancelled)?;
        if blocks.saturating_mul(BLOCK_BYTES) < size && size >= KERNEL_COPY_BYTES {
            return self.copy_sparse(source, target, size);
        }
        self.copy_range(source, target, 0, size)
    }

    fn copy_sparse(&mut self, source: &File, target: &File, size: u64) -> io::Result<()> {
        let mut position = 0;
        while position < size {
            let data = match fs::seek(source, Position::Data(position)) {
                Ok(data) => data.min(size),
                // There is no data after this.
                Err(Errno::NXIO) => break,
                // The file system knows no holes.
                Err(Errno::INVAL) => return self.copy_range(source, target, position, size),
                Err(error) => return Err(error.into()),
            };
            let hole = fs::seek(source, Position::Hole(data)).map_or(size, |hole| hole.min(size));
            self.copy_range(source, target, data, hole)?;
            position = hole;
        }
        Ok(fs::ftruncate(target, size)?)
    }

    fn copy_range(&mut self, source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
        let mut position = start;
        while self.kernel_copies && end - start >= KERNEL_COPY_BYTES && position < end {
            cancel::check(self.is_cancelled)?;
            let (mut from, mut to) = (position, position);
            let length = usize::try_from(end - position).unwrap_or(usize::MAX).min(KERNEL_PART_BYTES);
            match fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), length) {
                // The file is shorter than it was, or one of those of /proc whose size is a lie.
                Ok(0) => break,
                Ok(copied) => {
                    if copied >= WORTH_WRITING {
                        begin_writing(target, position, copied);
                    }
                    position += copied as u64;
                }
                Err(Errno::INTR) => {}
                Err(
                    Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::IO,
                ) => {
                    self.kernel_copies = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.copy_by_buffer(source, target, position, end)
    }

    fn copy_by_buffer(&mut self, source: &File, target: &File, start: u64, end: u64) -> io::Result<()> {
        let mut position = start;
        while position < end {
            cancel::check(self.is_cancelled)?;
            let length = usize::try_from(end - position).unwrap_or(usize::MAX).min(self.buffer.len());
            match source.read_at(&mut self.buffer[..length], position) {
                Ok(0) => break,
                Ok(length) => {
                    target.write_all_at(&self.buffer[..length], position)?;
                    position += length as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Has the disk begin with what was copied: the step is synced before it gets its name, and until then the processors
/// digest it. The kernel writes what it is told not to need, and keeps in memory what is not written yet.
fn begin_writing(target: &File, start: u64, length: usize) {
    // Only a hint: what the disk was not told it gets by the sync.
    let _ = fs::fadvise(target, start, std::num::NonZeroU64::new(length as u64), fs::Advice::DontNeed);
}

/// The digest of a file of this process.
pub(super) fn digest(path: &Path, is_cancelled: IsCancelled<'_>) -> Result<Digest, CopyError> {
    let read = || {
        let mut hasher = Hasher::new();
        io::copy(&mut Cancellable::new(File::open(path)?, is_cancelled), &mut hasher)?;
        Ok(hasher.finish())
    };
    read().map_err(|source| CopyError::Read { path: path.to_owned(), source })
}

/// Whether an open file is an archive; it is then at its beginning again.
pub(super) fn is_archive(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let is_archive = lbuild_archive::is_archive(&mut *file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(is_archive)
}

/// Writes all of a small content.
pub(super) fn write(mut target: &File, content: &[u8]) -> io::Result<()> {
    target.write_all(content)
}
