//! Why the store could not do what it was asked.

use std::io;
use std::path::PathBuf;

use lbuild_archive::ArchiveError;
use lbuild_oci::{DiffId, Digest};

/// Why the store could not keep or return something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A system call failed.
    #[error("cannot {action} {path}")]
    Io {
        /// What was tried: `read`, `write`, `create`, ….
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A later version of lbuild made this store.
    #[error(
        "the store {path} has format {found}, newer than this lbuild's {supported}: use a newer lbuild or another store"
    )]
    NewerVersion {
        /// The store's directory.
        path: PathBuf,
        /// Its format.
        found: String,
        /// The newest format known here.
        supported: u32,
    },
    /// What layers delete is marked in the store as this process cannot see it.
    #[error(
        "the store {path} keeps its marks in {found} attributes, and this process needs {expected} ones: each \
         way to be root needs a store of its own"
    )]
    OtherMarks {
        /// The store's directory.
        path: PathBuf,
        /// `trusted` or `user`.
        found: String,
        /// The other one.
        expected: &'static str,
    },
    /// The directory holds something else.
    #[error("{path} is no store and not empty")]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },
    /// The store lies on a file system that is mounted read-only.
    #[error("the store {path} is on a read-only file system")]
    ReadOnly {
        /// The store's directory.
        path: PathBuf,
    },
    /// Another user's store.
    #[error("the store {path} belongs to user {owner}, and this is user {user}")]
    OtherOwner {
        /// The store's directory.
        path: PathBuf,
        /// Whom it belongs to.
        owner: u32,
        /// Who asked.
        user: u32,
    },
    /// Another process uses what was to be removed.
    #[error("the store {path} is in use by another build; try again when it has ended")]
    Busy {
        /// The store's directory.
        path: PathBuf,
    },
    /// No layer of this digest is in the store.
    #[error("layer {0} is not in the store")]
    UnknownLayer(DiffId),
    /// A layer is not here, and was not to be had from where it should be. The store has forgotten it.
    #[error("layer {diff_id} cannot be fetched")]
    Lost {
        /// The layer.
        diff_id: DiffId,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody ended what was being done, or what it was done for failed.
    #[error("interrupted")]
    Interrupted,
    /// What a file holds that is below a step decides its result, and its layer was not fetched.
    #[error("{path}: what it holds is not known without its layer")]
    Hollow {
        /// The file.
        path: PathBuf,
    },
    /// No blob of this digest is in the store.
    #[error("blob {0} is not in the store")]
    UnknownBlob(Digest),
    /// No image of this identity is in the store.
    #[error("image {0} is not in the store")]
    UnknownImage(Digest),
    /// Several images' identities begin with the text.
    #[error("{text:?} is short for {count} images; write more digits")]
    Ambiguous {
        /// What was looked for.
        text: String,
        /// How many images it may mean.
        count: usize,
    },
    /// Bytes are not those that their name promises.
    #[error("{what} is damaged: its digest is {actual}, expected {expected}")]
    DigestMismatch {
        /// What was read.
        what: String,
        /// The digest that it should have.
        expected: Digest,
        /// The digest that it has.
        actual: Digest,
    },
    /// A stored record cannot be read.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// The record's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A step left a file whose name means a deletion in a layer.
    #[error("{path}: a name that begins with .wh. means a deletion in an image and cannot be kept")]
    ReservedName {
        /// The file, from the image's root.
        path: PathBuf,
    },
    /// A step left a file that no layer can hold.
    #[error("{path}: a file of this type cannot be kept in a layer")]
    UnsupportedFile {
        /// The file, from the image's root.
        path: PathBuf,
    },
    /// A layer's tar could not be made.
    #[error("cannot pack a layer")]
    Pack(#[source] ArchiveError),
    /// An archive for a cache mount cannot be unpacked.
    #[error("cannot unpack the archive")]
    Import(#[source] ArchiveError),
    /// A layer's tar cannot be read.
    #[error("cannot read layer {diff_id}")]
    ReadLayer {
        /// The layer.
        diff_id: DiffId,
        /// Why.
        source: ArchiveError,
    },
    /// An entry of a layer cannot be made on this file system.
    #[error("layer {diff_id}: cannot unpack {entry:?}")]
    Unpack {
        /// The layer.
        diff_id: DiffId,
        /// The entry's path as the layer has it.
        entry: String,
        /// Why.
        source: io::Error,
    },
    /// An imported layer holds an entry that is not allowed.
    #[error("layer {diff_id}: entry {entry:?}: {reason}")]
    BadLayer {
        /// The layer.
        diff_id: DiffId,
        /// The entry's path as the layer has it.
        entry: String,
        /// Why it was refused.
        reason: String,
    },
    /// More layers than the kernel stacks.
    #[error("{count} layers, and the kernel stacks at most {limit}")]
    TooManyLayers {
        /// How many layers were asked for.
        count: usize,
        /// The kernel's limit.
        limit: usize,
    },
    /// A merged tree is attached somewhere and was to be removed.
    #[error("image {0} is mounted; unmount it first")]
    Mounted(Digest),
    /// Nothing that this store mounted is there.
    #[error("{path} is not a mounted image")]
    NotMounted {
        /// The directory.
        path: PathBuf,
    },
    /// A document given to the store contradicts itself.
    #[error("image {id}: {reason}")]
    InvalidImage {
        /// The image.
        id: Digest,
        /// What is wrong.
        reason: String,
    },
    /// The kernel refused an overlay.
    #[error("cannot mount an overlay on {path}: {reason}")]
    Mount {
        /// Where the writable part would be, or the store.
        path: PathBuf,
        /// What the kernel said.
        reason: String,
        /// Its error.
        source: io::Error,
    },
}

/// Says what was tried on which file when a system call fails.
pub(crate) trait OnPath<T> {
    fn on(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, StoreError>;
}

impl<T, E: Into<io::Error>> OnPath<T> for Result<T, E> {
    fn on(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, StoreError> {
        self.map_err(|error| {
            let (path, source) = (path.into(), error.into());
            StoreError::Io { action, path, source }
        })
    }
}
