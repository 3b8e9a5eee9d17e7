//! `lbuild load`: archives of other shapes, and damaged ones.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use lbuild_tests::{BaseImage, TestBed};

fn base_archive(bed: &TestBed) -> PathBuf {
    let archive = bed.folder().join("base.tar");
    BaseImage::busybox().write("base:1", &archive);
    archive
}

#[test]
fn an_archive_comes_from_a_pipe_and_may_be_compressed() {
    let bed = TestBed::new();
    let archive = base_archive(&bed);
    for program in ["cat", "gzip", "bzip2", "xz", "zstd"] {
        let compressed =
            Command::new(program).stdin(fs::File::open(&archive).unwrap()).stdout(Stdio::piped()).spawn();
        let mut load = bed.command(["load", "-t", program]);
        let status = load.stdin(compressed.unwrap().stdout.take().unwrap()).status().unwrap();
        assert!(status.success(), "{program}");
        assert_eq!(bed.inspect(program)["Id"], bed.inspect("cat")["Id"]);
    }
}

#[test]
fn loading_an_image_twice_changes_nothing() {
    let bed = TestBed::new();
    let archive = base_archive(&bed);
    let load = || bed.lbuild(["load", "-i", archive.to_str().unwrap()]).success().text();
    assert_eq!(load(), load());
    assert!(load().contains("base:1"), "{}", load());
}

#[test]
fn damaged_archives_are_refused_and_leave_the_store_as_it_was() {
    let bed = TestBed::new();
    let archive = base_archive(&bed);
    let mut whole = Vec::new();
    fs::File::open(&archive).unwrap().read_to_end(&mut whole).unwrap();
    let files = || fs::read_dir(bed.store().join("names")).map_or(0, Iterator::count);

    let position = whole.len() / 2;
    let flipped: Vec<u8> =
        whole.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == position)).collect();
    for (what, bytes) in [("cut", &whole[..position]), ("flipped", &flipped)] {
        fs::write(&archive, bytes).unwrap();
        bed.lbuild(["load", "-i", archive.to_str().unwrap()]).failure(1).says(&["base.tar"]);
        assert_eq!(files(), 0, "{what}");
        bed.assert_nothing_left();
    }
    fs::write(&archive, &whole).unwrap();
    bed.lbuild(["load", "-i", archive.to_str().unwrap()]).success();
    bed.dockerfile("FROM base:1\nRUN test -e /etc/motd\n");
    bed.build([""; 0]).success();
}

#[test]
fn a_damaged_layer_in_the_store_is_found_when_it_is_saved() {
    let bed = TestBed::with_base("FROM base\nRUN echo original > /f\n");
    bed.build([""; 0]).success();
    let upper = bed.inspect(&bed.name())["GraphDriver"]["Data"]["UpperDir"].as_str().unwrap().to_owned();
    fs::write(PathBuf::from(upper).join("f"), "tampered\n").unwrap();
    let archive = bed.folder().join("image.tar");
    bed.lbuild(["save", "-o", archive.to_str().unwrap(), &bed.name()])
        .failure(4)
        .says(&["is damaged", "sha256:"]);
    assert!(!archive.exists());
}
