//! Tar archives from outside: decompression, entries, safe extraction, deterministic writing.
//!
//! Everything read here may be hostile: [`Reader`] bounds what an archive can cost ([`Limits`]), and
//! [`extract`] reaches files only through open directories of a [`Root`](lbuild_confined::Root), so
//! that nothing lands outside it. [`Writer`] gives the same bytes for the same entries.
//!
//! Source: POSIX.1-2017, pax, "Extended Description"; the GNU tar manual, "Tar Internals"

mod block;
mod blocks;
mod bounded;
mod compression;
mod content;
mod device;
mod encode;
mod error;
mod expansion;
mod extensions;
mod extract;
mod header;
mod inspect;
mod limits;
mod number;
mod pax;
mod place;
mod reader;
mod remove;
mod sparse;
mod unpack;
mod writer;

pub use bounded::Bounded;
pub use compression::{Compression, decompress, decompress_within, is_archive};
pub use device::DeviceNote;
pub use error::ArchiveError;
pub use extract::{ExtractOptions, ExtractReport, extract};
pub use header::{EntryKind, Header};
pub use inspect::read_xattrs;
pub use limits::Limits;
pub use place::{Placed, link, place, place_noting_devices, set_metadata};
pub use reader::{Entry, Reader};
pub use remove::remove;
pub use unpack::Unpacker;
pub use writer::{EntryWriter, Writer};
