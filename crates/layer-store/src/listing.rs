//! Listings: what a layer's tar says of its entries, without what its files hold.
//!
//! A listing is a small layer of its own, a tar in zstd whose files are empty and say in an extended
//! attribute what they were: the length and, of the first [`MAX_DIGESTED`], the digest. Whole are the
//! files that the names of owners are looked up in. So a listing is kept, fetched and verified as any
//! layer is, and unpacks by the same code to a tree in which only contents are missing
//! ([`Store::prepare_hollow`]).

use std::fs::File;
use std::io::{self, BufWriter, Read};

use lbuild_archive::{ArchiveError, EntryKind, Header, Writer};
use lbuild_oci::{DiffId, Digest, Hasher, MediaType};

use crate::error::OnPath;
use crate::hollow::Listed;
use crate::pack::HashingWriter;
use crate::{Blob, Layer, Store, StoreError};

/// The extended attribute of a file in a listing.
pub(crate) const LISTED: &[u8] = b"dev.lbuild.listed";

/// Files of a layer whose digests are listed. A digest does not compress: of a layer with more files they
/// would be most of the listing.
const MAX_DIGESTED: usize = 2048;

/// Files that are listed with what they hold, up to so many bytes.
const WHOLE: [&[u8]; 2] = [b"etc/passwd", b"etc/group"];
const MAX_WHOLE: u64 = 64 << 10;

/// A listing is read many times and made once.
const LEVEL: i32 = 12;

impl Store {
    /// Makes the listing of a layer, which is fetched if it is not here, and returns it as a layer of its
    /// own; durable at the next [`Store::flush`].
    ///
    /// # Errors
    /// Those of reading the layer; [`StoreError::Pack`] for one with entries that lbuild writes in no tar.
    pub fn make_listing(&self, diff_id: &DiffId) -> Result<Layer, StoreError> {
        let (file, path) = self.staging.file()?;
        let failed = |source| StoreError::Pack(ArchiveError::Write(source));
        let encoder = zstd::Encoder::new(BufWriter::new(file), LEVEL).map_err(failed)?;
        let mut list = List { tar: Writer::new(HashingWriter::of(encoder)), entries: 0, digested: 0 };
        self.read_layer_tar(diff_id, &mut |reader| {
            while let Some(mut entry) = reader.next()? {
                let header = entry.header.clone();
                list.entry(header, &mut entry)?;
            }
            Ok(())
        })?;
        let entries = list.entries;
        let (encoder, digest, size) = list.tar.finish().map_err(failed)?.into_parts();
        let written = encoder.map(zstd::Encoder::finish).transpose().and_then(|buffer| {
            let buffer = buffer.ok_or(io::ErrorKind::NotFound)?;
            buffer.into_inner().map_err(io::IntoInnerError::into_error)
        });
        written.map_err(failed)?;
        let mut file = File::open(&path).on("open", &path)?;
        let blob = self.write_blob(&mut file, None)?;
        // What cannot be removed now goes with the staging area.
        let _ = std::fs::remove_file(&path);
        let blob = Blob { digest: blob.0, size: blob.1, media_type: MediaType::LayerZstd };
        let layer = Layer { entries, ..Layer::imported(DiffId(digest), size, blob) };
        self.add_layer(&layer)?;
        Ok(layer)
    }
}

/// A listing in the making.
struct List<W: io::Write> {
    tar: Writer<HashingWriter<W>>,
    entries: u64,
    digested: usize,
}

impl<W: io::Write> List<W> {
    fn entry(&mut self, mut header: Header, content: &mut dyn Read) -> Result<(), ArchiveError> {
        self.entries += 1;
        header.xattrs.remove(LISTED);
        if header.kind != EntryKind::File || is_whole(&header) {
            return self.tar.append(&header, content);
        }
        let digest = (self.digested < MAX_DIGESTED).then(|| digest(content)).transpose();
        let digest = digest.map_err(ArchiveError::Read)?;
        self.digested += 1;
        let listed = Listed { size: header.size, digest };
        header.xattrs.insert(LISTED.to_vec(), listed.to_bytes());
        header.size = 0;
        self.tar.append(&header, &mut io::empty())
    }
}

fn is_whole(header: &Header) -> bool {
    let path = header.path.strip_prefix(b"./").unwrap_or(&header.path);
    header.size <= MAX_WHOLE && WHOLE.contains(&path)
}

fn digest(content: &mut dyn Read) -> io::Result<Digest> {
    let mut hasher = Hasher::new();
    io::copy(content, &mut hasher)?;
    Ok(hasher.finish())
}
