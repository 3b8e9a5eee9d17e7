//! A context that comes as a stream: `docker build -` and `docker build - < context.tar.gz`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use lbuild_archive::{ExtractOptions, Limits, Reader, decompress_within, extract};
use lbuild_confined::Root;

use crate::error::ContextError;

/// As much of a stream as tells an archive: a compressed one's first block may be long.
const HEAD_BYTES: u64 = 1 << 20;

/// More than any Dockerfile that a person writes.
const MAX_DOCKERFILE_BYTES: u64 = 64 << 20;

/// What a stream turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stream {
    /// An archive, compressed or not. It is now in the folder given.
    Context,
    /// Anything else: a Dockerfile's bytes. The build has no context.
    Dockerfile(Vec<u8>),
}

impl Stream {
    /// Reads a stream to its end; an archive is unpacked into `folder`, which must be empty, as far as
    /// `limits` allow.
    ///
    /// Nothing lands outside the folder. Files keep the archive's owners: open the folder with
    /// [`Owners::AsFound`](crate::Owners).
    ///
    /// # Errors
    /// [`ContextError::Stream`] if the stream fails or is no archive and too long for a Dockerfile;
    /// [`ContextError::Archive`] if it is an archive that cannot be unpacked.
    pub fn read(mut stream: impl Read, folder: &Path, limits: &Limits) -> Result<Self, ContextError> {
        let mut head = Vec::new();
        stream.by_ref().take(HEAD_BYTES).read_to_end(&mut head).map_err(ContextError::Stream)?;
        if lbuild_archive::is_archive(head.as_slice()).map_err(ContextError::Stream)? {
            unpack(head.chain(stream), folder, limits)?;
            return Ok(Self::Context);
        }
        let mut content = head;
        let rest = MAX_DOCKERFILE_BYTES + 1 - content.len() as u64;
        stream.take(rest).read_to_end(&mut content).map_err(ContextError::Stream)?;
        if content.len() as u64 > MAX_DOCKERFILE_BYTES {
            return Err(ContextError::Stream(io::Error::from(io::ErrorKind::FileTooLarge)));
        }
        Ok(Self::Dockerfile(content))
    }

    /// Unpacks the archive `path`, compressed or not, as [`Stream::read`] does.
    ///
    /// # Errors
    /// As [`Stream::read`]; [`ContextError::Open`] if the file cannot be opened.
    pub fn unpack_file(path: &Path, folder: &Path, limits: &Limits) -> Result<(), ContextError> {
        let file = File::open(path);
        let file = file.map_err(|source| ContextError::Open { path: path.to_owned(), source })?;
        unpack(file, folder, limits)
    }
}

fn unpack(stream: impl Read, folder: &Path, limits: &Limits) -> Result<(), ContextError> {
    let root = Root::open(folder).map_err(|source| ContextError::Open { path: folder.to_owned(), source })?;
    let (_, stream) = decompress_within(stream, limits).map_err(ContextError::Stream)?;
    let mut reader = Reader::new(stream, *limits);
    extract(&mut reader, &root, Path::new("."), &ExtractOptions::default()).map_err(ContextError::Archive)?;
    Ok(())
}
