//! What the reader makes of the formats' corners.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::io::Read;

use lbuild_archive::{ArchiveError, EntryKind, Limits, Reader};
use support::{Raw, archive, paths, read, read_within};

#[test]
fn an_old_header_has_no_prefix_and_a_directory_ends_in_a_slash() {
    let old = |path| Raw::new(0, path).set(257, &[0; 8]).set(345, b"prefix");
    let entries = read(&archive([old("file"), old("directory/")])).unwrap();
    let kinds: Vec<_> = entries.iter().map(|(header, _)| (&header.path[..], &header.kind)).collect();
    assert_eq!(kinds, [(&b"file"[..], &EntryKind::File), (b"directory/", &EntryKind::Directory)]);
}

#[test]
fn each_dialect_has_its_own_prefix() {
    let with_prefix = || Raw::new(b'0', "name").set(345, b"prefix");
    let star = with_prefix().set(476, b"00000000000\x0000000000000\0").set(508, b"tar\0");
    let gnu = Raw::gnu(b'0', "name").set(345, b"00000000000");
    let full = Raw::new(b'0', "name").set(345, &[b'p'; 155]);
    let expected = ["prefix/name", "prefix/name", "name", &format!("{}/name", "p".repeat(155))];
    assert_eq!(paths(&archive([with_prefix(), star, gnu, full])).unwrap(), expected);
}

#[test]
fn a_name_may_fill_its_field() {
    let (name, target) = ("n".repeat(100), "t".repeat(100));
    let (header, _) = &read(&archive([Raw::new(b'2', &name).link(&target)])).unwrap()[0];
    assert_eq!((&header.path[..], &header.kind), (name.as_bytes(), &EntryKind::Symlink(target.into_bytes())));
}

#[test]
fn pax_records_override_the_header() {
    let pax = Raw::pax(
        b'x',
        &[
            ("path", "long/path"),
            ("size", "3"),
            ("uid", "4000000000"),
            ("gid", "3000000000"),
            ("mtime", "-1.5"),
            ("SCHILY.xattr.user.a", "line\n11 path=x\n"),
            ("comment", "whatever"),
            ("VENDOR.unknown", "x"),
        ],
    );
    let file = Raw::new(b'0', "short").size(0).hidden_content("abc");
    let entries = read(&archive([pax, file, Raw::new(b'0', "next")])).unwrap();
    let (header, content) = &entries[0];
    assert_eq!((&header.path[..], &content[..], header.size), (&b"long/path"[..], &b"abc"[..], 3));
    assert_eq!((header.uid, header.gid), (4_000_000_000, 3_000_000_000));
    assert_eq!((header.mtime, header.mtime_nanos), (-2, 500_000_000));
    assert_eq!(header.xattrs, BTreeMap::from([(b"user.a".to_vec(), b"line\n11 path=x\n".to_vec())]));
    // They are of one entry.
    assert_eq!(entries[1].0.path, b"next");
    assert!(entries[1].0.xattrs.is_empty());
}

#[test]
fn global_records_have_no_effect() {
    let bytes = archive([
        Raw::pax(b'g', &[("comment", "of a git commit"), ("uid", "7"), ("mtime", "9")]),
        Raw::pax(b'g', &[("SCHILY.xattr.user.a", "x"), ("gid", "7")]),
        Raw::new(b'0', "a"),
        Raw::pax(b'x', &[("uid", "8")]),
        Raw::new(b'0', "b"),
    ]);
    let entries = read(&bytes).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|(header, _)| (header.uid, header.gid, header.mtime, header.xattrs.len()))
        .collect();
    assert_eq!(found, [(0, 0, 0, 0), (8, 0, 0, 0)]);
}

#[test]
fn gnu_headers_carry_long_names() {
    let (path, target) = ("p/".repeat(200) + "f", "t/".repeat(200));
    let bytes = archive([
        Raw::gnu(b'K', "././@LongLink").content(format!("{target}\0")),
        Raw::gnu(b'L', "././@LongLink").content(format!("{path}\0")),
        Raw::gnu(b'2', "short").link("short"),
    ]);
    let (header, _) = &read(&bytes).unwrap()[0];
    assert_eq!((&header.path[..], &header.kind), (path.as_bytes(), &EntryKind::Symlink(target.into_bytes())));
}

#[test]
fn only_regular_files_have_content() {
    // Directories and links with a size are followed by no content for Go's reader, so neither for us.
    for type_flag in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        let bytes = archive([Raw::new(type_flag, "a").link("b").size(512), Raw::new(b'0', "next")]);
        assert_eq!(paths(&bytes).unwrap(), ["a", "next"], "{}", char::from(type_flag));
    }
}

#[test]
fn types_that_make_no_file_are_refused() {
    for type_flag in [b'V', b'M', b'D', b'N', b'X', b'A', b'Z', 0xff] {
        let result = read(&archive([Raw::new(type_flag, "entry")]));
        assert!(matches!(result, Err(ArchiveError::UnsupportedType { .. })), "{type_flag}");
    }
}

#[test]
fn a_checksum_of_signed_bytes_is_right_too() {
    let mut bytes = archive([Raw::new(b'0', "ü")]);
    let sum: i32 = bytes[..512]
        .iter()
        .enumerate()
        .map(|(at, &byte)| match at {
            148..156 => i32::from(b' '),
            _ => i32::from(byte as i8),
        })
        .sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(paths(&bytes).unwrap(), ["ü"]);
}

#[test]
fn any_flipped_bit_of_a_header_is_noticed() {
    let bytes = archive([Raw::new(b'0', "file").content("abc")]);
    let expected = read(&bytes).unwrap();
    for bit in 0..512 * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // A leading zero of the checksum may become a space, which says the same.
        let is_noticed = read(&damaged).map_or(true, |entries| entries == expected);
        assert!(is_noticed, "bit {bit}");
    }
}

#[test]
fn an_archive_that_stops_early_is_an_error() {
    let bytes = archive([
        Raw::pax(b'x', &[("path", "long")]),
        Raw::new(b'0', "file").content([1; 700]),
        Raw::new(b'0', "next"),
    ]);
    let end_of_content = 512 + 512 + 512 + 700;
    for length in 1..bytes.len() - 1024 {
        // Between entries, and in the padding of content, an archive may end.
        let may_end = (end_of_content..=512 * 5).contains(&length);
        assert_eq!(read(&bytes[..length]).is_ok(), may_end, "{length}");
    }
    assert!(matches!(read(&bytes[..100]), Err(ArchiveError::Truncated { offset: 100 })));
}

#[test]
fn an_archive_ends_with_zeros_or_with_the_stream() {
    let entry = Raw::new(b'0', "file").bytes();
    let (zero, other) = (vec![0; 512], Raw::new(b'0', "hidden").bytes());
    for (blocks, expected) in [
        (vec![&entry], Some(1)),
        (vec![&entry, &zero], Some(1)),
        (vec![&entry, &zero, &zero, &other], Some(1)),
        (vec![&entry, &zero, &other], None),
        (vec![], Some(0)),
    ] {
        let bytes: Vec<u8> = blocks.into_iter().flatten().copied().collect();
        assert_eq!(read(&bytes).ok().map(|entries| entries.len()), expected);
    }
}

#[test]
fn nothing_follows_an_error() {
    let mut bytes = archive([Raw::new(b'0', "a"), Raw::new(b'0', "b")]);
    bytes[0] = b'x';
    let mut reader = Reader::new(&bytes[..], Limits::default());
    assert!(reader.next().is_err());
    assert!(reader.next().unwrap().is_none());
}

#[test]
fn finishing_reads_all_that_follows_the_archive() {
    let mut bytes = archive([Raw::new(b'0', "a").content([1; 2000])]);
    bytes.extend_from_slice(&[7; 200_000]);
    let mut stream = &bytes[..];
    let mut reader = Reader::new(&mut stream, Limits::default());
    while reader.next().unwrap().is_some() {}
    reader.finish().unwrap();
    assert!(stream.is_empty());
}

#[test]
fn ids_that_no_file_can_have_are_refused() {
    for (field, value) in [
        ("uid", "-1"),
        ("uid", "4294967295"),
        ("uid", "4294967296"),
        ("gid", "18446744073709551616"),
        ("gid", "9223372036854775807"),
    ] {
        let bytes = archive([Raw::pax(b'x', &[(field, value)]), Raw::new(b'0', "a")]);
        assert!(matches!(read(&bytes), Err(ArchiveError::Malformed { .. })), "{field} {value}");
    }
    for binary in [[0xff; 8], [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], [0x80, 0, 0, 1, 0, 0, 0, 0]] {
        for offset in [108, 116] {
            let bytes = archive([Raw::gnu(b'0', "a").set(offset, &binary)]);
            assert!(matches!(read(&bytes), Err(ArchiveError::Malformed { .. })), "{offset} {binary:?}");
        }
    }
    let largest = [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xfe];
    let (header, _) = &read(&archive([Raw::gnu(b'0', "a").set(108, &largest)])).unwrap()[0];
    assert_eq!(header.uid, u32::MAX - 1);
}

#[test]
fn content_that_is_not_read_is_skipped() {
    let bytes = archive([Raw::new(b'0', "a").content([1; 2000]), Raw::new(b'0', "b").content("b")]);
    for read in [0, 1, 511, 512, 2000] {
        let mut reader = Reader::new(&bytes[..], Limits::default());
        reader.next().unwrap().unwrap().read_exact(&mut vec![0; read]).unwrap();
        assert_eq!(reader.next().unwrap().unwrap().header.path, b"b", "{read}");
    }
}

#[test]
fn each_limit_holds() {
    let bytes = archive([
        Raw::pax(b'x', &[("SCHILY.xattr.user.a", "1"), ("SCHILY.xattr.user.b", "2"), ("path", "0123456789")]),
        Raw::new(b'0', "a").content([1; 600]),
        Raw::new(b'0', "b").content([1; 600]),
    ]);
    let limits = Limits::default();
    for (limits, expected) in [
        (Limits { entries: 3, bytes: 1200, path: 10, extension: 69, xattrs: 2, ..limits }, None),
        (Limits { entries: 2, ..limits }, Some("entries")),
        (Limits { bytes: 1199, ..limits }, Some("bytes of content")),
        (Limits { path: 9, ..limits }, Some("bytes in a path")),
        (Limits { extension: 68, ..limits }, Some("bytes in an extended header")),
        (Limits { xattrs: 1, ..limits }, Some("extended attributes of an entry")),
    ] {
        let exceeded = match read_within(&bytes, limits) {
            Ok(_) => None,
            Err(ArchiveError::Limit { what, .. }) => Some(what),
            Err(error) => panic!("{error}"),
        };
        assert_eq!(exceeded, expected);
    }
}
