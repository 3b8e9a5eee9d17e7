//! What is made of layers from elsewhere, friendly and hostile.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{self, Read};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use common::{Bed, directory, file, gzip, hard_link, run, symlink, tar};
use lbuild_archive::{EntryKind, Header, Limits};
use lbuild_layer_store::{Blob, Fetcher, Incoming, Layer, Place, StoreError};
use lbuild_oci::{DiffId, Digest, MediaType};

fn with_mode((mut header, content): (Header, &[u8]), mode: u32) -> (Header, &[u8]) {
    header.mode = mode;
    (header, content)
}

#[test]
fn entries_of_every_kind_are_made() {
    let bed = Bed::new();
    let mut owned = with_mode(file("d/setuid", "x"), 0o4755);
    (owned.0.uid, owned.0.gid) = (1000, 2_147_483_648);
    let node = Header::new("d/null", EntryKind::CharDevice { major: 1, minor: 3 }, 0o666);
    let fifo = Header::new("d/fifo", EntryKind::Fifo, 0o600);
    let layer = bed.import(&[
        directory("d/"),
        owned,
        hard_link("d/hard", "d/setuid"),
        symlink("d/soft", "/etc/passwd"),
        (node, b""),
        (fifo, b""),
        with_mode(directory("tmp"), 0o1777),
    ]);
    let expected = "d 755 0:0 d\np 600 0:0 d/fifo\nf 644 0:0 d/hard\nc 666 0:0 d/null\n\
                    f 644 0:0 d/setuid\nl 777 0:0 d/soft /etc/passwd\nd 1777 0:0 tmp\n";
    // The hard link's header counts last, as tar(1) has it.
    assert_eq!(bed.look(&[layer]), expected);
}

#[test]
fn parents_that_the_tar_omits_are_as_below() {
    let bed = Bed::new();
    let mut var = with_mode(directory("var/"), 0o2750);
    (var.0.uid, var.0.mtime) = (7, 99);
    var.0.xattrs.insert(b"user.kept".to_vec(), b"x".to_vec());
    let base = bed.import(&[var, with_mode(directory("var/log/"), 0o1777)]);
    let layer = bed.import(&[file("var/log/new", "x"), file("opt/a/b", "y")]);
    let view = bed.store.view(&[base, layer]).unwrap();
    let list = "stat -c '%n %a %u %Y' var var/log opt opt/a";
    assert_eq!(run(view.root(), list), "var 2750 7 99\nvar/log 1777 0 0\nopt 755 0 0\nopt/a 755 0 0\n");
    assert_eq!(run(view.root(), "getfattr --only-values -n user.kept var"), "x");
}

#[test]
fn a_layer_expands_to_its_length_and_no_further() {
    let bed = Bed::new();
    let (digest, size) = bed.store.write_blob(&mut &gzip(&vec![0; 1 << 20])[..], None).unwrap();
    let blob = Blob { digest, size, media_type: MediaType::LayerGzip };
    let shorter = DiffId(Digest::of("shorter"));
    bed.store.add_layer(&Layer::imported(shorter, 1000, blob)).unwrap();
    let mut written = Vec::new();
    let error = bed.store.write_layer_tar(&shorter, &mut written).unwrap_err();
    assert!(matches!(error, StoreError::DigestMismatch { .. }), "{error}");
    assert_eq!(written.len(), 1001);
}

#[test]
fn an_uncompressed_layer_may_begin_as_compressed_data_does() {
    let bed = Bed::new();
    let bytes = gzip(b"no tar");
    let (digest, size) = bed.store.write_blob(&mut &bytes[..], None).unwrap();
    let blob = Blob { digest, size, media_type: MediaType::Layer };
    bed.store.add_layer(&Layer::imported(DiffId(digest), size, blob)).unwrap();
    let mut written = Vec::new();
    bed.store.write_layer_tar(&DiffId(digest), &mut written).unwrap();
    assert_eq!(written, bytes);
}

#[test]
fn times_are_those_of_the_tar_also_of_directories() {
    let bed = Bed::new();
    let at = |(mut header, content): (Header, &'static [u8]), time| {
        header.mtime = time;
        (header, content)
    };
    let layer = bed.import(&[
        at(directory("d/"), 11),
        at(directory("d/e/"), 12),
        at((Header::new("d/e/f", EntryKind::File, 0o644), b"x"), 13),
        at(symlink("d/l", "x"), -14),
    ]);
    let view = bed.store.view(&[layer]).unwrap();
    assert_eq!(run(view.root(), "stat -c %Y d d/e d/e/f d/l"), "11\n12\n13\n-14\n");
}

#[test]
fn deletions_hide_what_lies_below_and_only_that() {
    let bed = Bed::new();
    let base = bed.import(&[
        directory("d/"),
        file("d/one", "1"),
        file("d/two", "2"),
        directory("e/"),
        file("e/three", "3"),
        directory("g/"),
        file("g/four", "4"),
    ]);
    for (name, entries, expected) in [
        ("a file", vec![file("d/.wh.one", "")], "d d/two e e/three g g/four"),
        ("a directory", vec![file(".wh.d", "")], "e e/three g g/four"),
        ("nothing", vec![file("d/.wh.x", ""), file("x/.wh.y", "")], "d d/one d/two e e/three g g/four"),
        ("all in a directory", vec![file("e/.wh..wh..opq", "")], "d d/one d/two e g g/four"),
        (
            "opaque, after a file of its own",
            vec![directory("e/"), file("e/new", ""), file("e/.wh..wh..opq", "")],
            "d d/one d/two e e/new g g/four",
        ),
        (
            "a directory that is made anew",
            vec![file(".wh.d", ""), directory("d/"), file("d/n", "")],
            "d d/n e e/three g g/four",
        ),
        (
            "the same without an entry for the directory",
            vec![file(".wh.d", ""), file("d/n", "")],
            "d d/n e e/three g g/four",
        ),
        (
            "the same in the other order",
            vec![directory("d/"), file("d/n", ""), file(".wh.d", "")],
            "d d/n e e/three g g/four",
        ),
        ("never a file of the same layer", vec![file("d/one", ""), file("d/.wh.one", "")], {
            "d d/one d/two e e/three g g/four"
        }),
        ("all", vec![file(".wh..wh..opq", ""), file("g/new", ""), file("n", "")], "g g/new n"),
        (
            "nothing, by AUFS's own files",
            vec![directory(".wh..wh.plnk/"), file(".wh..wh.plnk/12.34", ""), file(".wh..wh.aufs", "")],
            "d d/one d/two e e/three g g/four",
        ),
    ] {
        let layer = bed.import(&entries);
        let view = bed.store.view(&[base, layer]).unwrap();
        let paths = run(view.root(), "find . -mindepth 1 -printf '%P\\n' | LC_ALL=C sort | tr '\\n' ' '");
        assert_eq!(paths.trim_end(), expected, "{name}");
    }
}

#[test]
fn deletions_in_the_bottom_layer_have_no_effect() {
    let bed = Bed::new();
    let layer =
        bed.import(&[file(".wh.a", ""), directory("d/"), file("d/.wh..wh..opq", ""), file("d/.wh.b", "")]);
    assert_eq!(bed.look(&[layer]), "d 755 0:0 d\n");
    // A step that finds nothing there makes no whiteout of it.
    assert_eq!(bed.step(&[layer], "touch a; rm a"), None);
}

#[test]
fn a_hard_link_to_a_lower_file_is_a_copy_of_it() {
    let bed = Bed::new();
    let base = bed.import(&[with_mode(file("bin/tool", "content"), 0o4711), symlink("bin/s", "tool")]);
    let layer = bed.import(&[hard_link("usr/tool", "bin/tool"), hard_link("usr/s", "/bin/s")]);
    assert_eq!(bed.read(&[base, layer], "usr/tool"), "content");
    let looked = bed.look(&[base, layer]);
    assert!(looked.contains("f 4711 0:0 usr/tool\n") && looked.contains("usr/s tool\n"), "{looked}");
}

#[test]
fn extended_attributes_are_unpacked_except_those_of_overlayfs() {
    let bed = Bed::new();
    let (mut header, content) = directory("d/");
    for (name, value) in [
        ("user.foo", "bar"),
        ("trusted.overlay.opaque", "y"),
        ("user.overlay.opaque", "y"),
        ("trusted.overlay.redirect", "/etc"),
    ] {
        header.xattrs.insert(name.into(), value.into());
    }
    let base = bed.import(&[directory("d/"), file("d/kept", "")]);
    let layer = bed.import(&[(header, content)]);
    let directories = bed.store.layer_directories(&[base, layer]).unwrap();
    let root = lbuild_confined::Root::open(&directories[1]).unwrap();
    let listed = run(&root, "getfattr -m - -d d | grep -v ^#");
    assert_eq!(listed.trim(), "user.foo=\"bar\"");
    assert!(bed.look(&[base, layer]).contains("d/kept"));
}

#[test]
fn a_binary_extended_attribute_survives() {
    let bed = Bed::new();
    let value = [1, 0, 0, 2, b'\n', 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (mut header, content) = file("f", "x");
    header.xattrs.insert(b"security.capability".to_vec(), value.to_vec());
    let layer = bed.import(&[(header, content)]);
    let view = bed.store.view(&[layer]).unwrap();
    let hex = run(view.root(), "getfattr -n security.capability -e hex --only-values f | xxd -p");
    let expected: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex.trim(), expected);
}

#[test]
fn hostile_entries_are_refused_and_nothing_outside_is_touched() {
    let bed = Bed::new();
    let outside = tempfile::tempdir().unwrap();
    let sentinel = outside.path().join("sentinel");
    std::fs::write(&sentinel, "safe").unwrap();
    let target = outside.path().to_str().unwrap();
    let whiteout_device = Header::new("d", EntryKind::CharDevice { major: 0, minor: 0 }, 0);
    let base = bed.import(&[symlink("down", target), directory("real/"), file("real/f", "")]);
    for (name, entries, refused) in [
        ("a whiteout without a name", vec![file(".wh.", "")], ".wh."),
        ("a whiteout of the directory", vec![file("real/.wh..", "")], "real/.wh.."),
        ("a whiteout of the parent", vec![file("real/.wh...", "")], "real/.wh..."),
        (
            "a whiteout below a link of the layer",
            vec![symlink("l", target), file("l/.wh.sentinel", "")],
            "l/.wh.sentinel",
        ),
        ("a whiteout below a lower link", vec![file("down/.wh.sentinel", "")], "down/.wh.sentinel"),
        ("opaque below a link", vec![symlink("l", "real"), file("l/.wh..wh..opq", "")], "l/.wh..wh..opq"),
        ("a file below a link", vec![symlink("l", target), file("l/sentinel", "evil")], "l/sentinel"),
        ("a file below a file", vec![file("f", ""), file("f/g", "")], "f/g"),
        (
            "a file below a whiteout's name",
            vec![directory(".wh.real/"), file(".wh.real/g", "")],
            ".wh.real/g",
        ),
        ("a whiteout below a whiteout's name", vec![file(".wh.real/.wh.f", "")], ".wh.real/.wh.f"),
        ("opaque below a whiteout's name", vec![file(".wh.x/.wh..wh..opq", "")], ".wh.x/.wh..wh..opq"),
        ("dots", vec![file("../sentinel", "evil")], "../sentinel"),
        ("dots inside", vec![file("real/../../sentinel", "evil")], "real/../../sentinel"),
        ("a link out", vec![hard_link("h", "../../../../etc/passwd")], "h"),
        ("a link to nothing", vec![hard_link("h", &format!("{target}/sentinel"))], "h"),
        ("a link through a link", vec![symlink("l", target), hard_link("h", "l/sentinel")], "h"),
        ("a link through a lower link", vec![hard_link("h", "down/sentinel")], "h"),
        ("a link to a directory", vec![hard_link("h", "real")], "h"),
        ("the root as a link", vec![symlink(".", target)], "."),
        ("the root as a hard link", vec![hard_link("h", "/")], "h"),
        ("a whiteout as overlayfs has it", vec![(whiteout_device, &b""[..])], "d"),
    ] {
        let layer = bed.import(&entries);
        match bed.store.view(&[base, layer]) {
            Err(StoreError::BadLayer { diff_id, entry, .. }) => {
                assert_eq!((diff_id, entry.as_str()), (layer, refused), "{name}");
            }
            Err(StoreError::Unpack { entry, .. }) => assert_eq!(entry, refused, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(std::fs::read_to_string(&sentinel).unwrap(), "safe", "{name}");
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "{name}");
    }
    assert_eq!(bed.read(&[base], "real/f"), "");
}

#[test]
fn what_looks_hostile_but_means_something_inside_stays_inside() {
    let bed = Bed::new();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().to_str().unwrap();
    let mode = || std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(outside.path()).unwrap());
    let before = mode();
    let base = bed.import(&[symlink("down", target)]);
    let layer = bed.import(&[
        // A directory entry takes a link's place and not what it leads to.
        symlink("l", target),
        with_mode(directory("l"), 0o777),
        file("l/inside", "1"),
        file("/absolute", "2"),
        file("./dot/./f", "3"),
        // As Docker does: the directory hides the link below it.
        file("down/f", "4"),
    ]);
    for (path, content) in [("l/inside", "1"), ("absolute", "2"), ("dot/f", "3"), ("down/f", "4")] {
        assert_eq!(bed.read(&[base, layer], path), content);
    }
    assert_eq!(mode(), before);
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
}

#[test]
fn the_last_entry_of_a_path_counts() {
    let bed = Bed::new();
    let layer = bed.import(&[
        file("a", "first"),
        file("a", "last"),
        directory("b/"),
        file("b/c", ""),
        file("b", "file"),
        file("d", ""),
        directory("d/"),
        file("d/e", "below"),
    ]);
    assert_eq!(bed.look(&[layer]), "f 644 0:0 a\nf 644 0:0 b\nd 755 0:0 d\nf 644 0:0 d/e\n");
    assert_eq!(bed.read(&[layer], "a"), "last");
}

#[test]
fn compressed_layers_are_unpacked_and_give_their_tar() {
    let bed = Bed::new();
    let tar = tar(&[file("f", "content")]);
    let diff_id = DiffId(Digest::of(&tar));
    let compressed = gzip(&tar);
    let (digest, size) = bed.store.write_blob(&mut &compressed[..], None).unwrap();
    let blob = Blob { digest, size, media_type: MediaType::LayerGzip };
    bed.store.add_layer(&Layer::imported(diff_id, tar.len() as u64, blob)).unwrap();
    assert_eq!(bed.read(&[diff_id], "f"), "content");
    let mut again = Vec::new();
    bed.store.write_layer_tar(&diff_id, &mut again).unwrap();
    assert_eq!(again, tar);
}

#[test]
fn a_damaged_layer_is_refused_and_leaves_nothing() {
    let bed = Bed::new();
    let tar = tar(&[file("f", &"content".repeat(100_000)), file("g", "")]);
    let diff_id = DiffId(Digest::of(&tar));
    let whole = gzip(&tar);
    let mut flipped_tar = tar.clone();
    flipped_tar[700] ^= 1;
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    for (name, bytes) in [
        ("truncated", whole[..whole.len() / 2].to_vec()),
        ("flipped", flipped),
        ("another content", gzip(&flipped_tar)),
        ("no tar", b"not a tar at all".to_vec()),
        ("bytes after the end", gzip(&[&tar[..], b"more"].concat())),
        ("empty", Vec::new()),
    ] {
        let bed = Bed::new();
        let (digest, size) = bed.store.write_blob(&mut &bytes[..], None).unwrap();
        let blob = Blob { digest, size, media_type: MediaType::LayerGzip };
        bed.store.add_layer(&Layer::imported(diff_id, 0, blob)).unwrap();
        let result = bed.store.view(&[diff_id]);
        assert!(
            matches!(result, Err(StoreError::DigestMismatch { .. } | StoreError::ReadLayer { .. })),
            "{name}: {result:?}"
        );
        bed.store.flush().unwrap();
        assert_eq!(std::fs::read_dir(bed.path().join("snapshots")).unwrap().count(), 0, "{name}");
    }
    assert!(bed.store.view(&[diff_id]).is_err());
}

#[test]
fn the_same_layer_on_another_base_is_another_snapshot() {
    let bed = Bed::new();
    let (one, two) = (bed.with(&[], "echo 1 > one"), bed.with(&[], "echo 2 > two"));
    let top = bed.step(&one, "mkdir d; echo top > d/f; touch -d @1 d/f d").unwrap();
    bed.store.flush().unwrap();
    let bed = bed.reopen();
    assert_eq!(bed.read(&[two[0], top.diff_id], "d/f"), "top\n");
    assert_eq!(bed.read(&[two[0], top.diff_id], "two"), "2\n");
    let directories = bed.store.layer_directories(&[two[0], top.diff_id]).unwrap();
    assert!(directories.iter().all(|directory| directory.is_dir()), "{directories:?}");
}

#[test]
fn many_threads_may_ask_for_the_same_layer() {
    let bed = Bed::new();
    let entries: Vec<_> = (0..500).map(|index| file(&format!("d/{index}"), "x")).collect();
    let layer = bed.import(&entries);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(bed.read(&[layer], "d/499"), "x"));
        }
    });
}

/// Gives one blob, once two want it.
#[derive(Debug)]
struct ForTwo(Vec<u8>, Barrier);

impl Fetcher for ForTwo {
    fn open(&self, _source: &str, _blob: &Blob) -> Option<io::Result<Box<dyn Read>>> {
        self.1.wait();
        Some(Ok(Box::new(io::Cursor::new(self.0.clone()))))
    }
}

#[test]
fn a_stack_has_a_layer_twice() {
    let bed = Bed::new();
    let bytes = tar(&[file("file", "content")]);
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    let layer = DiffId(digest);
    let blob = Blob { digest, size, media_type: MediaType::Layer };
    bed.store.set_fetcher(Arc::new(ForTwo(bytes, Barrier::new(2))));
    bed.store.add_layer(&Layer::elsewhere(layer, blob, "somewhere".to_owned())).unwrap();
    let (sender, unpacked) = channel();
    std::thread::spawn(move || {
        let result = bed.store.unpack_missing(&[layer, layer]);
        let _ = sender.send((result, bed));
    });
    // The upper one must not keep the lower one from what it waits for.
    let (result, bed) = unpacked.recv_timeout(Duration::from_secs(60)).unwrap();
    result.unwrap();
    assert_eq!(bed.look(&[layer, layer]), "f 644 0:0 file\n");
}

#[test]
fn a_layer_that_came_and_waits_for_one_that_fails_leaves_nothing() {
    let bed = Bed::new();
    // With its root it needs nothing of what lies below.
    let bytes = tar(&[directory("./"), file("file", "content")]);
    let upper = DiffId(Digest::of(&bytes));
    let incoming = Incoming { digest: upper.0, is_tar: true, max_bytes: 1 << 20, limits: Limits::default() };
    let lower = DiffId(Digest::of("lower"));
    let staged = || {
        let areas = std::fs::read_dir(bed.path().join("tmp")).unwrap().map(|area| area.unwrap().path());
        let staged = areas.filter(|area| area.is_dir()).flat_map(|area| std::fs::read_dir(area).unwrap());
        let mut staged: Vec<_> = staged.map(|entry| entry.unwrap().path()).collect();
        staged.sort();
        staged
    };
    let before = staged();
    let result = bed.store.unpack_each(&[lower, upper], &|place: &Place<'_>| {
        if *place.diff_id() == upper {
            return place.receive(&mut &bytes[..], &incoming).map(drop);
        }
        while !staged().iter().any(|path| path.join("file").exists()) {
            std::thread::yield_now();
        }
        Err(StoreError::UnknownLayer(lower))
    });
    assert!(matches!(result, Err(StoreError::UnknownLayer(layer)) if layer == lower));
    assert!(!bed.store.has_blob(&upper.0));
    assert_eq!(staged(), before);
}

#[test]
fn a_layer_whose_work_panics_is_not_waited_for() {
    let bed = Bed::new();
    let bytes = tar(&[directory("./"), file("file", "content")]);
    let (lower, upper) = (DiffId(Digest::of("lower")), DiffId(Digest::of(&bytes)));
    let incoming = Incoming { digest: upper.0, is_tar: true, max_bytes: 1 << 20, limits: Limits::default() };
    let unpacked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        bed.store.unpack_each(&[lower, upper], &|place: &Place<'_>| -> Result<(), StoreError> {
            assert_ne!(*place.diff_id(), lower, "a panic that the test wants");
            place.receive(&mut &bytes[..], &incoming).map(drop)
        })
    }));
    assert!(unpacked.is_err());
}
