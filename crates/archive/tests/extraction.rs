//! What extraction makes, by BuildKit's rules.

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::Path;

use lbuild_archive::{ArchiveError, ExtractOptions, ExtractReport, Limits, Reader, extract};
use support::{Bed, Raw, archive};

fn directory(path: &str) -> Raw {
    Raw::new(b'5', path).mode(0o755)
}

fn file(path: &str) -> Raw {
    Raw::new(b'0', path).content("new")
}

/// Mode, owner, group and time.
fn metadata(path: &Path) -> (u32, u32, u32, i64) {
    let stat = std::fs::symlink_metadata(path).unwrap();
    (stat.mode() & 0o7777, stat.uid(), stat.gid(), stat.mtime())
}

#[test]
fn every_kind_of_entry_gets_its_metadata() {
    let bed = Bed::new();
    let report = bed
        .extract(&archive([
            directory("d").mode(0o1777).owner(1, 2).mtime(10),
            file("d/setuid").mode(0o6755).owner(3, 4).mtime(11),
            Raw::new(b'2', "d/link").link("setuid").owner(5, 6).mtime(12),
            Raw::new(b'6', "d/fifo").mode(0o622).owner(7, 8).mtime(13),
            Raw::new(b'3', "d/null")
                .mode(0o666)
                .owner(9, 10)
                .mtime(14)
                .set(329, b"0000001")
                .set(337, b"0000003"),
            Raw::new(b'4', "d/disk").mode(0o660).mtime(15).set(329, b"0000007").set(337, b"0000011"),
        ]))
        .unwrap();
    assert_eq!(report, ExtractReport { entries: 6, bytes: 3, refused_xattrs: 0 });
    assert_eq!(metadata(&bed.path("d")), (0o1777, 1, 2, 10));
    assert_eq!(metadata(&bed.path("d/setuid")), (0o6755, 3, 4, 11));
    assert_eq!(metadata(&bed.path("d/link")), (0o777, 5, 6, 12));
    assert_eq!(metadata(&bed.path("d/fifo")), (0o622, 7, 8, 13));
    assert_eq!(metadata(&bed.path("d/null")), (0o666, 9, 10, 14));
    let device = std::fs::metadata(bed.path("d/null")).unwrap();
    assert!(device.file_type().is_char_device());
    assert_eq!(device.rdev(), rustix::fs::makedev(1, 3));
    let device = std::fs::metadata(bed.path("d/disk")).unwrap();
    assert!(device.file_type().is_block_device());
    assert_eq!(device.rdev(), rustix::fs::makedev(7, 9));
}

#[test]
fn a_process_mask_changes_no_mode() {
    let bed = Bed::new();
    let previous = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let result = bed.extract(&archive([
        directory("d").mode(0o777),
        file("f").mode(0o666),
        Raw::new(b'6', "p").mode(0o622),
        file("implied/f"),
    ]));
    rustix::process::umask(previous);
    result.unwrap();
    for (path, mode) in [("d", 0o777), ("f", 0o666), ("p", 0o622), ("implied", 0o755)] {
        assert_eq!(metadata(&bed.path(path)).0, mode, "{path}");
    }
}

#[test]
fn directories_are_merged() {
    let bed = Bed::new();
    std::fs::create_dir(bed.path("d")).unwrap();
    std::fs::write(bed.path("d/old"), "old").unwrap();
    bed.extract(&archive([file("d/new"), directory("d/").mode(0o700).owner(1, 1).mtime(10)])).unwrap();
    assert_eq!(metadata(&bed.path("d")), (0o700, 1, 1, 10));
    assert_eq!(std::fs::read(bed.path("d/old")).unwrap(), b"old");
    assert_eq!(std::fs::read(bed.path("d/new")).unwrap(), b"new");
}

#[test]
fn everything_else_replaces_what_is_there() {
    let kinds = || {
        [
            file("x"),
            Raw::new(b'2', "x").link("target"),
            Raw::new(b'6', "x"),
            Raw::new(b'1', "x").link("other"),
            directory("x"),
        ]
    };
    for (index, entry) in kinds().into_iter().enumerate() {
        let bed = Bed::new();
        bed.extract(&archive([file("other"), entry])).unwrap();
        let expected = std::fs::symlink_metadata(bed.path("x")).unwrap().file_type();
        for (there, before) in kinds().into_iter().enumerate() {
            let bed = Bed::new();
            let again = kinds().into_iter().nth(index).unwrap();
            bed.extract(&archive([file("other"), before, again])).unwrap();
            let stat = std::fs::symlink_metadata(bed.path("x")).unwrap();
            assert_eq!(stat.file_type(), expected, "{index} over {there}");
        }
        let bed = Bed::new();
        std::fs::create_dir_all(bed.path("x/deep/tree")).unwrap();
        std::fs::write(bed.path("x/deep/file"), "old").unwrap();
        let again = kinds().into_iter().nth(index).unwrap();
        bed.extract(&archive([file("other"), again])).unwrap();
        let is_merged = expected.is_dir();
        assert_eq!(bed.path("x/deep/tree").exists(), is_merged, "{index} over a tree");
    }
}

#[test]
fn a_file_that_is_replaced_keeps_its_other_names() {
    let bed = Bed::new();
    std::fs::write(bed.path("a"), "old").unwrap();
    std::fs::hard_link(bed.path("a"), bed.path("b")).unwrap();
    bed.extract(&archive([file("a")])).unwrap();
    assert_eq!(std::fs::read(bed.path("b")).unwrap(), b"old");
}

#[test]
fn hard_links_share_a_file_and_its_metadata() {
    let bed = Bed::new();
    bed.extract(&archive([
        directory("d"),
        file("d/a").mode(0o4755).owner(1, 1),
        Raw::new(b'1', "b").link("./d/a").mode(0o4755).owner(1, 1),
        // A file that is a link to itself stays.
        Raw::new(b'1', "d/a").link("d/a").mode(0o4755).owner(1, 1),
        Raw::new(b'1', "c").link("/d/../d/a").mode(0o4755).owner(2, 2).mtime(9),
    ]))
    .unwrap();
    let inode = |path| std::fs::metadata(bed.path(path)).unwrap().ino();
    assert_eq!((inode("b"), inode("c")), (inode("d/a"), inode("d/a")));
    assert_eq!(metadata(&bed.path("d/a")), (0o4755, 2, 2, 9));
    assert_eq!(std::fs::read(bed.path("b")).unwrap(), b"new");
}

#[test]
fn a_hard_link_does_not_cost_a_file_its_capabilities() {
    let bed = Bed::new();
    let capability = "\u{1}\0\0\u{2}\u{4}\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    bed.extract(&archive([
        Raw::pax(b'x', &[("SCHILY.xattr.security.capability", capability)]),
        file("a").mode(0o755).owner(3, 3),
        Raw::new(b'1', "b").link("a").mode(0o755).owner(3, 3),
    ]))
    .unwrap();
    let opened = std::fs::File::open(bed.path("b")).unwrap();
    let xattrs = lbuild_archive::read_xattrs(&opened, |_| true).unwrap();
    assert_eq!(xattrs[&b"security.capability"[..]], capability.as_bytes());
}

#[test]
fn links_inside_are_followed() {
    let bed = Bed::new();
    bed.extract(&archive([
        directory("usr"),
        directory("usr/lib"),
        Raw::new(b'2', "lib").link("usr/lib"),
        directory("a"),
        Raw::new(b'2', "a/up").link("../usr"),
        file("lib/x"),
        file("a/up/y"),
        file("lib/new/z"),
    ]))
    .unwrap();
    for path in ["usr/lib/x", "usr/y", "usr/lib/new/z"] {
        assert_eq!(std::fs::read(bed.path(path)).unwrap(), b"new", "{path}");
    }
}

#[test]
fn a_directory_that_was_removed_is_not_written_to() {
    let bed = Bed::new();
    bed.extract(&archive([
        directory("d"),
        directory("e"),
        file("d/a"),
        Raw::new(b'2', "d").link("e"),
        file("d/b"),
        directory("d"),
        file("d/c"),
    ]))
    .unwrap();
    for (path, exists) in [("d/a", false), ("e/b", true), ("d/b", false), ("d/c", true), ("e/c", false)] {
        assert_eq!(bed.path(path).exists(), exists, "{path}");
    }
}

#[test]
fn missing_directories_are_root_s_and_as_old_as_what_needs_them() {
    let bed = Bed::new();
    let options = ExtractOptions { owner: Some((5, 6)), ..ExtractOptions::default() };
    bed.extract_with(&archive([file("a/b/f").mtime(77)]), &options).unwrap();
    assert_eq!(metadata(&bed.path("a")), (0o755, 0, 0, 77));
    assert_eq!(metadata(&bed.path("a/b")), (0o755, 0, 0, 77));
    assert_eq!(metadata(&bed.path("a/b/f")), (0o644, 5, 6, 77));
}

#[test]
fn directories_get_their_time_when_all_is_in_them() {
    let bed = Bed::new();
    bed.extract(&archive([
        directory("d").mtime(1),
        directory("d/e").mtime(2),
        file("d/e/f"),
        directory("d").mtime(3),
        file("d/g"),
    ]))
    .unwrap();
    assert_eq!((metadata(&bed.path("d")).3, metadata(&bed.path("d/e")).3), (3, 2));
}

#[test]
fn the_destination_keeps_its_metadata_unless_asked() {
    let root = || directory("./").mode(0o1700).owner(1, 2).mtime(9);
    let bed = Bed::new();
    let before = metadata(&bed.path(""));
    bed.extract(&archive([root()])).unwrap();
    assert_eq!(metadata(&bed.path("")), before);
    let options = ExtractOptions { preserve_root_metadata: true, ..ExtractOptions::default() };
    bed.extract_with(&archive([root(), file("f")]), &options).unwrap();
    assert_eq!(metadata(&bed.path("")), (0o1700, 1, 2, 9));
}

#[test]
fn an_entry_may_be_left_out() {
    let bed = Bed::new();
    let options = ExtractOptions { filter: &|header| header.path != b"b", ..ExtractOptions::default() };
    bed.extract_with(&archive([file("a"), file("b"), file("c")]), &options).unwrap();
    assert_eq!([bed.path("a").exists(), bed.path("b").exists(), bed.path("c").exists()], [true, false, true]);
}

#[test]
fn an_empty_name_is_the_destination() {
    // A tool in the wild begins its archives so, and BuildKit unpacks them.
    let bed = Bed::new();
    bed.extract(&archive([Raw::new(0, ""), file("f")])).unwrap();
    assert!(bed.path("f").is_file());
}

#[test]
fn long_runs_of_zeros_become_holes() {
    let bed = Bed::new();
    let mut content = vec![0; 4 << 20];
    content[2 << 20] = 1;
    bed.extract(&archive([
        Raw::new(b'0', "middle").content(&content),
        Raw::new(b'0', "all").content(vec![0; 1 << 20]),
        Raw::new(b'0', "odd").content(vec![0; (1 << 20) + 1]),
    ]))
    .unwrap();
    assert_eq!(std::fs::read(bed.path("middle")).unwrap(), content);
    assert_eq!(std::fs::read(bed.path("all")).unwrap(), vec![0; 1 << 20]);
    assert_eq!(std::fs::read(bed.path("odd")).unwrap(), vec![0; (1 << 20) + 1]);
    let stored = |path| std::fs::metadata(bed.path(path)).unwrap().blocks() * 512;
    assert!(stored("middle") < 1 << 20 && stored("all") < 1 << 18);
}

#[test]
fn an_archive_that_stops_early_says_where() {
    let bed = Bed::new();
    let bytes = archive([file("a"), Raw::new(b'0', "b").content([1; 5000])]);
    let error = bed.extract(&bytes[..2000]).unwrap_err();
    let ArchiveError::Unpack { path, source } = error else { panic!("{error}") };
    assert_eq!((path.as_path(), source.kind()), (Path::new("b"), std::io::ErrorKind::UnexpectedEof));
}

#[test]
fn what_is_in_the_way_of_a_directory_is_an_error() {
    let bed = Bed::new();
    std::fs::write(bed.path("f"), "").unwrap();
    symlink("nowhere", bed.path("dangling")).unwrap();
    for path in ["f/x", "f/x/y", "dangling/x"] {
        assert!(matches!(bed.extract(&archive([file(path)])), Err(ArchiveError::Unpack { .. })), "{path}");
    }
}

#[test]
fn a_destination_is_reached_inside_the_root() {
    let bed = Bed::new();
    let root = lbuild_confined::Root::open(bed.path("")).unwrap();
    let bytes = archive([file("f")]);
    let options = ExtractOptions::default();
    let into = |destination: &str| {
        extract(&mut Reader::new(&bytes[..], Limits::default()), &root, Path::new(destination), &options)
    };
    assert!(into("missing").is_err());
    std::fs::create_dir(bed.path("d")).unwrap();
    symlink("/d", bed.path("link")).unwrap();
    into("/link").unwrap();
    assert!(bed.path("d/f").is_file());
}
