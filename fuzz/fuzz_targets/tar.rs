//! An archive of any bytes, also with checksums that hold: no panic, no more work than the limits allow,
//! and what is read can be written and read again.

#![no_main]

use std::io::{self, Read};

use lbuild_archive::{ArchiveError, Compression, Header, Limits, Reader, Writer, decompress_within, is_archive};
use libfuzzer_sys::fuzz_target;

const BLOCK: usize = 512;

const LIMITS: Limits = Limits {
    entries: 1000,
    bytes: 1 << 20,
    path: 4095,
    extension: 1 << 16,
    xattrs: 32,
    sparse_regions: 1000,
    ratio: 250,
};

fuzz_target!(|bytes: &[u8]| {
    let _ = is_archive(bytes);
    check(bytes);
    if Compression::detect(bytes) == Compression::None {
        check(&with_checksums(bytes));
    }
});

fn check(bytes: &[u8]) {
    let Ok((_, stream)) = decompress_within(bytes, &LIMITS) else { return };
    let Ok(entries) = read(stream) else { return };
    assert!(entries.iter().map(|(header, _)| header.size).sum::<u64>() <= LIMITS.bytes);
    let mut writer = Writer::new(Vec::new());
    for (header, content) in &entries {
        if writer.append(header, &mut content.as_slice()).is_err() {
            return;
        }
    }
    let Ok(written) = writer.finish() else { return };
    let again = read(written.as_slice());
    assert!(again.as_ref().is_ok_and(|again| alike(again, &entries)), "{entries:?}\n{again:?}");
}

/// All entries with their content. Reading takes no more than the limits allow, whatever it ends with.
fn read(stream: impl Read) -> Result<Vec<(Header, Vec<u8>)>, ArchiveError> {
    // Far more than the limits give, so that only their failing is seen.
    let mut reader = Reader::new(stream.take(64 << 20), LIMITS);
    let mut entries = Vec::new();
    while let Some(mut entry) = reader.next()? {
        let mut content = Vec::new();
        let header = entry.header.clone();
        let end = entry.read_to_end(&mut content);
        assert!(content.len() as u64 <= header.size, "{header:?}");
        match end {
            Ok(_) => assert_eq!(content.len() as u64, header.size, "{header:?}"),
            Err(_) => return Ok(Vec::new()),
        }
        entries.push((header, content));
    }
    let mut rest = reader.finish()?;
    let _ = io::copy(&mut rest, &mut io::sink());
    Ok(entries)
}

/// Whether the archives hold the same, but for what a writer changes: fractions of seconds, and the
/// slash behind a directory's name.
fn alike(some: &[(Header, Vec<u8>)], others: &[(Header, Vec<u8>)]) -> bool {
    let plain = |(header, content): &(Header, Vec<u8>)| {
        let mut header = header.clone();
        header.mtime_nanos = 0;
        while header.path.ends_with(b"/") {
            header.path.pop();
        }
        (header, content.clone())
    };
    some.iter().map(plain).eq(others.iter().map(plain))
}

/// The same blocks, each with the checksum that a header must have.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for block in bytes.chunks_exact_mut(BLOCK).filter(|block| block.iter().any(|byte| *byte != 0)) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}
