//! What is small on the way in and huge when it is unpacked.
//!
//! CVE-2025-58183 and its kind: a sparse file's map, compressed data, entries and attributes beyond measure.
//! Each has a cap, and `--archive-limit` raises it.

use std::fs;
use std::io::Write;
use std::time::{Duration, Instant};

use crate::raw_tar::{Raw, RawTar};
use crate::row::Mode;
use crate::scene::{Scene, base};

const LIMIT: Duration = Duration::from_secs(100);

/// ADD refuses the archive, saying `part`; within the time that a bomb would take.
#[track_caller]
fn refused(scene: &Scene, archive: &[u8], arguments: &[&str], part: &str) {
    scene.file("archive", archive).dockerfile("FROM base\nADD archive /x/\n");
    let start = Instant::now();
    scene.refused(arguments, &[part]);
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
}

#[track_caller]
fn taken(scene: &Scene, archive: &[u8], arguments: &[&str]) {
    scene.file("archive", archive).dockerfile("FROM base\nADD archive /x/\n");
    scene.build(arguments).success();
}

/// An archive of many empty files, compressed.
fn many_entries(count: usize) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for number in 0..count {
        gzip.write_all(&Raw::new(b'0', format!("f{number}")).bytes()).unwrap();
    }
    gzip.write_all(&[0; 1024]).unwrap();
    gzip.finish().unwrap()
}

pub fn entries(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let archive = many_entries(200);
    refused(&scene, &archive, &["--archive-limit", "entries=100"], "100 entries");
    taken(&scene, &archive, &["--archive-limit", "entries=201"]);
    taken(&scene, &archive, &[]);
}

pub fn bytes(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let archive = RawTar::default().file("f", &"x".repeat(5000)).end();
    refused(&scene, &archive, &["--archive-limit", "bytes=4k"], "4096 bytes");
    taken(&scene, &archive, &["--archive-limit", "bytes=5000"]);
    // More than any disk has is refused before it is written.
    for size in [(1 << 33) - 1, 0o77_777_777_777] {
        let huge = Raw::new(b'0', "huge").hidden_content("x").size(size);
        scene.file("archive", RawTar::default().add(huge).end()).dockerfile("FROM base\nADD archive /x/\n");
        scene.refused(&[], &["truncated"]);
    }
    for size in ["9223372036854775807", "9223372036854775808", "18446744073709551615", "1099511627777"] {
        let huge =
            RawTar::default().pax(&[("size", size)]).add(Raw::new(b'0', "huge").hidden_content("x")).end();
        scene.file("archive", huge).dockerfile("FROM base\nADD archive /x/\n");
        scene.tried(&[]);
    }
}

/// Compressed data that expands a thousandfold, by each program.
pub fn compressed_data(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let zeros = 64 << 20;
    let mut plain = Raw::new(b'0', "zeros").size(zeros).bytes();
    plain.resize(plain.len() + zeros as usize + 1024, 0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(&plain[..], 3).unwrap();
    for archive in [&gzip, &zstd] {
        refused(&scene, archive, &["--archive-limit", "bytes=32m"], "33554432 bytes");
        taken(&scene, archive, &["--archive-limit", "bytes=65m"]);
    }
    // The first 4 GiB are free of the ratio; beyond them, it counts.
    let mut endless = zstd::Encoder::new(Vec::new(), 1).unwrap();
    let size: u64 = 5 << 30;
    endless.write_all(&Raw::new(b'0', "zeros").size(size).bytes()).unwrap();
    let block = vec![0; 16 << 20];
    for _ in 0..size / block.len() as u64 {
        endless.write_all(&block).unwrap();
    }
    if mode == Mode::Root {
        refused(&scene, &endless.finish().unwrap(), &[], "expands more than");
    }
}

pub fn sparse_files(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let map = |regions: &str| {
        let map = format!("{regions}\n");
        let mut content = map.clone().into_bytes();
        content.resize(map.len().next_multiple_of(512), 0);
        content
    };
    let sparse = |size: &str, map: Vec<u8>| {
        RawTar::default()
            .pax(&[
                ("GNU.sparse.major", "1"),
                ("GNU.sparse.minor", "0"),
                ("GNU.sparse.name", "sparse"),
                ("GNU.sparse.realsize", size),
            ])
            .add(Raw::new(b'0', "GNUSparseFile.0/sparse").content(map))
            .end()
    };
    for (size, regions) in [
        ("1099511627777", "0"),
        ("9223372036854775807", "0"),
        ("18446744073709551615", "0"),
        ("-1", "0"),
        ("100", "1\n0\n200"),
        ("100", "1\n9223372036854775807\n9223372036854775807"),
        ("100", "2\n50\n10\n0\n10"),
        ("100", "18446744073709551615"),
        ("100", "99999999"),
        ("100", "x"),
    ] {
        scene
            .file("archive", sparse(size, map(regions)))
            .dockerfile("FROM base\nADD archive /x/\nRUN ls -l /x\n");
        let run = scene.tried(&[]);
        // What is not taken for an archive is copied as it is.
        let is_refused = !run.status.success() || run.stderr.contains(" archive\n");
        assert!(is_refused, "{size} {regions:?}: {run}");
    }
    // A map of more regions than any file has.
    let regions = (0..100_000).map(|at| format!("\n{at}\n0")).collect::<String>();
    refused(&scene, &sparse("100000", map(&format!("100000{regions}"))), &[], "sparse");
}

pub fn attributes_and_headers(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let names: Vec<String> = (0..1000).map(|number| format!("SCHILY.xattr.user.a{number}")).collect();
    let records: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
    refused(&scene, &RawTar::default().pax(&records).file("f", "x").end(), &[], "extended attributes");
    let value = "v".repeat(2 << 20);
    refused(&scene, &RawTar::default().pax(&[("comment", &value)]).file("f", "x").end(), &[], "limit");
    let long = Raw::new(b'L', "././@LongLink").content("n".repeat(1 << 21));
    refused(&scene, &RawTar::default().add(long).file("f", "x").end(), &[], "limit");
    // Headers that claim more than there is are not believed.
    for kind in [b'x', b'g', b'L', b'K'] {
        let claim = Raw::new(kind, "claim").size((1 << 33) - 1);
        refused(&scene, &RawTar::default().add(claim).end(), &[], "limit");
    }
}

/// The same in the layers of an image from outside: the bytes are counted, and the DiffID is verified.
pub fn layers(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let archive = scene.folder().join("image.tar");
    let tar = RawTar::default().file("f", &"x".repeat(10_000)).file("g", "x").end();
    base().layer(tar).write("bomb", &archive);
    let load =
        |limits: &str| scene.lbuild(["load", "--archive-limit", limits, "-i", archive.to_str().unwrap()]);
    for (limits, part) in [("bytes=4k", "4096"), ("entries=1", "limit of 1 ")] {
        load(limits).failure(1).says(&[part]);
    }
    load("bytes=1g,entries=100000").success();

    // One byte of a layer is changed: it is not the layer that the configuration names.
    let mut bytes = fs::read(&archive).unwrap();
    let at = bytes.windows(100).position(|window| window == [b'x'; 100]).unwrap();
    bytes[at] = b'y';
    fs::write(&archive, bytes).unwrap();
    scene.lbuild(["load", "-i", archive.to_str().unwrap()]).failure(1).says(&["sha256:"]);
}

pub fn values_of_the_option(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\n");
    for value in [
        "",
        "entries",
        "entries=",
        "entries=x",
        "entries=-1",
        "bytes=1e9x",
        "ratio=0x",
        "other=1",
        "entries=1,,",
    ] {
        let run = scene.build(["--archive-limit", value]);
        assert!(!run.status.success() && run.stderr.contains("archive-limit"), "{value:?}: {run}");
    }
}
