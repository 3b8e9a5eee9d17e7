//! What mounting must not depend on: the number of layers, the store's place, its file system.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;

use common::{Bed, file, open, run};
use lbuild_confined::Root;
use lbuild_layer_store::{PrepareOptions, Store, StoreError, StoreOptions};
use lbuild_oci::DiffId;
use tempfile::TempDir;

fn layers(bed: &Bed, count: usize) -> Vec<DiffId> {
    (0..count)
        .map(|index| bed.import(&[file(&format!("layers/{index}"), "x"), file("top", &index.to_string())]))
        .collect()
}

#[test]
fn as_many_layers_as_the_kernel_stacks_can_be_merged_and_changed() {
    let bed = Bed::new();
    let stack = layers(&bed, 501);
    for count in [1, 2, 127, 400, 500] {
        let layer =
            bed.step(&stack[..count], "test $(cat top) = $(($(ls layers | wc -l) - 1)); rm top").unwrap();
        assert_eq!(bed.paths(&layer), [".wh.top"], "{count}");
        assert_eq!(bed.read(&stack[..count], "top"), (count - 1).to_string());
    }
    let result = bed.store.prepare(&stack, &PrepareOptions::default());
    assert!(matches!(result, Err(StoreError::TooManyLayers { count: 501, limit: 500 })), "{result:?}");
    assert!(matches!(bed.store.view(&stack), Err(StoreError::TooManyLayers { .. })));
    let stubs = std::fs::File::open(bed.directory.path()).unwrap();
    let options = PrepareOptions { stubs: Some(stubs.as_fd()), ..PrepareOptions::default() };
    let result = bed.store.prepare(&stack[..500], &options);
    assert!(matches!(result, Err(StoreError::TooManyLayers { count: 500, limit: 499 })), "{result:?}");
}

#[test]
fn a_store_may_lie_at_any_path() {
    for place in
        ["a:b,c", "with space", "back\\slash", "quo'te\"", &format!("{0}/{0}/{0}", "long".repeat(50))]
    {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(place).join("store");
        let bed = Bed { store: open(&path), directory };
        let stack = bed.with(&[], "echo 1 > f; mkdir d; echo > d/g");
        let layer = bed.step(&stack, "rm -r d").unwrap();
        assert_eq!(bed.paths(&layer), [".wh.d"], "{place}");
        assert_eq!(bed.read(&stack, "f"), "1\n");
        drop(bed.store);
    }
}

/// An attached overlay, as a container's root file system is.
struct AttachedOverlay {
    directory: TempDir,
}

impl AttachedOverlay {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).display().to_string();
        for name in ["lower", "upper", "work", "merged"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        let options =
            format!("lowerdir={},upperdir={},workdir={}", path("lower"), path("upper"), path("work"));
        let mut mount = Command::new("mount");
        mount.args(["-t", "overlay", "overlay", "-o", &options, &path("merged")]);
        assert!(mount.status().unwrap().success());
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("merged")
    }
}

impl Drop for AttachedOverlay {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("-l").arg(self.path()).status().unwrap().success());
    }
}

#[test]
fn a_store_on_an_overlay_works_in_memory_and_keeps_the_same_layers() {
    let overlay = AttachedOverlay::new();
    let path = overlay.path().join("store");
    let plain = Bed::new();
    let nested = Bed { store: open(&path), directory: tempfile::tempdir().unwrap() };
    let mut stacks = [Vec::new(), Vec::new()];
    for script in [
        "mkdir -p d/sub e; echo 1 > d/one; echo 2 > d/two; echo > d/sub/f; echo > e/x; ln d/one link",
        "rm d/one; rm -r d/sub; ln -s two d/l; chmod 4755 d/two; mkfifo p",
        "rm -r e; mkdir e; echo > e/new; rm link",
        "rm -r d; mkdir d; echo > d/again",
        "rm e/new p",
    ] {
        let script = format!("{script}; find . -exec touch -h -d @1000 {{}} +");
        for (bed, stack) in [&plain, &nested].into_iter().zip(&mut stacks) {
            *stack = bed.with(stack, &script);
        }
        assert_eq!(stacks[0], stacks[1], "{script}");
        assert_eq!(nested.look(&stacks[1]), plain.look(&stacks[0]), "{script}");
    }
    nested.store.flush().unwrap();
    drop(nested.store);
    let nested = Bed { store: open(&path), directory: nested.directory };
    assert_eq!(nested.look(&stacks[1]), plain.look(&stacks[0]));
    for diff_id in &stacks[1] {
        let layer = nested.store.layer(diff_id).unwrap().unwrap();
        assert_eq!(nested.headers(&layer), plain.headers(&layer));
    }
    assert_eq!(nested.step(&stacks[1], "true"), None);

    // Layers from elsewhere, with both kinds of deletion in one directory.
    let base = nested.import(&[file("a/1", ""), file("a/2", ""), file("b/3", "")]);
    let top = nested.import(&[
        file("a/.wh.1", ""),
        file("a/.wh..wh..opq", ""),
        file("b/.wh.3", ""),
        file("a/n", ""),
    ]);
    assert_eq!(nested.look(&[base, top]), "d 755 0:0 a\nf 644 0:0 a/n\nd 755 0:0 b\n");
}

#[test]
fn user_extended_attributes_serve_where_trusted_ones_are_not_allowed() {
    let directory = tempfile::tempdir().unwrap();
    let options = StoreOptions { userxattr: true, ..StoreOptions::default() };
    let store = Store::open(&directory.path().join("store"), options).unwrap();
    let bed = Bed { store, directory };
    let stack = bed.with(&[], "mkdir d; echo 1 > d/one; echo 2 > f");
    let layer = bed.step(&stack, "rm -r d; mkdir d; echo > d/n; rm f").unwrap();
    assert_eq!(bed.paths(&layer), ["d/", "d/.wh..wh..opq", "d/n", ".wh.f"]);
    let stack = [stack[0], layer.diff_id];
    assert_eq!(bed.look(&stack), "d 755 0:0 d\nf 644 0:0 d/n\n");
    let directories = bed.store.layer_directories(&stack).unwrap();
    let root = Root::open(&directories[1]).unwrap();
    assert!(run(&root, "getfattr -m - -d d").contains("user.overlay.opaque"));
}
