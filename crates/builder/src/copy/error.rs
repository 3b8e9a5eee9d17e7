//! Why a copy fails.

use std::io;
use std::path::PathBuf;

use lbuild_archive::ArchiveError;
use lbuild_build_context::ContextError;

/// Why a COPY or ADD could not be prepared or applied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A source does not exist or cannot be listed.
    #[error(transparent)]
    Source(#[from] ContextError),
    /// Whoever asked for the list of files did not take it.
    #[error("cannot list the files that are copied")]
    List(#[source] io::Error),
    /// A source cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The source.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of another kind took the source's place since it was listed.
    #[error("{path} was replaced while it was copied")]
    Replaced {
        /// The source.
        path: PathBuf,
    },
    /// A directory is where a file should go.
    #[error("cannot replace the directory {path} with a file")]
    FileOverDirectory {
        /// In the image.
        path: PathBuf,
    },
    /// A file or link is where a directory should go.
    #[error("cannot copy a directory over {path}, which is not one")]
    DirectoryOverFile {
        /// In the image.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// In the image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file cannot be given to its owner; without root rights, only ids that are mapped can own files.
    #[error("cannot give {path} to user {uid} and group {gid}")]
    Owner {
        /// In the image.
        path: PathBuf,
        /// The user.
        uid: u32,
        /// The group.
        gid: u32,
        /// What the system said.
        source: io::Error,
    },
    /// A device node cannot be made; that needs the rights of the system's root.
    #[error("cannot make the device node {path}")]
    Device {
        /// In the image.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The device 0:0 marks a deletion in a layer and cannot be copied as a file.
    #[error("cannot copy {path}: the character device 0:0 cannot be kept in an image")]
    DeletionMark {
        /// The source.
        path: PathBuf,
    },
    /// Nobody wants the result any more.
    #[error("interrupted")]
    Interrupted,
    /// An archive cannot be unpacked.
    #[error("cannot unpack {name}")]
    Archive {
        /// The source as the instruction has it.
        name: String,
        /// What is wrong.
        source: ArchiveError,
    },
}
