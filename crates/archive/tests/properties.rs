//! What holds for any archive.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use lbuild_archive::{EntryKind, Header, Limits, Writer, decompress, is_archive};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use support::{Bed, python, read};

/// Any bytes that a path may hold, with slashes, and no directory's slash at the end.
fn path() -> impl Strategy<Value = Vec<u8>> {
    let name = vec(prop_oneof![4 => b'a'..=b'z', 1 => 1u8..=255], 1..120);
    vec(name, 1..4)
        .prop_map(|names| names.join(&b'/'))
        .prop_filter("ends in a slash", |path| !path.ends_with(b"/"))
}

fn kind() -> impl Strategy<Value = EntryKind> {
    let device = (0u32..1 << 12, 0u32..1 << 20);
    prop_oneof![
        4 => Just(EntryKind::File),
        2 => Just(EntryKind::Directory),
        1 => path().prop_map(EntryKind::Symlink),
        1 => path().prop_map(EntryKind::HardLink),
        1 => Just(EntryKind::Fifo),
        1 => device.clone().prop_map(|(major, minor)| EntryKind::CharDevice { major, minor }),
        1 => device.prop_map(|(major, minor)| EntryKind::BlockDevice { major, minor }),
    ]
}

fn entry() -> impl Strategy<Value = (Header, Vec<u8>)> {
    let id = prop_oneof![0u32..1 << 21, 0..u32::MAX];
    let mtime = prop_oneof![0i64..1 << 33, -1i64 << 40..1 << 40];
    let xattr_name = "[a-z]{1,9}\\.[a-z]{1,20}".prop_map(String::into_bytes);
    let xattrs = btree_map(xattr_name, vec(any::<u8>(), 0..40), 0..3);
    let content = vec(any::<u8>(), 0..1500);
    (path(), kind(), 0u32..0o10000, (id.clone(), id), mtime, xattrs, content).prop_map(
        |(path, kind, mode, (uid, gid), mtime, xattrs, content)| {
            let content = if kind == EntryKind::File { content } else { Vec::new() };
            let path = if kind == EntryKind::Directory { [&path[..], b"/"].concat() } else { path };
            let size = content.len() as u64;
            (Header { path, kind, mode, uid, gid, size, mtime, mtime_nanos: 0, xattrs }, content)
        },
    )
}

fn write(entries: &[(Header, Vec<u8>)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (header, content) in entries {
        writer.append(header, &mut &content[..]).unwrap();
    }
    writer.finish().unwrap()
}

/// Bytes with a header's frame around them, so that more than the checksum is tried.
fn framed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    for block in bytes.chunks_exact_mut(512) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_written_is_read_back(entries in vec(entry(), 0..8)) {
        let bytes = write(&entries);
        prop_assert_eq!(bytes.len() % 512, 0);
        prop_assert_eq!(read(&bytes).unwrap(), entries);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in vec(any::<u8>(), 0..4096)) {
        let _ = read(&bytes);
        let _ = read(&framed(bytes.clone()));
        let _ = is_archive(&bytes[..]).unwrap();
        if let Ok((_, decoded)) = decompress(&bytes[..]) {
            let _ = std::io::copy(&mut std::io::Read::take(decoded, 1 << 20), &mut std::io::sink());
        }
    }

    #[test]
    fn a_damaged_archive_is_read_without_a_panic(
        entries in vec(entry(), 1..4),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = write(&entries);
        for (place, value) in damage {
            let place = place.index(bytes.len());
            bytes[place] = value;
            let block = place / 512 * 512;
            // Sometimes with the right checksum.
            if value % 2 == 0 {
                let fixed = framed(bytes[block..block + 512].to_vec());
                bytes[block..block + 512].copy_from_slice(&fixed);
            }
        }
        let _ = read(&bytes);
    }

    #[test]
    fn records_of_any_bytes_are_read_without_a_panic(content in vec(any::<u8>(), 0..600), flag in "[xgLKS0]") {
        let extension = support::Raw::new(flag.as_bytes()[0], "x").content(content);
        let _ = read(&support::archive([extension, support::Raw::new(b'0', "y")]));
    }
}

proptest! {
    // Each case runs a process or makes files.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn python_reads_what_is_written(entries in vec(entry(), 1..12)) {
        prop_assert_eq!(python::listing(&write(&entries)), python::expected(&entries));
    }

    #[test]
    fn nothing_is_unpacked_outside(
        steps in vec((0usize..6, 0usize..8, 0usize..8), 1..12),
    ) {
        const NAMES: [&str; 8] =
            ["a", "a/b", "a/b/c", "b", "../outside", "/outside/sentinel", "a/../../outside/x", "."];
        let bed = Bed::new();
        let before = bed.surroundings();
        let entries = steps.into_iter().map(|(kind, name, target)| {
            let flag = [b'0', b'1', b'2', b'2', b'5', b'6'][kind];
            support::Raw::new(flag, NAMES[name]).mode(0o777).link(NAMES[target])
        });
        let _ = bed.extract(&support::archive(entries));
        prop_assert_eq!(bed.surroundings(), before);
    }
}

#[test]
fn the_default_limits_let_large_entries_pass() {
    let limits = Limits::default();
    let xattrs: BTreeMap<_, _> =
        (0..10).map(|n| (format!("user.{n}").into_bytes(), vec![n; 65536])).collect();
    let mut header = Header::new("f".repeat(limits.path), EntryKind::Fifo, 0o600);
    header.xattrs = xattrs;
    assert_eq!(read(&write(&[(header.clone(), Vec::new())])).unwrap(), [(header, Vec::new())]);
}
