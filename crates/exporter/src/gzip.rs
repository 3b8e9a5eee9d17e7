//! gzip on all processors, with the same bytes for any number of them.
//!
//! The input is cut into blocks of a fixed size that are compressed independently, each with the end
//! of the one before as its dictionary, and ended on a byte boundary: put together they are one
//! deflate stream, in one gzip member that every reader knows. Nothing in the header tells when or
//! where it was written.
//!
//! Source: RFC 1951, RFC 1952

use std::collections::VecDeque;
use std::io::{self, Write};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use flate2::{Compress, Crc, FlushCompress, Status};

/// Input bytes of a block: large enough that its end costs nothing, small enough to share out.
const BLOCK: usize = 256 << 10;

/// As far as deflate looks back.
const WINDOW: usize = 32 << 10;
const WINDOW_BITS: u8 = 15;

/// RFC 1952: deflate, no flags, no time, no extra flags, an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Compresses what is written to it.
pub(crate) struct GzipWriter<W> {
    output: W,
    jobs: Sender<Job>,
    /// The answers to the jobs given out, in order.
    pending: VecDeque<Receiver<io::Result<Done>>>,
    most_pending: usize,
    block: Vec<u8>,
    dictionary: Vec<u8>,
    crc: Crc,
    length: u64,
}

struct Job {
    block: Vec<u8>,
    dictionary: Vec<u8>,
    is_last: bool,
    answer: Sender<io::Result<Done>>,
}

struct Done {
    compressed: Vec<u8>,
    crc: Crc,
}

impl<W: Write> GzipWriter<W> {
    /// Writes to `output` at a level from 0 to 9, on `threads` threads.
    pub fn new(mut output: W, level: u32, threads: usize) -> io::Result<Self> {
        let threads = threads.max(1);
        output.write_all(&HEADER)?;
        let (jobs, queue) = bounded::<Job>(threads);
        for _ in 0..threads {
            let queue = queue.clone();
            // The threads end when the writer is dropped, and `jobs` with it.
            thread::Builder::new().name("gzip".to_owned()).spawn(move || work(&queue, level))?;
        }
        Ok(Self {
            output,
            jobs,
            pending: VecDeque::new(),
            most_pending: 2 * threads,
            block: Vec::with_capacity(BLOCK),
            dictionary: Vec::new(),
            crc: Crc::new(),
            length: 0,
        })
    }

    /// Ends the member and returns the output.
    pub fn finish(mut self) -> io::Result<W> {
        self.give_out(true)?;
        while !self.pending.is_empty() {
            self.take_in()?;
        }
        self.output.write_all(&self.crc.sum().to_le_bytes())?;
        // RFC 1952: the length modulo 2^32.
        self.output.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.output)
    }

    fn give_out(&mut self, is_last: bool) -> io::Result<()> {
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let window = block[block.len().saturating_sub(WINDOW)..].to_vec();
        let dictionary = std::mem::replace(&mut self.dictionary, window);
        let (answer, done) = bounded(1);
        self.jobs.send(Job { block, dictionary, is_last, answer }).map_err(|_| threads_ended())?;
        self.pending.push_back(done);
        if self.pending.len() > self.most_pending {
            self.take_in()?;
        }
        Ok(())
    }

    /// Waits for the oldest block and writes it.
    fn take_in(&mut self) -> io::Result<()> {
        let Some(done) = self.pending.pop_front() else { return Ok(()) };
        let Done { compressed, crc } = done.recv().map_err(|_| threads_ended())??;
        self.crc.combine(&crc);
        self.output.write_all(&compressed)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full block waits for the next byte, which shows that it is not the last.
        if self.block.len() == BLOCK {
            self.give_out(false)?;
        }
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        self.length += count as u64;
        Ok(count)
    }

    /// Does nothing: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn threads_ended() -> io::Error {
    io::Error::other("a compressing thread ended early")
}

fn work(queue: &Receiver<Job>, level: u32) {
    for job in queue {
        let result = compress(level, &job);
        // Nobody waits any more where the output failed.
        let _ = job.answer.send(result);
    }
}

/// Compresses a block with a compressor of its own: one that was used before, even if it was reset, has
/// leftovers by which zlib-rs chooses between matches, and which blocks it had is a matter of chance.
fn compress(level: u32, job: &Job) -> io::Result<Done> {
    let mut deflate = Compress::new_with_window_bits(flate2::Compression::new(level), false, WINDOW_BITS);
    if !job.dictionary.is_empty() {
        deflate.set_dictionary(&job.dictionary)?;
    }
    let flush = if job.is_last { FlushCompress::Finish } else { FlushCompress::Sync };
    let mut compressed = Vec::with_capacity(job.block.len() + job.block.len() / 4 + 1024);
    loop {
        let rest = &job.block[deflate.total_in() as usize..];
        let status = deflate.compress_vec(rest, &mut compressed, flush)?;
        // Deflate has more to say as long as it fills what it is given.
        if status == Status::StreamEnd || !job.is_last && compressed.len() < compressed.capacity() {
            break;
        }
        compressed.reserve(BLOCK);
    }
    let mut crc = Crc::new();
    crc.update(&job.block);
    Ok(Done { compressed, crc })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn gzip(content: &[u8], level: u32, threads: usize) -> Vec<u8> {
        let mut writer = GzipWriter::new(Vec::new(), level, threads).unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap()
    }

    /// Text that repeats at distances within and beyond the window, between noise.
    fn content(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut noise = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let mut bytes: Vec<u8> = (0..40_000).map(|_| noise()).collect();
        while bytes.len() < length {
            let start = bytes.len() - 30_000;
            bytes.extend_from_within(start..start + 5_000);
            bytes.extend((0..500).map(|_| noise()));
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn what_is_compressed_is_read_back() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 17] {
            for level in [0, 1, 6, 9] {
                let content = content(length);
                let compressed = gzip(&content, level, 2);
                let mut back = Vec::new();
                // Not the multi-member reader: there is one member.
                flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut back).unwrap();
                assert!(back == content, "{length} bytes at level {level}");
            }
        }
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_bytes() {
        let content = content(9 * BLOCK + 1);
        let one = gzip(&content, 6, 1);
        for threads in [2, 3, 8] {
            assert!(gzip(&content, 6, threads) == one, "{threads} threads");
        }
    }

    /// zlib-rs chooses matches by what earlier blocks left in a compressor, even after a reset.
    #[test]
    fn which_thread_compresses_a_block_does_not_change_its_bytes() {
        let content = numbers(8 * BLOCK);
        let one = gzip(&content, 6, 1);
        for threads in [2, 3, 8] {
            assert!(gzip(&content, 6, threads) == one, "{threads} threads");
        }
    }

    /// Hexadecimal numbers, which have many short matches to choose from.
    fn numbers(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut text = String::new();
        while text.len() < length {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            text += &format!("{:x} ", state >> 20);
        }
        text.into_bytes()
    }

    #[test]
    fn how_it_is_written_does_not_change_the_bytes() {
        let content = content(3 * BLOCK);
        let mut writer = GzipWriter::new(Vec::new(), 6, 2).unwrap();
        for piece in content.chunks(12_345) {
            writer.write_all(piece).unwrap();
            writer.flush().unwrap();
        }
        assert!(writer.finish().unwrap() == gzip(&content, 6, 2));
    }

    #[test]
    fn blocks_share_their_window() {
        let content = content(20 * BLOCK);
        let compressed = gzip(&content, 6, 2).len();
        let mut whole = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        whole.write_all(&content).unwrap();
        let whole = whole.finish().unwrap().len();
        assert!(compressed < whole + whole / 50, "{compressed} bytes against {whole}");
    }

    #[test]
    fn a_failing_output_is_an_error() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                if bytes.len() == HEADER.len() {
                    Ok(bytes.len())
                } else {
                    Err(io::ErrorKind::StorageFull.into())
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = GzipWriter::new(Full, 6, 1).unwrap();
        let error = io::copy(&mut io::repeat(0).take(64 * BLOCK as u64), &mut writer).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
