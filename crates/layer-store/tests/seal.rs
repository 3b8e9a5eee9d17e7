//! What a step leaves in its layer: a test for each trap of an overlay's upper directory.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use common::{Bed, directory, entries, file, run};
use lbuild_archive::{EntryKind, Header};
use lbuild_confined::Root;
use lbuild_layer_store::{CommitOptions, LayerEntryKind, PrepareOptions, StoreError};

const BASE: &str = "mkdir -p etc d/sub t; echo hello > etc/motd; echo one > d/one; echo two > d/two; \
                    echo deep > d/sub/deep; ln -s motd etc/link; mkdir empty; \
                    find . -exec touch -h -d @1000000000 {} +";

/// What is in the process's staging area.
fn staged(bed: &Bed) -> Vec<String> {
    let tmp = std::fs::read_dir(bed.path().join("tmp")).unwrap();
    let staging = tmp.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let names = std::fs::read_dir(staging).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn base(bed: &Bed) -> Vec<lbuild_oci::DiffId> {
    bed.with(&[], BASE)
}

#[test]
fn a_layer_lists_its_entries_sorted_with_parents_first() {
    let bed = Bed::new();
    let layer = bed.step(&[], "mkdir -p b/c; echo > b/c/d; echo > a.txt; mkdir a; echo > a/z").unwrap();
    assert_eq!(bed.paths(&layer), ["a/", "a/z", "a.txt", "b/", "b/c/", "b/c/d"]);
}

#[test]
fn a_step_that_changes_nothing_makes_no_layer() {
    let bed = Bed::new();
    let base = base(&bed);
    for script in [
        "true",
        "touch t/x && rm t/x",
        "chmod 700 t; chmod 755 t",
        "touch -d @1000000001 t",
        "touch -d @1000000000 etc/motd",
        "cp -a etc/motd m; cat m > etc/motd; rm m; touch -d @1000000000 etc/motd",
        "mv etc/link etc/l; mv etc/l etc/link",
        "chown 1 d/sub/deep; chown 0 d/sub/deep",
        "rm -r empty; mkdir empty",
        "echo > new; rm new",
        "mkdir -p x/y/z; rm -r x",
        "chmod 700 .; chown 7 .",
    ] {
        assert_eq!(bed.step(&base, script), None, "{script}");
    }
}

#[test]
fn only_what_changed_is_in_the_layer() {
    let bed = Bed::new();
    let base = base(&bed);
    for (script, expected) in [
        ("echo x > etc/new", &["etc/", "etc/new"][..]),
        ("echo hallo > etc/motd; touch -d @1000000000 etc/motd", &["etc/", "etc/motd"]),
        ("touch -d @1000000001 etc/motd", &["etc/", "etc/motd"]),
        ("chmod 700 d/sub", &["d/", "d/sub/"]),
        ("chown 5 d", &["d/"]),
        ("ln -sf MOTD etc/link; touch -h -d @1000000000 etc/link", &["etc/", "etc/link"]),
        ("rm etc/motd", &["etc/", "etc/.wh.motd"]),
        ("rm d/one d/two", &["d/", "d/.wh.one", "d/.wh.two"]),
        ("rm -r d", &[".wh.d"]),
        ("rm -rf d; mkdir d; touch d/n", &["d/", "d/.wh..wh..opq", "d/n"]),
        ("rm -r d/sub; echo > d/sub", &["d/", "d/sub"]),
        ("rm d/one; mkdir d/one", &["d/", "d/one/"]),
        ("mv d d2", &[".wh.d", "d2/", "d2/one", "d2/sub/", "d2/sub/deep", "d2/two"]),
        ("mkdir e; touch e/x; rm e/x", &["e/"]),
    ] {
        let layer = bed.step(&base, script).unwrap();
        assert_eq!(bed.paths(&layer), expected, "{script}");
    }
}

#[test]
fn a_layer_read_back_gives_the_tree_that_the_step_saw() {
    let bed = Bed::new();
    let base = base(&bed);
    for script in [
        "rm -rf d; mkdir d; touch d/n",
        "rm d/one; mv d/sub e; ln etc/motd etc/motd2; mkfifo f; mknod -m 600 c c 1 3; chmod 4755 etc/motd",
        "rm -r d/sub; echo > d/sub; rm etc/link; mkdir etc/link; chown 12:34 etc",
    ] {
        let seen = {
            let active = bed.prepare(&base);
            let list = "find . -mindepth 1 -printf '%y %m %U:%G %P %l\\n' | sed 's/ $//' | LC_ALL=C sort -k4";
            let seen = run(active.root(), &format!("{script}; {list}"));
            let layer = bed.store.commit(active, &CommitOptions::default()).unwrap().unwrap();
            let stack = [&base[..], &[layer.diff_id]].concat();
            assert_eq!(bed.look(&stack), seen, "{script}");

            // The same through the tar, in a store that has only that.
            let other = Bed::new();
            let stack: Vec<_> = stack
                .iter()
                .map(|diff_id| {
                    let mut tar = Vec::new();
                    bed.store.write_layer_tar(diff_id, &mut tar).unwrap();
                    let (digest, size) = other.store.write_blob(&mut &tar[..], None).unwrap();
                    let media_type = lbuild_oci::MediaType::Layer;
                    let blob = lbuild_layer_store::Blob { digest, size, media_type };
                    let layer = lbuild_layer_store::Layer::imported(*diff_id, size, blob);
                    other.store.add_layer(&layer).unwrap();
                    *diff_id
                })
                .collect();
            assert_eq!(other.look(&stack), seen, "{script}, unpacked");
            seen
        };
        assert!(!seen.is_empty());
    }
}

#[test]
fn the_tar_is_reproduced_after_the_store_was_opened_again() {
    let bed = Bed::new();
    let base = base(&bed);
    let layer = bed
        .step(&base, "rm -rf d; mkdir d; ln etc/motd a; rm etc/link; touch etc; mkfifo p; ln a b")
        .unwrap();
    let first = bed.headers(&layer);
    bed.store.flush().unwrap();
    let bed = bed.reopen();
    assert_eq!(bed.headers(&layer), first);
    assert_eq!(bed.store.layer(&layer.diff_id).unwrap().as_ref(), Some(&layer));
}

#[test]
fn removing_what_is_no_change_leaves_directory_times_alone() {
    let bed = Bed::new();
    let base = base(&bed);
    let script = "echo > t/new; touch t/x; python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"t/s\")'; \
                  rm t/x; touch -d @1234567890 t";
    let layer = bed.step(&base, script).unwrap();
    assert_eq!(bed.paths(&layer), ["t/", "t/new"]);
    assert_eq!(bed.header(&layer, "t/").mtime, 1_234_567_890);
}

#[test]
fn a_chmod_of_a_big_lower_file_brings_its_bytes() {
    let bed = Bed::new();
    let base = bed.with(&[], "head -c 3000000 /dev/urandom > big");
    let layer = bed.step(&base, "chmod 600 big").unwrap();
    assert_eq!(bed.header(&layer, "big").size, 3_000_000);
    assert!(layer.size > 3_000_000);
}

#[test]
fn whiteouts_are_plain_empty_files_in_the_tar_even_where_overlayfs_links_them() {
    let bed = Bed::new();
    let base = base(&bed);
    let layer = bed.step(&base, "rm d/one; rm d/two; rm etc/motd; rm -r d/sub").unwrap();
    assert_eq!(bed.paths(&layer), ["d/", "d/.wh.one", "d/.wh.sub", "d/.wh.two", "etc/", "etc/.wh.motd"]);
    for header in bed.headers(&layer).iter().filter(|header| !header.path.ends_with(b"/")) {
        assert_eq!(*header, Header::new(header.path.clone(), EntryKind::File, 0));
    }
}

#[test]
fn a_real_file_that_looks_like_a_whiteout_is_refused_by_name() {
    let bed = Bed::new();
    for script in ["mkdir a; touch a/.wh.f", "mkdir -p a/.wh.f", "mkdir a; ln -s x a/.wh.f"] {
        match bed.try_step(&[], script) {
            Err(StoreError::ReservedName { path }) => assert_eq!(path.to_str(), Some("/a/.wh.f")),
            other => panic!("{script}: {other:?}"),
        }
    }
    // The store is as it was.
    assert!(bed.step(&[], "touch a").is_some());
}

#[test]
fn only_capabilities_are_kept_of_extended_attributes() {
    let bed = Bed::new();
    let script = "cp /bin/true f; setfattr -n user.foo -v bar f; setfattr -n trusted.foo -v bar f; \
                  setfattr -n user.foo -v bar .; mkdir d; setfattr -n user.foo -v bar d; \
                  setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 f";
    let layer = bed.step(&[], script).unwrap();
    let xattrs = bed.header(&layer, "f").xattrs;
    assert_eq!(xattrs.keys().map(Vec::as_slice).collect::<Vec<_>>(), [b"security.capability"]);
    assert_eq!(xattrs[&b"security.capability"[..]].len(), 20);
    assert!(bed.header(&layer, "d/").xattrs.is_empty());
}

#[test]
fn capabilities_alone_are_a_change() {
    let bed = Bed::new();
    let base = bed.with(&[], "cp /bin/true f; touch -d @1 f");
    let set =
        "setfattr -n security.capability -v 0x0100000200040000000000000000000000000000 f; touch -d @1 f";
    assert_eq!(bed.paths(&bed.step(&base, set).unwrap()), ["f"]);
}

#[test]
fn links_made_in_a_step_stay_links_and_links_to_lower_files_break() {
    let bed = Bed::new();
    let base = bed.with(&[], "echo 1 > a; ln a b");
    let headers = bed.headers(&bed.store.layer(&base[0]).unwrap().unwrap());
    assert_eq!(headers[1].kind, EntryKind::HardLink(b"a".to_vec()));

    let layer = bed.step(&base, "echo 2 >> a").unwrap();
    assert_eq!(bed.paths(&layer), ["a"]);

    let layer = bed.step(&base, "mkdir x; echo 3 > x/c; ln x/c x/d; ln x/c c").unwrap();
    let kinds: Vec<_> = bed.headers(&layer).into_iter().map(|header| header.kind).collect();
    let link = EntryKind::HardLink(b"c".to_vec());
    assert_eq!(kinds, [EntryKind::File, EntryKind::Directory, link.clone(), link]);

    // A new name for a lower file is a change of both names.
    let layer = bed.step(&base, "ln b z").unwrap();
    assert_eq!(bed.paths(&layer), ["b", "z"]);
}

#[test]
fn sockets_are_dropped_and_fifos_and_devices_kept() {
    let bed = Bed::new();
    let script = "mkfifo fifo; mknod -m 620 char c 5 1; mknod block b 259 1000; \
                  python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"socket\")'";
    let layer = bed.step(&[], script).unwrap();
    assert_eq!(bed.paths(&layer), ["block", "char", "fifo"]);
    assert_eq!(bed.header(&layer, "block").kind, EntryKind::BlockDevice { major: 259, minor: 1000 });
    assert_eq!(bed.header(&layer, "char").kind, EntryKind::CharDevice { major: 5, minor: 1 });
    assert_eq!(bed.header(&layer, "char").mode, 0o620);

    let socket = "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'";
    assert_eq!(bed.step(&[], socket), None);
}

#[test]
fn a_hole_of_2_gib_is_packed_without_being_held() {
    let bed = Bed::new();
    let layer = bed.step(&[], "truncate -s 2G hole; echo end >> hole").unwrap();
    assert_eq!(bed.header_size(&layer), (2 << 30) + 4);
    let peak = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = peak.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 512 << 10, "{peak} KiB");
}

impl Bed {
    /// The size of a layer's only file, without its tar in memory.
    fn header_size(&self, layer: &lbuild_layer_store::Layer) -> u64 {
        assert_eq!(self.store.write_layer_tar(&layer.diff_id, &mut std::io::sink()).unwrap(), layer.size);
        self.store.layer_entries(&layer.diff_id).unwrap()[0].size
    }
}

#[test]
fn huge_ids_and_setuid_bits_survive() {
    let bed = Bed::new();
    let script = "touch f; chown 2147483648:4294967294 f; chmod 6755 f; mkdir d; chmod 1777 d";
    let layer = bed.step(&[], script).unwrap();
    let header = bed.header(&layer, "f");
    assert_eq!((header.uid, header.gid, header.mode), (2_147_483_648, 4_294_967_294, 0o6755));
    assert_eq!(bed.header(&layer, "d/").mode, 0o1777);
}

#[test]
fn unreadable_files_are_read() {
    let bed = Bed::new();
    let layer = bed.step(&[], "mkdir d; echo secret > d/f; chmod 000 d/f d").unwrap();
    assert_eq!(bed.paths(&layer), ["d/", "d/f"]);
    assert_eq!(bed.header(&layer, "d/f").size, 7);
}

#[test]
fn times_are_whole_seconds_and_clamped_where_asked() {
    let bed = Bed::new();
    let base = bed.with(&[], "mkdir d; echo > d/old; touch -d @100.7 d/old d");
    let header = bed.header(&bed.store.layer(&base[0]).unwrap().unwrap(), "d/old");
    assert_eq!((header.mtime, header.mtime_nanos), (100, 0));

    let mut digests = Vec::new();
    for _ in 0..2 {
        let active = bed.prepare(&base);
        run(active.root(), "echo new > d/new; echo kept > d/kept; touch -d @50 d/kept; rm d/old; sleep 0.01");
        let options = CommitOptions { latest_mtime: Some(200) };
        let layer = bed.store.commit(active, &options).unwrap().unwrap();
        let times: Vec<_> = bed.headers(&layer).into_iter().map(|header| header.mtime).collect();
        assert_eq!(bed.paths(&layer), ["d/", "d/kept", "d/new", "d/.wh.old"]);
        assert_eq!(times, [200, 50, 200, 0]);
        digests.push(layer.diff_id);
        run_sleep();
    }
    assert_eq!(digests[0], digests[1]);
}

fn run_sleep() {
    std::thread::sleep(std::time::Duration::from_millis(1100));
}

#[test]
fn mount_points_leave_no_trace() {
    let bed = Bed::new();
    let stubs = tempfile::tempdir().unwrap();
    let root = Root::open(stubs.path()).unwrap();
    run(&root, "mkdir -p proc dev etc; touch etc/resolv.conf; chmod 700 etc");
    let above = tempfile::tempdir().unwrap();
    let over = Root::open(above.path()).unwrap();
    run(&over, "mkdir d; touch d/mounted");
    let options = PrepareOptions { stubs: Some(root.as_fd()), overlay_stubs: Some(over.as_fd()) };

    let base = bed.with(&[], "mkdir d; echo own > d/mounted; mkdir -m 1777 tmp");
    for (layers, script, expected) in [
        (&[][..], "ls proc dev etc/resolv.conf d/mounted", &[][..]),
        (&[], "rm -r proc etc d; mkdir proc", &[]),
        (&[], "touch -d @5 etc proc", &[]),
        (&[], "echo > etc/hosts", &["etc/", "etc/hosts"]),
        (&[], "echo changed > etc/resolv.conf", &["etc/", "etc/resolv.conf"]),
        (&base[..], "test ! -s d/mounted", &[]),
        (&base, "rm -r proc; rm d/mounted", &["d/", "d/.wh.mounted"]),
        (&base, "rm -r d", &[".wh.d"]),
        (&base, "rm -r d; mkdir d", &["d/", "d/.wh..wh..opq"]),
        (&base, "rm -r etc; mkdir -m 700 etc; echo > tmp/x", &["tmp/", "tmp/x"]),
    ] {
        let active = bed.store.prepare(layers, &options).unwrap();
        run(active.root(), script);
        let layer = bed.store.commit(active, &CommitOptions::default()).unwrap();
        let paths = layer.map(|layer| bed.paths(&layer)).unwrap_or_default();
        assert_eq!(paths, expected, "{script}");
    }
}

#[test]
fn a_stub_below_never_hides_what_an_image_has() {
    let bed = Bed::new();
    let base = bed.with(&[], "mkdir -m 1777 tmp; mkdir etc; echo own > etc/resolv.conf");
    let stubs = tempfile::tempdir().unwrap();
    let root = Root::open(stubs.path()).unwrap();
    run(&root, "mkdir -p tmp/b etc; touch etc/resolv.conf");
    let options = PrepareOptions { stubs: Some(root.as_fd()), overlay_stubs: None };
    let active = bed.store.prepare(&base, &options).unwrap();
    assert_eq!(run(active.root(), "stat -c %a tmp; ls tmp; cat etc/resolv.conf"), "1777\nb\nown\n");
}

#[test]
fn an_abandoned_step_leaves_nothing() {
    let bed = Bed::new();
    let before = staged(&bed);
    let active = bed.prepare(&[]);
    run(active.root(), "mkdir a; echo > a/b; chmod 000 a");
    assert!(staged(&bed).len() > before.len());
    drop(active);
    assert_eq!(staged(&bed), before);
}

#[test]
fn no_mount_is_attached_anywhere() {
    let bed = Bed::new();
    let active = bed.prepare(&[]);
    run(active.root(), "touch a");
    let store = bed.path();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(store.to_str().unwrap()), "{mounts}");
}

#[test]
fn a_view_is_read_only_however_few_its_layers() {
    let bed = Bed::new();
    let base = bed.with(&[], "echo 1 > f");
    for layers in [&[][..], &base] {
        let view = bed.store.view(layers).unwrap();
        let error = std::fs::write(common::path_of(view.root()).join("f"), "2").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    }
}

#[test]
fn the_root_keeps_its_owner_and_mode_through_a_step() {
    let bed = Bed::new();
    let base = bed.import(&[{
        let (mut root, content) = directory("./");
        (root.mode, root.uid, root.mtime) = (0o751, 3, 77);
        (root, content)
    }]);
    let stack = bed.with(&[base], "chmod 700 .; chown 9 .; touch f");
    let view = bed.store.view(&stack).unwrap();
    let root = std::fs::metadata(common::path_of(view.root()).join(".")).unwrap();
    assert_eq!((root.mode() & 0o7777, root.uid(), root.mtime()), (0o751, 3, 77));
}

#[test]
fn entries_are_listed_for_people() {
    let bed = Bed::new();
    let base = base(&bed);
    let layer =
        bed.step(&base, "rm etc/motd; rm -r d; mkdir d; echo > d/f; ln d/f d/g; ln -s a d/h").unwrap();
    assert_eq!(
        entries(&bed, &layer.diff_id),
        [
            (LayerEntryKind::Directory, "d"),
            (LayerEntryKind::Opaque, "d"),
            (LayerEntryKind::File, "d/f"),
            (LayerEntryKind::HardLink, "d/g"),
            (LayerEntryKind::Symlink, "d/h"),
            (LayerEntryKind::Directory, "etc"),
            (LayerEntryKind::Whiteout, "etc/motd"),
        ]
        .map(|(kind, path)| (kind, path.to_owned()))
    );
    let imported = bed.import(&[file("a/.wh.b", ""), file("a/c", "123")]);
    let listed = bed.store.layer_entries(&imported).unwrap();
    assert_eq!((listed[0].kind, listed[0].path.to_str()), (LayerEntryKind::Whiteout, Some("a/b")));
    assert_eq!((listed[1].kind, listed[1].size), (LayerEntryKind::File, 3));
}

#[test]
fn deep_trees_and_long_names_are_packed() {
    let bed = Bed::new();
    let script =
        "for i in $(seq 300); do mkdir dir; cd dir; done; touch end; touch $(printf 'n%.0s' $(seq 255))";
    let layer = bed.step(&[], script).unwrap();
    let headers = bed.headers(&layer);
    assert_eq!(headers.len(), 302);
    let longest = headers.iter().map(|header| header.path.len()).max().unwrap();
    assert_eq!(longest, 300 * 4 + 255);
    let descend = |levels| {
        format!("python3 -c 'import os\nfor _ in range({levels}): os.mkdir(\"d\"); os.chdir(\"d\")'")
    };
    let deepest = bed.step(&[], &descend(2047)).unwrap();
    assert_eq!(bed.headers(&deepest).len(), 2047);
    let before = staged(&bed);
    // Beyond what any path can reach, the step fails and says so, and all of it is removed.
    let error = bed.try_step(&[], &descend(2048)).unwrap_err();
    let StoreError::Io { action: "pack", source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.raw_os_error(), Some(rustix::io::Errno::NAMETOOLONG.raw_os_error()));
    assert_eq!(staged(&bed), before);
}
