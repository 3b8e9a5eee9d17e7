//! Sparse files in their four forms, honest and not.

#![allow(clippy::unwrap_used)]

mod support;

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;

use lbuild_archive::{ArchiveError, EntryKind, Limits, Reader};
use support::{Raw, archive, read, read_within};

const SIZE: u64 = 3 << 20;

/// A file with data at its start, in the middle and at its end.
fn make_sparse(path: &Path) -> Vec<u8> {
    let mut file = File::create(path).unwrap();
    let mut content = vec![0; SIZE as usize];
    for (offset, text) in [(0u64, "start"), (1 << 20, "middle"), (SIZE - 3, "end")] {
        file.seek(SeekFrom::Start(offset)).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        content[offset as usize..][..text.len()].copy_from_slice(text.as_bytes());
    }
    content
}

fn gnu_tar(directory: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("tar").current_dir(directory).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A header of GNU's old form: regions, then the size.
fn old(regions: &[(u64, u64)], size: u64, is_extended: bool) -> Raw {
    let mut raw = Raw::gnu(b'S', "sparse").set(483, format!("{size:011o}").as_bytes());
    for (index, (offset, length)) in regions.iter().enumerate() {
        raw = raw.set(386 + 24 * index, format!("{offset:011o} {length:011o} ").as_bytes());
    }
    raw.set(482, &[u8::from(is_extended)])
}

/// The records and the content of form 1.0.
fn version_1(map: &str, size: &str, data: &str) -> [Raw; 2] {
    let records = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "sparse"),
        ("GNU.sparse.realsize", size),
    ];
    let mut content = map.as_bytes().to_vec();
    content.resize(content.len().next_multiple_of(512), 0);
    content.extend_from_slice(data.as_bytes());
    [Raw::pax(b'x', &records), Raw::new(b'0', "GNUSparseFile.0/sparse").content(content)]
}

#[test]
fn what_gnu_tar_writes_is_read_whole() {
    let bed = tempfile::tempdir().unwrap();
    let content = make_sparse(&bed.path().join("sparse"));
    std::fs::write(bed.path().join("after"), "x").unwrap();
    for form in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let arguments = [&["-cS", "-f", "-"], form, &["sparse", "after"]].concat();
        let bytes = gnu_tar(bed.path(), &arguments);
        assert!(bytes.len() < 1 << 20, "{form:?} is not sparse");
        let entries = read(&bytes).unwrap();
        let [(sparse, read), (after, _)] = &entries[..] else { panic!("{form:?}: {entries:?}") };
        assert_eq!((&sparse.path[..], sparse.size, &sparse.kind), (&b"sparse"[..], SIZE, &EntryKind::File));
        assert!(read == &content, "{form:?}");
        assert_eq!(after.path, b"after");
    }
}

#[test]
fn a_map_of_many_regions_is_read_whole() {
    let bed = tempfile::tempdir().unwrap();
    let mut file = File::create(bed.path().join("sparse")).unwrap();
    for index in 0..200u64 {
        file.seek(SeekFrom::Start(index << 16)).unwrap();
        file.write_all(&[index as u8 + 1; 5]).unwrap();
    }
    let content = std::fs::read(bed.path().join("sparse")).unwrap();
    for form in [&["--format=gnu"][..], &["--format=pax"]] {
        let bytes = gnu_tar(bed.path(), &[&["-cS", "-f", "-"], form, &["sparse"]].concat());
        assert!(read(&bytes).unwrap()[0].1 == content, "{form:?}");
        let few = Limits { sparse_regions: 199, ..Limits::default() };
        assert!(matches!(read_within(&bytes, few), Err(ArchiveError::Limit { .. })), "{form:?}");
    }
}

#[test]
fn a_file_that_is_all_hole_is_read() {
    let empty_map = [("GNU.sparse.major", "0"), ("GNU.sparse.minor", "1"), ("GNU.sparse.size", "5")];
    let [pax, entry] = version_1("0\n", "5", "");
    for entries in [
        vec![old(&[], 5, false)],
        vec![Raw::pax(b'x', &empty_map), Raw::new(b'0', "sparse")],
        vec![pax, entry],
    ] {
        let (header, content) = &read(&archive(entries)).unwrap()[0];
        assert_eq!((&header.path[..], &content[..]), (&b"sparse"[..], &[0; 5][..]));
    }
}

#[test]
fn maps_that_lie_are_refused() {
    for (name, entry) in [
        ("overlap", old(&[(0, 2), (1, 2)], 9, false).content("abcd")),
        ("disorder", old(&[(4, 2), (0, 2)], 9, false).content("abcd")),
        ("outside", old(&[(8, 4)], 9, false).content("abcd")),
        ("more stored than mapped", old(&[(0, 2)], 9, false).content("abcd")),
        ("less stored than mapped", old(&[(0, 4)], 9, false).content("ab")),
        ("negative size", old(&[], 0, false).set(483, &[0xff; 12])),
        ("negative offset", old(&[], 9, false).set(386, &[0xff; 24])),
        ("endless extension", old(&[], 9, true).hidden_content([&[0; 504][..], &[1; 8]].concat())),
        ("not GNU's", Raw::new(b'S', "sparse")),
    ] {
        let result = read(&archive([entry]));
        assert!(matches!(result, Err(ArchiveError::Malformed { .. })), "{name}: {result:?}");
    }
    for (map, size) in [
        ("", "9"),
        ("1\n", "9"),
        ("x\n0\n1\n", "9"),
        ("1\n0\n-1\n", "9"),
        ("1\n0\n1", "9"),
        ("1\n00000000000000000000000000000\n1\n", "9"),
        ("18446744073709551615\n", "9"),
        ("1\n18446744073709551615\n1\n", "18446744073709551615"),
        ("1\n0\n1\n", ""),
        ("1\n0\n1\n", "9223372036854775808"),
    ] {
        let result = read(&archive(version_1(map, size, "a")));
        assert!(result.is_err(), "{map:?} {size}: {result:?}");
    }
    for records in [
        &[("GNU.sparse.map", "0,1,2"), ("GNU.sparse.size", "9")][..],
        &[("GNU.sparse.map", "0,1"), ("GNU.sparse.numblocks", "2"), ("GNU.sparse.size", "9")],
        &[("GNU.sparse.offset", "0"), ("GNU.sparse.offset", "0"), ("GNU.sparse.size", "9")],
        &[("GNU.sparse.numbytes", "1"), ("GNU.sparse.offset", "0"), ("GNU.sparse.size", "9")],
        &[("GNU.sparse.major", "2"), ("GNU.sparse.minor", "0"), ("GNU.sparse.size", "9")],
        &[("GNU.sparse.map", "0,1")],
    ] {
        let result = read(&archive([Raw::pax(b'x', records), Raw::new(b'0', "sparse").content("a")]));
        assert!(matches!(result, Err(ArchiveError::Malformed { .. })), "{records:?}: {result:?}");
    }
}

#[test]
fn holes_that_fill_a_disk_are_a_bomb() {
    let size = 50u64 << 30;
    let bytes = archive([old(&[], size, false)]);
    // Only the header is asked for, and no content read.
    let size_within = |limits| Ok(Reader::new(&bytes[..], limits).next()?.map(|entry| entry.header.size));
    let refused: Result<_, ArchiveError> = size_within(Limits::default());
    let Err(ArchiveError::Limit { what, limit }) = refused else { panic!("{refused:?}") };
    assert_eq!((what, limit), ("bytes in sparse files for each byte of the archive", 250));
    let raised = Limits { ratio: u64::MAX, ..Limits::default() };
    assert_eq!(size_within(raised).unwrap(), Some(size));
}
