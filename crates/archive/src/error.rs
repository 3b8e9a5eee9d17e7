//! What can go wrong with an archive.

use std::io;
use std::path::PathBuf;

/// Why an archive could not be read, written or unpacked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The stream under the archive failed, or its compression is damaged.
    #[error("cannot read the archive")]
    Read(#[source] io::Error),
    /// The stream that the archive goes to failed.
    #[error("cannot write the archive")]
    Write(#[source] io::Error),
    /// The archive stops in the middle of something.
    #[error("the archive is truncated at byte {offset}")]
    Truncated {
        /// Uncompressed bytes before the end.
        offset: u64,
    },
    /// The archive breaks the format's rules.
    #[error("malformed archive: {reason} in the header at byte {offset}")]
    Malformed {
        /// Where the header begins, in uncompressed bytes.
        offset: u64,
        /// What is wrong.
        reason: &'static str,
    },
    /// The archive is larger than the caller's [`Limits`](crate::Limits).
    #[error("the archive exceeds the limit of {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much was allowed.
        limit: u64,
    },
    /// An entry of a type that no file system entry corresponds to.
    #[error("{path}: entries of type {type_flag:?} are not supported")]
    UnsupportedType {
        /// The entry's path.
        path: PathBuf,
        /// The type as the archive writes it.
        type_flag: char,
    },
    /// An entry's header cannot be written, such as one with a NUL byte in its path.
    #[error("{path}: {reason}")]
    Unwritable {
        /// The entry's path.
        path: PathBuf,
        /// What is wrong.
        reason: &'static str,
    },
    /// The content of an entry has another length than its header says.
    #[error("{path}: the size changed while it was archived: {expected} bytes expected, {found} found")]
    SizeChanged {
        /// The entry's path.
        path: PathBuf,
        /// As its header says.
        expected: u64,
        /// As it was read; where there is more, only that it is more is known.
        found: u64,
    },
    /// The content of an entry could not be read to be archived.
    #[error("{path}: cannot read the file to archive it")]
    Content {
        /// The entry's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An entry's path or hard link leads out of the directory it is unpacked to, or through an absolute
    /// symbolic link.
    #[error("{path}: leads outside the directory it is unpacked to, or through an absolute link")]
    Outside {
        /// The entry's path.
        path: PathBuf,
    },
    /// The file system refused an entry.
    #[error("cannot unpack {path}")]
    Unpack {
        /// The entry's path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
