//! The store itself: its format, whose it is, and what a check finds and mends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lbuild_tests::{BaseImage, Run, TestBed, lbuild_binary};

const STORE: i32 = 4;

/// Where a store has what can be verified.
const VERIFIED: [&str; 6] = ["snapshots", "layers", "blobs/sha256", "images", "names", "cache"];

#[test]
fn a_store_of_an_earlier_format_is_brought_to_this_one() {
    let bed = TestBed::with_base("FROM base\nRUN touch /1\n");
    bed.build([""; 0]).success();
    let version = bed.store().join("version");
    let current = fs::read_to_string(&version).unwrap();
    fs::write(&version, "1\n").unwrap();
    bed.build(["--frozen"]).success();
    assert_eq!(fs::read_to_string(&version).unwrap(), current);
}

#[test]
fn a_store_of_a_later_format_is_refused_and_left_as_it_is() {
    let bed = TestBed::with_base("FROM base\n");
    let version = bed.store().join("version");
    fs::write(&version, "1000\n").unwrap();
    for words in [&["images"][..], &["prune", "--all"], &["store", "check", "--repair"]] {
        bed.lbuild(words).failure(STORE).says(&["has format 1000, newer than", "use a newer lbuild"]);
    }
    bed.build([""; 0]).failure(STORE);
    assert_eq!(fs::read_to_string(&version).unwrap(), "1000\n");
    fs::write(&version, "\u{1}3\n").unwrap();
    bed.lbuild(["images"]).failure(STORE).says(&["store/version is damaged", "the store's format"]);
    fs::write(&version, "2\n").unwrap();
    bed.build([""; 0]).success();
}

#[test]
fn marks_that_are_damaged_are_told() {
    let bed = TestBed::with_base("FROM base\n");
    fs::write(bed.store().join("marks"), b"\xff\xfe").unwrap();
    bed.lbuild(["images"]).failure(STORE).says(&["the store", "keeps its marks in"]);
}

#[test]
fn another_users_store_is_refused() {
    let bed = TestBed::with_base("FROM base\n");
    std::os::unix::fs::chown(bed.store(), Some(1234), None).unwrap();
    let store = bed.store().to_str().unwrap();
    bed.lbuild(["images"]).failure(STORE).says(&[store, "1234"]);
    bed.build([""; 0]).failure(STORE).says(&[store, "1234"]);
    std::os::unix::fs::chown(bed.store(), Some(0), None).unwrap();
}

#[test]
fn a_store_on_a_read_only_disk_is_told() {
    let bed = TestBed::with_base("FROM base\n");
    let script = r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && exec "$2" images"#;
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(bed.store()).arg(lbuild_binary());
    Run::of(command.env("LBUILD_ROOT", bed.store())).failure(STORE).says(&["read-only file system"]);
}

#[test]
fn each_kind_of_damage_is_found_and_mended() {
    let bed = TestBed::with_base("FROM base\nCOPY f /f\nRUN echo made > /made\n");
    bed.file("f", "content");
    let image = build(&bed);
    for kind in VERIFIED {
        let folder = bed.store().join(kind);
        let Some(file) = first_file(&folder) else { panic!("there is nothing in {kind}") };
        damage(&file);
        let kind_shown = kind.split('/').next().unwrap();
        for _ in 0..2 {
            let check = bed.lbuild(["store", "check"]);
            assert_eq!(check.status.code(), Some(1), "{check}");
            assert!(check.text().contains(kind_shown), "{kind}: {check}");
        }
        let repair = bed.lbuild(["store", "check", "--repair"]).success();
        assert!(repair.text().contains("moved to quarantine"), "{repair}");
        let check = bed.lbuild(["store", "check"]).success();
        assert!(check.text().contains(", 0 damaged"), "{kind}: {check}");
        bed.load_base("base", &BaseImage::busybox());
        assert!(build(&bed) == image, "another image after damage in {kind}");
    }
    assert!(bed.store().join("quarantine").read_dir().unwrap().next().is_some());
    bed.lbuild(["prune"]).success();
    let left = bed.store().join("quarantine").read_dir();
    assert!(left.map_or(0, Iterator::count) == 0);
}

/// The image's archive; times are clamped, so that the same content is the same bytes.
#[track_caller]
fn build(bed: &TestBed) -> Vec<u8> {
    bed.build(["--build-arg", "SOURCE_DATE_EPOCH=1600000000"]).success();
    fs::read(bed.save(&bed.name())).unwrap()
}

/// Changes the last byte of a file.
fn damage(file: &Path) {
    let mut content = fs::read(file).unwrap();
    *content.last_mut().unwrap() ^= 1;
    fs::write(file, content).unwrap();
}

/// The first file of some length in a folder, sorted by path.
fn first_file(folder: &Path) -> Option<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().find_map(|path| {
        let metadata = fs::symlink_metadata(&path).unwrap();
        match metadata.is_dir() {
            true => first_file(&path),
            false => Some(path).filter(|_| metadata.is_file() && metadata.len() > 1),
        }
    })
}
