//! One writer for every compression.

use std::io::{self, Write};
use std::thread;

use zstd::zstd_safe::CParameter;

use crate::Compression;
use crate::gzip::GzipWriter;

/// Bytes that a thread of zstd compresses at a time, at levels that look back as far. zstd's own choice is 8 MB, of which
/// it holds three and one for each thread, and what they are compressed to: more memory than all else takes.
const ZSTD_JOB: u32 = 2 << 20;

/// The highest such level.
const MOST_ZSTD_LEVEL: i32 = 8;

/// Each job may refer to half of the one before (`ZSTD_c_overlapLog`), not to an eighth: that gives back what smaller
/// jobs cost, and a little more.
const ZSTD_OVERLAP: u32 = 8;

/// Threads of zstd at most: more would wait for the digests, which one thread computes.
const MOST_ZSTD_THREADS: u32 = 4;

/// Compresses what is written to it.
pub(crate) enum Encoder<W: Write> {
    None(W),
    Gzip(GzipWriter<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Encoder<W> {
    /// The bytes do not depend on how many processors there are.
    pub fn new(output: W, compression: Compression) -> io::Result<Self> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        match compression {
            Compression::None => Ok(Self::None(output)),
            Compression::Gzip { level } => GzipWriter::new(output, level, threads).map(Self::Gzip),
            Compression::Zstd { level } => zstd_encoder(output, level, threads).map(Self::Zstd),
        }
    }

    /// Ends the stream and returns the output.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::None(output) => Ok(output),
            Self::Gzip(writer) => writer.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// With no worker zstd takes another path and gives other bytes, so there is always one.
fn zstd_encoder<W: Write>(output: W, level: i32, threads: usize) -> io::Result<zstd::Encoder<'static, W>> {
    let mut encoder = zstd::Encoder::new(output, level)?;
    encoder.include_checksum(true)?;
    if level <= MOST_ZSTD_LEVEL {
        encoder.set_parameter(CParameter::JobSize(ZSTD_JOB))?;
        encoder.set_parameter(CParameter::OverlapSizeLog(ZSTD_OVERLAP))?;
    }
    encoder.multithread(u32::try_from(threads).unwrap_or(1).clamp(1, MOST_ZSTD_THREADS))?;
    Ok(encoder)
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(output) => output.write(bytes),
            Self::Gzip(writer) => writer.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zstd_gives_the_same_bytes_on_any_number_of_threads() {
        let content: Vec<u8> =
            (0..5_000_000u32).flat_map(|i| (i / 7).wrapping_mul(i).to_le_bytes()).collect();
        let compress = |threads| {
            let mut encoder = zstd_encoder(Vec::new(), 3, threads).unwrap();
            encoder.write_all(&content).unwrap();
            encoder.finish().unwrap()
        };
        let one = compress(1);
        assert!(compress(2) == one && compress(4) == one);
        assert!(zstd::decode_all(&one[..]).unwrap() == content);
    }
}
