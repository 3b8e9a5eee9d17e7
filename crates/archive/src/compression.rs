//! Compressions that a tar archive comes in.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use crate::{Limits, Reader};

/// The longest prefix that [`Compression::detect`] looks at, in bytes.
const MAGIC_BYTES: usize = 8;

/// What zstd allows a frame to ask for without being told otherwise, as a power of two: 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Most memory that xz may take to decompress, in bytes; `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 << 20;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all, or in a way that is not known.
    None,
    /// RFC 1952.
    Gzip,
    /// bzip2.
    Bzip2,
    /// xz; not the older `.lzma`.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// The compression of a stream that begins with `head`, of which eight bytes are enough.
    pub fn detect(head: &[u8]) -> Self {
        match head {
            [0x42, 0x5a, 0x68, ..] => Self::Bzip2,
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, which says nothing of its content but comes from zstd tools.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, _, _, _, _, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Recognises the compression of `reader` and returns what is inside: every gzip member, zstd frame
/// and xz or bzip2 stream, one after the other. An uncompressed stream is returned as it is.
///
/// # Errors
/// Those of the first read. Reading the result fails with `InvalidData` where the compressed data is
/// damaged or asks for an unreasonable amount of memory, and `UnexpectedEof` where it stops early.
pub fn decompress<'a>(reader: impl Read + 'a) -> io::Result<(Compression, Box<dyn Read + 'a>)> {
    let (compression, stream) = peek(reader)?;
    let decoded: Box<dyn Read + 'a> = match compression {
        Compression::None => Box::new(stream),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(stream)),
        Compression::Xz => Box::new(xz(stream)?),
        Compression::Zstd => Box::new(zstd(stream)?),
    };
    Ok((compression, decoded))
}

/// [`decompress`] for a result that another thread reads.
///
/// # Errors
/// As [`decompress`].
pub fn decompress_send<'a>(
    reader: impl Read + Send + 'a,
) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let (compression, stream) = peek(reader)?;
    let decoded: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(stream),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(stream)),
        Compression::Xz => Box::new(xz(stream)?),
        Compression::Zstd => Box::new(zstd(stream)?),
    };
    Ok((compression, decoded))
}

/// Whether `reader` holds a tar archive, compressed or not: ADD unpacks that and copies the rest.
///
/// As BuildKit decides: what the magic bytes promise can be decompressed and begins with a valid
/// entry. An archive without entries is none.
///
/// # Errors
/// Those of the first read; damaged data is an answer, not an error.
pub fn is_archive(reader: impl Read) -> io::Result<bool> {
    let Ok((_, stream)) = decompress(reader) else { return Ok(false) };
    Ok(matches!(Reader::new(stream, Limits::default()).next(), Ok(Some(_))))
}

type Peeked<R> = io::Chain<Cursor<Vec<u8>>, R>;

fn peek<R: Read>(mut reader: R) -> io::Result<(Compression, BufReader<Peeked<R>>)> {
    let mut head = Vec::with_capacity(MAGIC_BYTES);
    reader.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut head)?;
    let compression = Compression::detect(&head);
    Ok((compression, BufReader::with_capacity(64 << 10, Cursor::new(head).chain(reader))))
}

fn xz<R: BufRead>(stream: R) -> io::Result<liblzma::bufread::XzDecoder<R>> {
    let decoder = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
    Ok(liblzma::bufread::XzDecoder::new_stream(stream, decoder))
}

fn zstd<'a, R: BufRead>(stream: R) -> io::Result<zstd::Decoder<'a, R>> {
    let mut decoder = zstd::Decoder::with_buffer(stream)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}
