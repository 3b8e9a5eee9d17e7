//! Trees for tests.

#![allow(dead_code, reason = "each test uses some of it")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use lbuild_build_context::{Entry, Pick, Selection, SourceTree};
use lbuild_confined::Root;
use tempfile::TempDir;

/// A folder with these files: `dir/`, `link -> target`, or a file that holds its own path.
pub fn folder(files: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    add(folder.path(), files);
    folder
}

pub fn add(folder: &Path, files: &[&str]) {
    for file in files {
        let (name, target) = file.split_once(" -> ").map_or((*file, None), |(name, to)| (name, Some(to)));
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match target {
            Some(target) => symlink(target, path).unwrap(),
            None if name.ends_with('/') => fs::create_dir_all(path).unwrap(),
            None => fs::write(path, name).unwrap(),
        }
    }
}

pub fn root(folder: &TempDir) -> Root {
    Root::open(folder.path()).unwrap()
}

/// The paths below each pick (a file's own name stands for it), implied directories marked with `?`.
pub fn paths(tree: &SourceTree<'_>, selection: &Selection) -> Vec<String> {
    selection.picks.iter().flat_map(|pick| pick_paths(tree, selection, pick)).collect()
}

/// The entries of a pick.
pub fn entries(tree: &SourceTree<'_>, selection: &Selection, pick: &Pick) -> Vec<Entry> {
    let mut entries = selection.entries(tree, pick).unwrap();
    std::iter::from_fn(|| entries.next().unwrap().map(|entry| entry.into_owned())).collect()
}

fn pick_paths(tree: &SourceTree<'_>, selection: &Selection, pick: &Pick) -> Vec<String> {
    if !pick.metadata().is_directory() {
        return vec![pick.name.to_str().unwrap().to_owned()];
    }
    let entries = entries(tree, selection, pick);
    let mut above: Vec<&str> = Vec::new();
    let mut paths = Vec::new();
    for entry in &entries[1..] {
        above.truncate(entry.depth - 1);
        above.push(entry.name.to_str().unwrap());
        let mark = if entry.is_implied { "?" } else { "" };
        paths.push(format!("{}{mark}", above.join("/")));
    }
    paths
}
