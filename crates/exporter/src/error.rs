//! Why an image could not be written.

use std::io;
use std::path::PathBuf;

use lbuild_archive::ArchiveError;
use lbuild_layer_store::StoreError;
use lbuild_oci::{DiffId, Digest};
use lbuild_registry::RegistryError;

/// Why an image could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store cannot give what the image needs.
    #[error("cannot read image {image} from the store")]
    Store {
        /// The image.
        image: Digest,
        /// Why.
        source: StoreError,
    },
    /// There is nothing to write.
    #[error("there is no image to write")]
    NoImage,
    /// A layer that the image has is not in the store.
    #[error("layer {layer} of image {image} is not in the store")]
    MissingLayer {
        /// The image.
        image: Digest,
        /// The layer.
        layer: DiffId,
    },
    /// A layer that is to be compressed cannot be read.
    #[error("cannot read layer {layer}")]
    ReadLayer {
        /// The layer.
        layer: DiffId,
        /// Why.
        source: StoreError,
    },
    /// The output cannot be written as an archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// A file of the output folder cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output folder is the root of this machine's file system.
    #[error("{path} is the root of the file system: its files would be replaced by the image's")]
    RootFolder {
        /// The folder as it was named.
        path: PathBuf,
    },
    /// A directory of the image is a file or a symbolic link in the output folder.
    #[error("{path} in the output folder is no directory, and the image has one there; use an empty folder")]
    InTheWay {
        /// The path, from the folder.
        path: PathBuf,
    },
    /// A file of the image cannot be read.
    #[error("cannot read {path} of the image")]
    Read {
        /// The file, from the image's root.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A compressed layer cannot be put aside until it is written.
    #[error("cannot compress layer {layer}")]
    Compress {
        /// The layer.
        layer: DiffId,
        /// Why.
        source: io::Error,
    },
    /// A blob of the store is not what it was.
    #[error("blob {blob} in the store is damaged; remove the image and build or load it anew")]
    DamagedBlob {
        /// The blob.
        blob: Digest,
    },
    /// A registry has a blob under the digest that a layer should be, which that cannot be.
    #[error(
        "layer {layer} should be the {told} bytes of blob {blob}, and the registry has {found} bytes there"
    )]
    WrongLength {
        /// The layer.
        layer: DiffId,
        /// The blob.
        blob: Digest,
        /// Bytes that whoever named the blob told of.
        told: u64,
        /// Bytes that the registry tells of.
        found: u64,
    },
    /// The folder has other things in it than an OCI layout.
    #[error("{path} is not empty and no OCI layout; give an empty or new folder")]
    NotALayout {
        /// The folder.
        path: PathBuf,
    },
    /// The layout in the folder cannot be added to.
    #[error("{path} is damaged: {reason}")]
    DamagedLayout {
        /// The file of the layout.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// There is no such compression level.
    #[error("{format} has the levels {least} to {most}")]
    Level {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// The lowest.
        least: i32,
        /// The highest.
        most: i32,
    },
    /// A registry does not take the image.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Docker's media types have none for zstd.
    #[error("layers in zstd need OCI media types: leave out oci-mediatypes=false")]
    NoDockerMediaType,
    /// No Docker answers.
    #[error("cannot reach Docker at {socket}; is it running, and may this user open its socket?")]
    DockerUnreachable {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection to Docker broke, or Docker does not speak HTTP.
    #[error("the connection to Docker at {socket} failed")]
    DockerConnection {
        /// Its socket.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Docker refused the image.
    #[error("Docker refused the image: {message}")]
    DockerRefused {
        /// What Docker says.
        message: String,
    },
}
