//! Digests of selections, and the memo that saves reading.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use common::{add, folder, root};
use lbuild_build_context::{ContextError, DigestMemo, Metadata, Relevant, Selector, SourceTree, select};
use lbuild_oci::Digest;
use tempfile::TempDir;

type Change = fn(&Path);

const ALL: Relevant = Relevant { owner: true, mode: true };

fn digest_with(folder: &TempDir, pattern: &str, memo: &DigestMemo, relevant: Relevant) -> Digest {
    let root = root(folder);
    let tree = SourceTree::new(&root);
    let selection = select(&tree, &Selector { pattern, exclude: &[], parents: false }).unwrap();
    selection.digest(&tree, memo, relevant, &|| false).unwrap()
}

fn digest(folder: &TempDir, pattern: &str) -> Digest {
    digest_with(folder, pattern, &DigestMemo::new(), ALL)
}

#[test]
fn an_interrupt_ends_the_reading_of_a_large_file() {
    let folder = folder(&[]);
    File::create(folder.path().join("large")).unwrap().set_len(1 << 40).unwrap();
    let root = root(&folder);
    let tree = SourceTree::new(&root);
    let selector = Selector { pattern: "large", exclude: &[], parents: false };
    let asked = AtomicUsize::new(0);
    let is_cancelled = || asked.fetch_add(1, Ordering::Relaxed) == 3;
    let selection = select(&tree, &selector).unwrap();
    let result = selection.digest(&tree, &DigestMemo::new(), ALL, &is_cancelled);
    assert!(matches!(result, Err(ContextError::Interrupted)), "{result:?}");
}

#[test]
fn what_a_copy_takes_over_changes_the_digest() {
    let changes: [(&str, Change); 8] = [
        ("content", |folder| fs::write(folder.join("d/a"), "other").unwrap()),
        ("name", |folder| fs::rename(folder.join("d/a"), folder.join("d/z")).unwrap()),
        ("place", |folder| fs::rename(folder.join("d/a"), folder.join("d/e/a")).unwrap()),
        ("mode", |folder| fs::set_permissions(folder.join("d/a"), Permissions::from_mode(0o600)).unwrap()),
        ("directory mode", |folder| {
            fs::set_permissions(folder.join("d/e"), Permissions::from_mode(0o700)).unwrap();
        }),
        ("owner", |folder| chown(folder.join("d/a"), Some(7), None).unwrap()),
        ("target", |folder| {
            fs::remove_file(folder.join("d/link")).unwrap();
            symlink("elsewhere", folder.join("d/link")).unwrap();
        }),
        ("kind", |folder| {
            fs::remove_file(folder.join("d/link")).unwrap();
            fs::write(folder.join("d/link"), "x").unwrap();
        }),
    ];
    for (what, change) in changes {
        let folder = folder(&["d/a", "d/e/b", "d/link -> x"]);
        let before = digest(&folder, "d");
        change(folder.path());
        assert_ne!(digest(&folder, "d"), before, "{what}");
    }
}

#[test]
fn what_a_copy_does_not_take_over_leaves_the_digest() {
    let folder = folder(&["d/a", "d/e/b", "other"]);
    let before = digest(&folder, "d");
    let later = SystemTime::now() + Duration::from_secs(1000);
    File::open(folder.path().join("d/a")).unwrap().set_modified(later).unwrap();
    fs::write(folder.path().join("other"), "changed").unwrap();
    fs::set_permissions(folder.path().join("d"), Permissions::from_mode(0o700)).unwrap();
    chown(folder.path().join("d"), Some(7), None).unwrap();
    fs::rename(folder.path().join("d"), folder.path().join("renamed")).unwrap();
    assert_eq!(digest(&folder, "renamed"), before);
}

#[test]
fn a_files_own_name_matters() {
    let folder = folder(&["a"]);
    let before = digest(&folder, "a");
    fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
    assert_ne!(digest(&folder, "b"), before);
}

#[test]
fn owners_and_modes_count_only_where_they_are_kept() {
    let folder = folder(&["d/a"]);
    let neither = Relevant { owner: false, mode: false };
    let before = digest_with(&folder, "d", &DigestMemo::new(), neither);
    chown(folder.path().join("d/a"), Some(7), Some(8)).unwrap();
    fs::set_permissions(folder.path().join("d/a"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(digest_with(&folder, "d", &DigestMemo::new(), neither), before);
}

#[test]
fn capabilities_change_the_digest() {
    let folder = folder(&["a"]);
    let before = digest(&folder, "a");
    let path = folder.path().join("a");
    // Version 2, CAP_NET_RAW permitted and effective.
    let value = b"\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00";
    rustix::fs::setxattr(&path, "security.capability", value, rustix::fs::XattrFlags::empty()).unwrap();
    assert_ne!(digest(&folder, "a"), before);
}

#[test]
fn many_files_give_the_same_digest_each_time() {
    let folder = folder(&[]);
    for number in 0..500 {
        add(folder.path(), &[&format!("d{}/f{number}", number % 7)]);
    }
    let first = digest(&folder, ".");
    for _ in 0..3 {
        assert_eq!(digest(&folder, "."), first);
    }
}

/// What the times of files are taken for.
const GRAIN: Duration = Duration::from_secs(3);

/// A file whose state no longer changes with the clock, and that state.
fn settled(folder: &TempDir, name: &str) -> Metadata {
    Metadata::of(&rustix::fs::stat(folder.path().join(name)).unwrap())
}

/// A memo of files alone.
fn open(path: &Path) -> DigestMemo {
    DigestMemo::open(path, path.with_extension("selections"))
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

#[test]
fn a_known_file_is_not_read_again() {
    let folder = folder(&["a"]);
    let memo = DigestMemo::new();
    memo.insert(&settled(&folder, "a"), later(), GRAIN, Digest::of("a lie"));
    let told = digest_with(&folder, "a", &memo, ALL);
    assert_ne!(told, digest(&folder, "a"));
    // Any change makes it unknown.
    fs::write(folder.path().join("a"), "b").unwrap();
    assert_eq!(digest_with(&folder, "a", &memo, ALL), digest(&folder, "a"));
}

#[test]
fn a_file_that_just_changed_is_not_remembered() {
    let folder = folder(&["a"]);
    let memo = DigestMemo::new();
    let state = settled(&folder, "a");
    memo.insert(&state, SystemTime::now(), GRAIN, Digest::of("a"));
    assert_eq!(memo.get_all(&[&state])[0], None);
    memo.insert(&state, later(), GRAIN, Digest::of("a"));
    assert_eq!(memo.get_all(&[&state])[0], Some(Digest::of("a")));
    // Nor is one whose times lie in the future.
    File::open(folder.path().join("a")).unwrap().set_modified(later()).unwrap();
    memo.insert(&settled(&folder, "a"), SystemTime::now(), GRAIN, Digest::of("a"));
    assert_eq!(memo.get_all(&[&settled(&folder, "a")])[0], None);
}

#[test]
fn a_memo_is_kept_in_its_file() {
    let folder = folder(&["a", "b"]);
    let path = folder.path().join("memo");
    let (a, b) = (settled(&folder, "a"), settled(&folder, "b"));
    let first = open(&path);
    let second = open(&path);
    first.insert(&a, later(), GRAIN, Digest::of("a"));
    second.insert(&b, later(), GRAIN, Digest::of("b"));
    first.save().unwrap();
    second.save().unwrap();
    let both = open(&path);
    assert_eq!(
        (both.get_all(&[&a])[0], both.get_all(&[&b])[0]),
        (Some(Digest::of("a")), Some(Digest::of("b")))
    );
    // Nothing lies around.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_damaged_memo_counts_as_empty() {
    let folder = folder(&["a"]);
    let path = folder.path().join("memo");
    let state = settled(&folder, "a");
    let memo = open(&path);
    memo.insert(&state, later(), GRAIN, Digest::of("a"));
    memo.save().unwrap();
    let good = fs::read(&path).unwrap();
    for index in 0..good.len() {
        let mut bad = good.clone();
        bad[index] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        assert_eq!(open(&path).get_all(&[&state])[0], None, "byte {index}");
        fs::write(&path, &good[..index]).unwrap();
        assert_eq!(open(&path).get_all(&[&state])[0], None, "{index} bytes");
    }
    // It is replaced by the next that is saved.
    let memo = open(&path);
    memo.insert(&state, later(), GRAIN, Digest::of("a"));
    memo.save().unwrap();
    assert_eq!(fs::read(&path).unwrap(), good);
}
