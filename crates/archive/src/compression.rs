//! Compressions that a tar archive comes in.

use std::io::{self, BufRead, BufReader, Chain, Cursor, Read};

use crate::expansion::{Counted, Guard};
use crate::{ArchiveError, Limits, Reader};

/// The longest prefix that [`Compression::detect`] looks at, in bytes.
const MAGIC_BYTES: usize = 8;

const BUFFER_BYTES: usize = 64 << 10;

/// The largest window that a zstd frame may ask for, as a power of two: 128 MiB, as zstd(1) without
/// `--long` takes it.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Memory that xz may take, in bytes; `xz -9` needs 65 MiB.
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
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame, with which some zstd tools begin.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, _, _, _, _, ..] => Self::Zstd,
            _ => Self::None,
        }
    }
}

/// Recognises the compression of `reader` and returns what is inside: all gzip members, zstd frames,
/// xz or bzip2 streams, one after the other. A stream that is not compressed is returned as it is.
///
/// What expands beyond the default [`Limits::ratio`] is refused; see [`decompress_within`].
///
/// # Errors
/// Those of the first read. Reading the result fails with `InvalidData` or `InvalidInput` where the
/// compressed data is damaged, and with `UnexpectedEof` where it stops early.
pub fn decompress<'a>(reader: impl Read + 'a) -> io::Result<(Compression, Box<dyn Read + 'a>)> {
    let (compression, decoder) = decoder(reader, Limits::default().ratio)?;
    Ok((compression, Box::new(decoder)))
}

/// [`decompress`] with a [`Limits::ratio`] of one's own. Another thread may read the result where it
/// may read `reader`.
///
/// # Errors
/// As [`decompress`]; reading what expands beyond the ratio fails with `InvalidData`.
pub fn decompress_within<R: Read>(
    reader: R,
    limits: &Limits,
) -> io::Result<(Compression, impl Read + use<R>)> {
    decoder(reader, limits.ratio)
}

/// Whether `reader` holds a tar archive, compressed or not: ADD unpacks that, and copies the rest.
///
/// As BuildKit decides: the magic bytes' promise holds and a valid entry comes first. An archive
/// without entries is none.
///
/// # Errors
/// Those of the first read; anything wrong after it is an answer.
pub fn is_archive(reader: impl Read) -> io::Result<bool> {
    let (compression, stream) = peek(reader)?;
    let Ok(decoder) = Decoder::new(compression, stream) else { return Ok(false) };
    let first = Reader::new(decoder, Limits::default()).next().map(|entry| entry.is_some());
    // An entry that cannot be unpacked makes an archive that cannot be unpacked, not another file.
    Ok(matches!(first, Ok(true) | Err(ArchiveError::UnsupportedType { .. } | ArchiveError::Limit { .. })))
}

/// A stream of which the first bytes were looked at.
type Peeked<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

type Guarded<R> = Guard<Decoder<Peeked<Counted<R>>>>;

enum Decoder<R: BufRead> {
    None(R),
    Gzip(flate2::bufread::MultiGzDecoder<R>),
    Bzip2(bzip2::bufread::MultiBzDecoder<R>),
    Xz(liblzma::bufread::XzDecoder<R>),
    Zstd(zstd::Decoder<'static, R>),
}

impl<R: BufRead> Decoder<R> {
    fn new(compression: Compression, stream: R) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(stream),
            Compression::Gzip => Self::Gzip(flate2::bufread::MultiGzDecoder::new(stream)),
            Compression::Bzip2 => Self::Bzip2(bzip2::bufread::MultiBzDecoder::new(stream)),
            Compression::Xz => {
                let flags = liblzma::stream::CONCATENATED;
                let decoder = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, flags)?;
                Self::Xz(liblzma::bufread::XzDecoder::new_stream(stream, decoder))
            }
            Compression::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(stream)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Self::Zstd(decoder)
            }
        })
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::None(stream) => stream.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Bzip2(decoder) => decoder.read(buffer),
            Self::Xz(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

fn decoder<R: Read>(reader: R, ratio: u64) -> io::Result<(Compression, Guarded<R>)> {
    let counted = Counted::new(reader);
    let taken = counted.count();
    let (compression, stream) = peek(counted)?;
    Ok((compression, Guard::new(Decoder::new(compression, stream)?, taken, ratio)))
}

fn peek<R: Read>(mut reader: R) -> io::Result<(Compression, Peeked<R>)> {
    let mut head = Vec::with_capacity(MAGIC_BYTES);
    reader.by_ref().take(MAGIC_BYTES as u64).read_to_end(&mut head)?;
    let compression = Compression::detect(&head);
    Ok((compression, BufReader::with_capacity(BUFFER_BYTES, Cursor::new(head).chain(reader))))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::{EntryKind, Header, Writer};

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn bzip2(content: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(content: &[u8]) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(content: &[u8]) -> Vec<u8> {
        zstd::encode_all(content, 1).unwrap()
    }

    type Encode = fn(&[u8]) -> Vec<u8>;
    const ENCODERS: [(Compression, Encode); 5] = [
        (Compression::None, <[u8]>::to_vec),
        (Compression::Gzip, gzip),
        (Compression::Bzip2, bzip2),
        (Compression::Xz, xz),
        (Compression::Zstd, zstd),
    ];

    fn archive() -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        let mut header = Header::new("f", EntryKind::File, 0o644);
        header.size = 3;
        writer.append(&header, &mut &b"abc"[..]).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn concatenated_streams_are_read_to_their_end() {
        for (expected, encode) in ENCODERS {
            let stream = [encode(b"one "), encode(b"two")].concat();
            let (compression, mut decoded) = decompress(&stream[..]).unwrap();
            let mut content = String::new();
            decoded.read_to_string(&mut content).unwrap();
            assert_eq!((compression, &content[..]), (expected, "one two"));
        }
    }

    #[test]
    fn a_zstd_stream_may_begin_with_a_skippable_frame() {
        let skippable = [&[0x5e, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9], &zstd(b"one")[..]].concat();
        let (compression, mut decoded) = decompress(&skippable[..]).unwrap();
        let mut content = String::new();
        decoded.read_to_string(&mut content).unwrap();
        assert_eq!((compression, &content[..]), (Compression::Zstd, "one"));
    }

    #[test]
    fn streams_that_stop_early_are_errors() {
        for (compression, encode) in &ENCODERS[1..] {
            let stream = encode(&[b'x'; 1000]);
            for length in [9, stream.len() / 2, stream.len() - 1] {
                let (_, mut decoded) = decompress(&stream[..length]).unwrap();
                assert!(io::copy(&mut decoded, &mut io::sink()).is_err(), "{compression:?} {length}");
            }
        }
    }

    #[test]
    fn a_bomb_of_zeros_is_stopped() {
        // 65 frames of 64 MiB each: more than is free.
        let bomb = zstd(&vec![0; 64 << 20]).repeat(65);
        let limits = Limits { ratio: 1000, ..Limits::default() };
        let (_, mut decoded) = decompress_within(&bomb[..], &limits).unwrap();
        let mut buffer = vec![0; 1 << 20];
        let error = loop {
            match decoded.read(&mut buffer) {
                Ok(0) => panic!("not stopped"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "the compressed data expands more than 1000-fold");
    }

    #[test]
    fn short_and_empty_streams_are_not_compressed() {
        for content in [&b""[..], b"B", b"\x1f\x8b", b"\x28\xb5\x2f", b"\x50\x2a\x4d\x18"] {
            let (compression, mut decoded) = decompress(content).unwrap();
            let mut read = Vec::new();
            decoded.read_to_end(&mut read).unwrap();
            assert_eq!((compression, &read[..]), (Compression::None, content));
        }
    }

    #[test]
    fn archives_are_recognised_by_their_first_entry() {
        for (compression, encode) in ENCODERS {
            assert!(is_archive(&encode(&archive())[..]).unwrap(), "{compression:?}");
            assert!(!is_archive(&encode(b"plain text, quite long")[..]).unwrap(), "{compression:?}");
            assert!(!is_archive(&encode(&[0; 1024])[..]).unwrap(), "{compression:?}");
            assert!(!is_archive(&encode(b"")[..]).unwrap(), "{compression:?}");
        }
        let mut damaged = archive();
        damaged[0] ^= 1;
        assert!(!is_archive(&damaged[..]).unwrap());
        let mut broken_gzip = gzip(&archive());
        broken_gzip[12] ^= 0xff;
        broken_gzip.truncate(40);
        assert!(!is_archive(&broken_gzip[..]).unwrap());
    }
}
