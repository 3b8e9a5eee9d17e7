//! Entries that one reader sees and another does not.
//!
//! CVE-2025-62518, RUSTSEC-2026-0112: where the size in a PAX header and in the ustar header disagree, a
//! reader that believed the wrong one took a file's content for headers. The entries that lbuild makes are
//! compared with those that GNU tar makes of the same bytes.

use std::fs;
use std::process::Command;

use lbuild_tests::Image;

use crate::raw_tar::{Raw, RawTar};
use crate::row::Mode;
use crate::scene::Scene;

/// The paths below `/x/` that ADD makes; `None` if it refuses.
fn added(scene: &Scene, tar: &[u8]) -> Option<Vec<String>> {
    scene.file("archive.tar", tar).dockerfile("FROM base\nADD archive.tar /x/\n");
    let run = scene.tried(&[]);
    if !run.status.success() {
        return None;
    }
    let image: Image = scene.image(&scene.name());
    let paths = image.top_layer().entries.iter();
    let mut paths: Vec<_> = paths
        .filter_map(|entry| entry.path.strip_prefix("x/"))
        .filter(|path| !path.is_empty())
        .map(|path| path.trim_end_matches('/').to_owned())
        .collect();
    paths.sort();
    // What is no archive at all is copied as it is.
    Some(paths).filter(|paths| *paths != ["archive.tar"])
}

/// The paths that GNU tar makes; `None` if it complains.
fn made_by_gnu_tar(scene: &Scene, tar: &[u8]) -> Option<Vec<String>> {
    let folder = scene.folder().join("gnu");
    fs::create_dir(&folder).unwrap();
    let archive = folder.join("archive.tar");
    fs::write(&archive, tar).unwrap();
    let out = folder.join("out");
    fs::create_dir(&out).unwrap();
    let output = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&out).output().unwrap();
    let found =
        Command::new("find").args([".", "-mindepth", "1", "-printf", "%P\\n"]).current_dir(&out).output();
    let mut paths: Vec<_> =
        String::from_utf8_lossy(&found.unwrap().stdout).lines().map(str::to_owned).collect();
    paths.sort();
    fs::remove_dir_all(folder).unwrap();
    output.status.success().then_some(paths)
}

/// A whole archive as the content of a file: what a confused reader unpacks.
fn inner() -> Vec<u8> {
    RawTar::default().file("hidden", "evil").end()
}

#[track_caller]
fn agree(scene: &Scene, what: &str, tar: &[u8]) {
    let Some(ours) = added(scene, tar) else { return };
    if let Some(theirs) = made_by_gnu_tar(scene, tar) {
        assert_eq!(ours, theirs, "{what}");
    }
}

pub fn sizes_that_disagree(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let inner = inner();
    let size = inner.len().to_string();
    let file = |entry: Raw, records: &[(&str, &str)]| {
        RawTar::default().file("first", "1").pax(records).add(entry).file("last", "2").end()
    };
    // The ustar header says 0, and PAX the truth.
    let zero = Raw::new(b'0', "carrier").hidden_content(&inner);
    agree(&scene, "ustar 0, PAX true", &file(zero.clone(), &[("size", &size)]));
    assert_eq!(added(&scene, &file(zero.clone(), &[("size", &size)])).unwrap(), ["carrier", "first", "last"]);
    for (what, records) in [
        ("twice, the last counts", &[("size", "0"), ("size", size.as_str())][..]),
        ("twice, the last is 0", &[("size", size.as_str()), ("size", "0")]),
        ("an empty value", &[("size", size.as_str()), ("size", "")]),
        ("negative", &[("size", "-1")]),
        ("beyond 63 bits", &[("size", "9223372036854775808")]),
        ("beyond 64 bits", &[("size", "18446744073709551616")]),
        ("with a sign", &[("size", "+1536")]),
        ("with a space", &[("size", " 1536")]),
        ("hexadecimal", &[("size", "0x600")]),
        ("with a fraction", &[("size", "1536.0")]),
    ] {
        agree(&scene, what, &file(zero.clone(), records));
    }
    // The other way round: the ustar header says all of it, and PAX nothing.
    let full = Raw::new(b'0', "carrier").content(&inner);
    for value in ["0", "512", "1"] {
        agree(&scene, "ustar true, PAX less", &file(full.clone(), &[("size", value)]));
    }
}

pub fn sizes_of_what_has_no_content(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let inner = inner();
    let size = inner.len() as u64;
    for kind in [b'1', b'2', b'3', b'4', b'5', b'6'] {
        let entry = Raw::new(kind, "carrier").target("first").hidden_content(&inner);
        for (what, entry, records) in [
            ("the header claims content", entry.clone().size(size), vec![]),
            ("PAX claims content", entry.clone(), vec![("size", size.to_string())]),
        ] {
            let records: Vec<_> = records.iter().map(|(key, value)| (*key, value.as_str())).collect();
            let mut tar = RawTar::default().file("first", "1");
            if !records.is_empty() {
                tar = tar.pax(&records);
            }
            let what = format!("type {}: {what}", char::from(kind));
            // Readers disagree on these: to refuse is right, and so is what GNU tar does.
            let tar = tar.add(entry).file("last", "2").end();
            if let (Some(ours), Some(theirs)) = (added(&scene, &tar), made_by_gnu_tar(&scene, &tar)) {
                assert_eq!(ours, theirs, "{what}");
            }
        }
    }
}

pub fn sizes_in_other_forms(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let inner = inner();
    let size = inner.len() as u64;
    let carrier = Raw::new(b'0', "carrier").hidden_content(&inner);
    let binary = |value: i64| {
        let mut field = [0; 12];
        field[4..].copy_from_slice(&value.to_be_bytes());
        field[0] = if value < 0 { 0xff } else { 0x80 };
        if value < 0 {
            field[1..4].fill(0xff);
        }
        field
    };
    for (what, field) in [
        ("base 256", binary(size as i64).to_vec()),
        ("base 256, negative", binary(-512).to_vec()),
        ("base 256, the largest", binary(i64::MAX).to_vec()),
        ("no octal digits", b"0000000x000 ".to_vec()),
        ("spaces first", format!("{size:>11o} ").into_bytes()),
        ("a NUL in the midst", b"0000\x0003000 ".to_vec()),
        ("all twelve digits", b"777777777777".to_vec()),
        ("a sign", b"-0000003000 ".to_vec()),
    ] {
        let tar =
            RawTar::default().file("first", "1").add(carrier.clone().set(124, &field)).file("last", "2");
        if let (Some(ours), Some(theirs)) =
            (added(&scene, &tar.clone().end()), made_by_gnu_tar(&scene, &tar.end()))
        {
            assert_eq!(ours, theirs, "{what}");
        }
    }
}

pub fn headers_that_apply_to_something_else(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let inner = inner();
    let size = inner.len().to_string();
    let zero = Raw::new(b'0', "carrier").hidden_content(&inner);
    let record = format!("{} size={size}\n", 8 + size.len());
    for (what, tar) in [
        ("a global size", RawTar::default().add(Raw::new(b'g', "g").content(&record)).add(zero.clone())),
        (
            "a long name between PAX and the file",
            RawTar::default()
                .pax(&[("size", &size)])
                .add(Raw::new(b'L', "././@LongLink").content("renamed\0"))
                .add(zero.clone()),
        ),
        (
            "two PAX headers",
            RawTar::default().pax(&[("size", &size)]).pax(&[("path", "renamed")]).add(zero.clone()),
        ),
        ("PAX at the end", RawTar::default().file("first", "1").pax(&[("size", &size)])),
        ("zeros in the midst", RawTar::default().file("first", "1").add(Raw::new(b'0', "x")).file("y", "2")),
    ] {
        agree(&scene, what, &tar.file("last", "2").end());
    }
    // Two zero blocks end an archive; what follows is not read.
    let mut two = RawTar::default().file("first", "1").end();
    two.extend(inner);
    agree(&scene, "an archive after the end", &two);
}
