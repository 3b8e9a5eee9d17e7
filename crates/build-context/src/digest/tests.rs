//! An unchanged selection is known again, and every change of one shows.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lbuild_confined::Root;
use tempfile::TempDir;

use super::*;
use crate::select::{Selector, select};

const ALL: Relevant = Relevant { owner: true, mode: true };

/// Changes that one tree goes through.
const CHANGES: u64 = 400;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for path in ["a", "b/c", "b/d/e", "f"] {
        let path = folder.path().join("tree").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content").unwrap();
    }
    folder
}

fn root(folder: &TempDir) -> Root {
    Root::open(folder.path().join("tree")).unwrap()
}

fn selection(tree: &SourceTree<'_>) -> Selection {
    select(tree, &Selector { pattern: ".", exclude: &[], parents: false }).unwrap()
}

/// The selection as if it had been looked at long after the last change.
fn settled(tree: &SourceTree<'_>) -> Selection {
    Selection { begun: SystemTime::now() + Duration::from_secs(60), ..selection(tree) }
}

fn digest(tree: &SourceTree<'_>, memo: &DigestMemo) -> Digest {
    settled(tree).digest(tree, memo, ALL, &|| false).unwrap()
}

#[test]
fn an_unchanged_selection_is_not_read_again() {
    let (folder, memo) = (folder(), DigestMemo::new());
    let root = root(&folder);
    let tree = SourceTree::new(&root);
    let state = settled(&tree).state(ALL).unwrap();
    let lie = Digest::of("a lie");
    memo.insert_selection(&state, lie);
    assert_eq!(digest(&tree, &memo), lie);
    fs::write(folder.path().join("tree/b/c"), "another content").unwrap();
    assert_eq!(digest(&tree, &memo), digest(&tree, &DigestMemo::new()));
}

#[test]
fn a_selection_that_just_changed_is_not_remembered() {
    let folder = folder();
    let root = root(&folder);
    let tree = SourceTree::new(&root);
    assert_eq!(selection(&tree).state(ALL), None);
}

#[test]
fn what_changes_while_it_is_read_is_not_remembered() {
    let (folder, memo) = (folder(), DigestMemo::new());
    let root = root(&folder);
    let tree = SourceTree::new(&root);
    let listed = settled(&tree);
    fs::write(folder.path().join("tree/a"), "more content").unwrap();
    listed.digest(&tree, &memo, ALL, &|| false).unwrap();
    assert_eq!(memo.selection(&listed.state(ALL).unwrap()), None);
    let listed = settled(&tree);
    listed.digest(&tree, &memo, ALL, &|| false).unwrap();
    assert!(memo.selection(&listed.state(ALL).unwrap()).is_some());
}

#[test]
fn a_state_tells_which_metadata_counts_and_not_when_directories_changed() {
    let folder = folder();
    let root = root(&folder);
    let tree = SourceTree::new(&root);
    let state = |relevant| settled(&tree).state(relevant).unwrap();
    let before = state(ALL);
    assert_ne!(before, state(Relevant { owner: false, ..ALL }));
    assert_ne!(before, state(Relevant { mode: false, ..ALL }));
    let directory = File::open(folder.path().join("tree/b")).unwrap();
    directory.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(before, state(ALL));
}

#[test]
fn every_change_of_a_tree_shows() {
    let (folder, memo) = (folder(), DigestMemo::new());
    let root = root(&folder);
    let tree = SourceTree::new(&root);
    for seed in 0..CHANGES {
        change(&folder.path().join("tree"), seed);
        let expected = digest(&tree, &DigestMemo::new());
        assert_eq!(digest(&tree, &memo), expected, "change {seed}");
        assert_eq!(memo.selection(&settled(&tree).state(ALL).unwrap()), Some(expected), "change {seed}");
        let_the_clock_tick(&folder.path().join("probe"));
    }
}

/// Changes something below `top`, or nothing.
fn change(top: &Path, seed: u64) {
    // A multiplier by Steele and Vigna, 2021.
    let dice = seed.wrapping_add(1).wrapping_mul(0xd134_2543_de82_ef95) >> 32;
    let (mut files, mut directories) = (Vec::new(), vec![top.to_owned()]);
    list(top, &mut files, &mut directories);
    let place = directories[dice as usize % directories.len()].join(format!("new-{}", seed % 20));
    let Some(file) = files.get((dice >> 8) as usize % files.len().max(1)) else {
        return fs::write(place, "content").unwrap();
    };
    let content = format!("{:07}", seed % 50);
    let is_free = fs::symlink_metadata(&place).is_err();
    match dice % 12 {
        0 => write(file, &content),
        1 => {
            let modified = fs::symlink_metadata(file).unwrap().modified().unwrap();
            write(file, &content);
            File::open(file).unwrap().set_modified(modified).unwrap();
        }
        2 => write(file, &content.repeat(2)),
        3 => fs::set_permissions(file, Permissions::from_mode(0o600 + seed as u32 % 64)).unwrap(),
        4 if place.is_dir() => fs::remove_dir_all(place).unwrap(),
        4 | 5 => write(&place, &content),
        6 => fs::remove_file(file).unwrap(),
        7 if is_free => fs::rename(file, place).unwrap(),
        8 if is_free => {
            write(&place, &content);
            fs::rename(place, file).unwrap();
        }
        9 if is_free => {
            fs::create_dir(&place).unwrap();
            write(&place.join("within"), &content);
        }
        10 if is_free => symlink(content, place).unwrap(),
        11 if is_free => fs::hard_link(file, place).unwrap(),
        _ => {}
    }
}

fn write(path: &Path, content: &str) {
    if path.is_symlink() {
        fs::remove_file(path).unwrap();
    }
    if !path.is_dir() {
        fs::write(path, content).unwrap();
    }
}

fn list(directory: &Path, files: &mut Vec<PathBuf>, directories: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    for entry in entries {
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => {
                directories.push(entry.path());
                list(&entry.path(), files, directories);
            }
            kind if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
}

/// Returns when the next change has a later time than those before: kernels before 6.13 do not tell changes
/// apart that come within a tick.
fn let_the_clock_tick(probe: &Path) {
    let touched = || {
        fs::write(probe, "").unwrap();
        Metadata::of(&rustix::fs::stat(probe).unwrap()).ctime
    };
    let before = touched();
    while touched() == before {}
}
