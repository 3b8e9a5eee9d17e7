//! Attacks that tar libraries and builders have fallen to: each is refused or has no effect, and what
//! lies outside the destination stays as it is.

#![allow(clippy::unwrap_used)]

mod support;

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use lbuild_archive::{ArchiveError, ExtractOptions};
use support::{Bed, Raw, archive, paths};

fn directory(path: &str) -> Raw {
    Raw::new(b'5', path).mode(0o755)
}

fn file(path: &str) -> Raw {
    Raw::new(b'0', path).content("evil")
}

fn link(path: &str, target: &str) -> Raw {
    Raw::new(b'2', path).link(target)
}

fn hard_link(path: &str, target: &str) -> Raw {
    Raw::new(b'1', path).link(target)
}

/// How GNU tar lists an archive; nothing if it refuses it.
fn gnu_listing(bytes: &[u8]) -> Option<Vec<String>> {
    use std::io::Write;
    let mut tar = Command::new("tar")
        .args(["-tf", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    tar.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = tar.wait_with_output().unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    output.status.success().then(|| listing.lines().map(str::to_owned).collect())
}

#[test]
fn no_path_leads_outside() {
    let attacks: Vec<(&str, Vec<Raw>)> = vec![
        ("dots", vec![file("../outside/evil")]),
        ("dots inside", vec![directory("a"), file("a/../../outside/evil")]),
        ("absolute link", vec![link("l", "/"), file("l/tmp/lbuild-evil")]),
        ("absolute link to a place inside", vec![directory("d"), link("l", "/d"), file("l/evil")]),
        ("relative link", vec![link("l", "../outside"), file("l/evil")]),
        ("link to a link", vec![link("a", "b"), link("b", ".."), file("a/outside/evil")]),
        ("deep link", vec![directory("d"), link("d/l", "../../outside"), file("d/l/evil")]),
        ("link, then new directories", vec![link("l", "../outside"), file("l/new/evil")]),
        ("link, then a directory in it", vec![link("l", "../outside"), directory("l/new").mode(0o777)]),
        ("link, then a link in it", vec![link("l", "../outside"), link("l/evil", "x")]),
        ("link, then a FIFO in it", vec![link("l", "../outside"), Raw::new(b'6', "l/evil")]),
        ("hard link by dots", vec![hard_link("h", "../outside/sentinel"), file("h")]),
        ("hard link beneath a link", vec![link("l", "../outside"), hard_link("h", "l/sentinel")]),
        ("hard link in a link", vec![file("f"), link("l", "../outside"), hard_link("l/evil", "f")]),
        ("hard link to the root", vec![hard_link("h", "")]),
        ("hard link to a directory", vec![directory("d"), hard_link("h", "d")]),
        ("a long name", vec![Raw::gnu(b'L', "L").content("../outside/evil\0"), Raw::gnu(b'0', "x")]),
        ("a PAX path", vec![Raw::pax(b'x', &[("path", "../outside/evil")]), Raw::new(b'0', "x")]),
    ];
    for (name, entries) in attacks {
        let bed = Bed::new();
        let before = bed.surroundings();
        let result = bed.extract(&archive(entries));
        assert!(
            matches!(result, Err(ArchiveError::Outside { .. } | ArchiveError::Unpack { .. })),
            "{name}: {result:?}"
        );
        assert_eq!(bed.surroundings(), before, "{name}");
    }
    assert!(!std::path::Path::new("/tmp/lbuild-evil").exists());
}

#[test]
fn a_link_outside_is_replaced_and_not_followed() {
    let attacks: Vec<(&str, Vec<Raw>)> = vec![
        ("a directory", vec![link("l", "../outside"), directory("l").mode(0o777).owner(7, 7).mtime(9)]),
        ("a directory with a slash", vec![link("l", "../outside"), directory("l/").mode(0o777)]),
        ("a file", vec![link("l", "../outside/sentinel"), file("l")]),
        ("a link", vec![link("l", "../outside/sentinel"), link("l", "../outside")]),
        ("a FIFO", vec![link("l", "../outside/sentinel"), Raw::new(b'6', "l")]),
        ("a hard link to a link", vec![link("l", "../outside/sentinel"), hard_link("h", "l").mode(0o777)]),
        ("a directory's time", vec![directory("d").mtime(5), link("d", "../outside")]),
        ("a hard link over it", vec![file("f"), link("l", "../outside/sentinel"), hard_link("l", "f")]),
    ];
    for (name, entries) in attacks {
        let bed = Bed::new();
        let before = bed.surroundings();
        bed.extract(&archive(entries)).unwrap();
        assert_eq!(bed.surroundings(), before, "{name}");
    }
}

#[test]
fn links_that_were_there_before_are_not_followed_outside_either() {
    let bed = Bed::new();
    symlink("../outside", bed.path("l")).unwrap();
    let before = bed.surroundings();
    assert!(matches!(bed.extract(&archive([file("l/evil")])), Err(ArchiveError::Outside { .. })));
    bed.extract(&archive([directory("l").mode(0o777)])).unwrap();
    assert_eq!(bed.surroundings(), before);
}

#[test]
fn the_root_is_only_ever_a_directory() {
    for path in ["", ".", "./", "/", "a/.."] {
        for entry in [link(path, "../outside"), file(path), hard_link(path, "x"), Raw::new(b'6', path)] {
            let bed = Bed::new();
            let before = bed.surroundings();
            let mode = std::fs::metadata(bed.path("")).unwrap().mode();
            let options = ExtractOptions { preserve_root_metadata: true, ..ExtractOptions::default() };
            bed.extract_with(&archive([entry, file("next")]), &options).unwrap();
            assert_eq!(std::fs::symlink_metadata(bed.path("")).unwrap().mode(), mode);
            assert_eq!(std::fs::read(bed.path("next")).unwrap(), b"evil");
            assert_eq!(bed.surroundings(), before);
        }
    }
}

#[test]
fn sizes_that_disagree_hide_no_entry() {
    let hidden = archive([file("hidden")]);
    let size = hidden.len().to_string();
    for entries in [
        vec![Raw::pax(b'x', &[("size", &size)]), Raw::new(b'0', "outer").size(0).hidden_content(&hidden)],
        vec![Raw::pax(b'x', &[("size", "0")]), Raw::new(b'0', "outer").content(&hidden)],
        vec![
            Raw::pax(b'x', &[("size", &size)]),
            Raw::gnu(b'L', "L").content("long"),
            Raw::new(b'0', "outer").size(0).hidden_content(&hidden),
        ],
        vec![
            Raw::gnu(b'L', "L").content("long"),
            Raw::pax(b'x', &[("size", &size)]),
            Raw::new(b'0', "outer").size(0).hidden_content(&hidden),
        ],
    ] {
        let bytes = archive(entries);
        assert_eq!(paths(&bytes).ok(), gnu_listing(&bytes));
    }
}

#[test]
fn headers_that_readers_take_differently_are_refused() {
    let hidden = archive([file("hidden")]);
    let size = hidden.len().to_string();
    let outer = || Raw::new(b'0', "outer").size(0).hidden_content(&hidden);
    for (name, entries) in [
        ("global size", vec![Raw::pax(b'g', &[("size", &size)]), outer()]),
        ("global path", vec![Raw::pax(b'g', &[("path", "x")]), outer()]),
        (
            "two PAX headers",
            vec![Raw::pax(b'x', &[("size", &size)]), Raw::pax(b'x', &[("path", "x")]), outer()],
        ),
        (
            "a global one between",
            vec![Raw::pax(b'x', &[("size", &size)]), Raw::pax(b'g', &[("a", "b")]), outer()],
        ),
        ("two long names", vec![Raw::gnu(b'L', "L").content("a"), Raw::gnu(b'L', "L").content("b"), outer()]),
        (
            "two names",
            vec![Raw::pax(b'x', &[("path", "a")]), Raw::gnu(b'L', "L").content("b"), Raw::new(b'0', "c")],
        ),
        ("an extension of nothing", vec![file("a"), Raw::pax(b'x', &[("path", "b")])]),
        ("a negative size", vec![Raw::new(b'0', "a").set(124, &[0xff; 12])]),
        (
            "a size beyond all",
            vec![Raw::new(b'0', "a").set(124, b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff")],
        ),
        ("a PAX size beyond all", vec![Raw::pax(b'x', &[("size", "9223372036854775808")]), file("a")]),
        ("a NUL in a path", vec![Raw::pax(b'x', &[("path", "a\0b")]), file("a")]),
    ] {
        let result = paths(&archive(entries));
        assert!(matches!(result, Err(ArchiveError::Malformed { .. })), "{name}: {result:?}");
    }
}

#[test]
fn a_device_that_means_a_deletion_is_refused() {
    let bed = Bed::new();
    assert!(bed.extract(&archive([Raw::new(b'3', "deleted")])).is_err());
    assert!(!bed.path("deleted").exists());
}

#[test]
fn only_capabilities_are_kept_of_extended_attributes() {
    let bed = Bed::new();
    let pax = Raw::pax(
        b'x',
        &[
            ("SCHILY.xattr.user.a", "1"),
            ("SCHILY.xattr.trusted.overlay.opaque", "y"),
            ("SCHILY.xattr.user.overlay.opaque", "y"),
        ],
    );
    bed.extract(&archive([pax, directory("d")])).unwrap();
    let directory = std::fs::File::open(bed.path("d")).unwrap();
    assert!(lbuild_archive::read_xattrs(&directory, |_| true).unwrap().is_empty());
}

#[test]
fn a_file_is_never_written_through_another_name_of_it() {
    let bed = Bed::new();
    std::fs::hard_link(bed.outside("sentinel"), bed.path("f")).unwrap();
    let before = std::fs::metadata(bed.outside("sentinel")).unwrap().permissions().mode();
    bed.extract(&archive([file("f").mode(0o777)])).unwrap();
    assert_eq!(std::fs::read(bed.outside("sentinel")).unwrap(), b"untouched");
    assert_eq!(std::fs::metadata(bed.outside("sentinel")).unwrap().permissions().mode(), before);
}

#[test]
fn a_fifo_in_the_way_does_not_hang() {
    let bed = Bed::new();
    rustix::fs::mkfifoat(rustix::fs::CWD, bed.path("f"), rustix::fs::Mode::RWXU).unwrap();
    bed.extract(&archive([Raw::new(b'6', "g"), file("g"), file("f"), hard_link("h", "f")])).unwrap();
    assert!(!std::fs::symlink_metadata(bed.path("f")).unwrap().file_type().is_fifo());
    assert_eq!(std::fs::read(bed.path("h")).unwrap(), b"evil");
}
