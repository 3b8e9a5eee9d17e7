//! What several processes share: blobs, images, names, the cache, and what prune leaves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Bed, file, image, open, run};
use lbuild_layer_store::{CacheMountSharing, ImageRecord, PruneOptions, Store, StoreError, StoreOptions};
use lbuild_oci::{DiffId, Digest, ImageConfig, Platform, Reference, json};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn what_was_flushed_is_there_for_the_next_process_and_the_rest_is_not() {
    let bed = Bed::new();
    let (digest, _) = bed.store.write_blob(&mut &b"blob"[..], None).unwrap();
    let kept = bed.with(&[], "echo kept > f");
    let key = Digest::of("key");
    bed.store.cache_put(&key, b"record\n\xff".to_vec(), &kept);
    assert_eq!(bed.store.cache_get(&key).as_deref(), Some(&b"record\n\xff"[..]));
    bed.store.flush().unwrap();
    let lost = bed.with(&kept, "echo lost > f");
    bed.store.cache_put(&Digest::of("lost"), Vec::new(), &lost);

    let bed = bed.reopen();
    assert_eq!(common::content(bed.store.open_blob(&digest).unwrap()), b"blob");
    assert_eq!(bed.read(&kept, "f"), "kept\n");
    assert_eq!(bed.store.cache_get(&key).as_deref(), Some(&b"record\n\xff"[..]));
    assert_eq!(bed.store.cache_get(&Digest::of("lost")), None);
    assert_eq!(bed.store.layer(&lost[1]).unwrap(), None);
    assert!(matches!(bed.store.view(&lost), Err(StoreError::UnknownLayer(layer)) if layer == lost[1]));
}

#[test]
fn a_blob_must_have_the_digest_that_is_expected() {
    let bed = Bed::new();
    let wrong = Digest::of("other");
    let result = bed.store.write_blob(&mut &b"blob"[..], Some(&wrong));
    assert!(matches!(result, Err(StoreError::DigestMismatch { expected, .. }) if expected == wrong));
    assert!(!bed.store.has_blob(&wrong) && !bed.store.has_blob(&Digest::of("blob")));
    assert!(matches!(bed.store.open_blob(&wrong), Err(StoreError::UnknownBlob(_))));
    for _ in 0..2 {
        let digest = Digest::of("blob");
        assert_eq!(bed.store.write_blob(&mut &b"blob"[..], Some(&digest)).unwrap(), (digest, 4));
        bed.store.flush().unwrap();
        assert!(bed.store.has_blob(&digest));
    }
}

#[test]
fn a_damaged_blob_is_replaced_when_it_comes_again() {
    let bed = Bed::new();
    let (digest, _) = bed.store.write_blob(&mut &b"blob"[..], None).unwrap();
    bed.store.flush().unwrap();
    std::fs::write(bed.path().join("blobs/sha256").join(digest.hex()), "blub").unwrap();
    bed.store.write_blob(&mut &b"blob"[..], Some(&digest)).unwrap();
    assert_eq!(common::content(bed.store.open_blob(&digest).unwrap()), b"blob");
    bed.store.flush().unwrap();
    assert_eq!(common::content(bed.reopen().store.open_blob(&digest).unwrap()), b"blob");
}

#[test]
fn a_damaged_snapshot_is_a_miss_once_it_was_noticed() {
    for is_flushed in [true, false] {
        let bed = Bed::new();
        let script = "echo sound > f; touch -d @1 f";
        let stack = bed.with(&[], script);
        let key = Digest::of("key");
        bed.store.cache_put(&key, Vec::new(), &stack);
        if is_flushed {
            bed.store.flush().unwrap();
        }
        let directory = bed.store.layer_directories(&stack).unwrap().remove(0);
        std::fs::write(directory.join("f"), "other\n").unwrap();
        let result = bed.store.write_layer_tar(&stack[0], &mut std::io::sink());
        assert!(matches!(result, Err(StoreError::DigestMismatch { .. })), "{result:?}");
        assert_eq!(bed.store.layer(&stack[0]).unwrap(), None);
        bed.store.flush().unwrap();

        let bed = bed.reopen();
        assert_eq!(bed.store.cache_get(&key), None);
        assert_eq!(bed.with(&[], script), stack);
        bed.store.flush().unwrap();
        let bed = bed.reopen();
        bed.store.write_layer_tar(&stack[0], &mut std::io::sink()).unwrap();
        assert_eq!(bed.read(&stack, "f"), "sound\n");
        let report = bed.store.prune(&PruneOptions::default()).unwrap();
        assert_eq!((report.snapshots.count, report.leftovers.count), (1, 1));
    }
}

#[test]
fn a_cache_record_is_a_miss_once_it_is_damaged_or_its_layer_is_gone() {
    let bed = Bed::new();
    let stack = bed.with(&[], "echo 1 > f");
    let (whole, torn) = (Digest::of("whole"), Digest::of("torn"));
    bed.store.cache_put(&whole, b"1".to_vec(), &stack);
    bed.store.cache_put(&torn, b"2".to_vec(), &stack);
    bed.store.flush().unwrap();
    let hex = torn.hex();
    let path = bed.path().join("cache").join(&hex[..2]).join(&hex);
    std::fs::write(&path, &std::fs::read(&path).unwrap()[1..]).unwrap();
    assert_eq!(bed.store.cache_get(&torn), None);
    assert!(bed.store.cache_get(&whole).is_some());

    let bed = bed.reopen();
    for snapshot in std::fs::read_dir(bed.path().join("snapshots")).unwrap() {
        std::fs::remove_dir_all(snapshot.unwrap().path()).unwrap();
    }
    assert_eq!(bed.store.cache_get(&whole), None);
    // The next build makes it again.
    assert_eq!(bed.step(&[], "echo 1 > f; touch -d @5 f").map(|layer| layer.entries), Some(1));
}

#[test]
fn images_are_found_by_name_identity_and_its_beginning() {
    let bed = Bed::new();
    let stack = bed.with(&[], "echo 1 > f");
    let (one, two) = (image(&bed, &stack, "one"), image(&bed, &[], "two"));
    assert_eq!(bed.store.tag(&name("app"), &one).unwrap(), None);
    assert_eq!(bed.store.tag(&name("app:2"), &two).unwrap(), None);
    assert_eq!(bed.store.tag(&name("app:2"), &one).unwrap(), Some(two));
    assert_eq!(bed.store.tag(&name(&one.hex()[..8]), &two).unwrap(), None);

    let bed = bed.reopen();
    let found = |text: &str| bed.store.find(text).unwrap().map(|image| image.id);
    for text in ["app", "app:2", "docker.io/library/app:latest", &one.to_string(), &one.hex()] {
        assert_eq!(found(text), Some(one), "{text}");
    }
    assert_eq!(found(&one.hex()[..9]), Some(one));
    assert_eq!(found(&format!("sha256:{}", &two.hex()[..9])), Some(two));
    // A name counts before the beginning of an identity.
    assert_eq!(found(&one.hex()[..8]), Some(two));
    for text in ["absent", "app:3", "", "sha256:", "not a name", &"0".repeat(64)] {
        assert_eq!(found(text), None, "{text}");
    }

    let listed = bed.store.images().unwrap();
    let names = |id| {
        let (_, names) = listed.iter().find(|(image, _)| image.id == id).unwrap();
        names.iter().map(Reference::familiar).collect::<Vec<_>>()
    };
    assert_eq!(names(one), ["app:2", "app:latest"]);
    assert!(bed.store.untag(&name("app")).unwrap());
    assert!(!bed.store.untag(&name("app")).unwrap());
    bed.store.remove_image(&one).unwrap();
    assert_eq!(bed.store.find("app:2").unwrap(), None);
    assert!(matches!(bed.store.remove_image(&one), Err(StoreError::UnknownImage(_))));
    assert!(matches!(bed.store.tag(&name("x"), &one), Err(StoreError::UnknownImage(_))));
}

#[test]
fn an_abbreviation_of_two_images_is_ambiguous() {
    let bed = Bed::new();
    // Seventeen identities cannot begin with sixteen digits.
    let ids: Vec<Digest> = (0..17).map(|index| image(&bed, &[], &index.to_string())).collect();
    let digits: Vec<String> = ids.iter().map(|id| id.hex()[..1].to_owned()).collect();
    let twice = digits.iter().find(|digit| digits.iter().filter(|other| other == digit).count() > 1).unwrap();
    assert!(matches!(bed.store.find(twice), Err(StoreError::Ambiguous { count, .. }) if count > 1));
}

#[test]
fn an_image_must_be_what_it_says() {
    let bed = Bed::new();
    let stack = bed.with(&[], "echo 1 > f");
    let mut config = ImageConfig::scratch(&Platform::host());
    config.rootfs.diff_ids = stack.clone();
    let bytes = json::canonical(&config);
    let right = ImageRecord {
        id: Digest::of(&bytes),
        layers: stack,
        platform: Platform::host(),
        created: None,
        manifest: None,
        annotations: Default::default(),
    };
    let other = ImageRecord { id: Digest::of("x"), ..right.clone() };
    assert!(matches!(bed.store.put_image(&other, &bytes), Err(StoreError::DigestMismatch { .. })));
    let other = ImageRecord { layers: Vec::new(), ..right.clone() };
    assert!(matches!(bed.store.put_image(&other, &bytes), Err(StoreError::InvalidImage { .. })));
    let other = ImageRecord { id: Digest::of("{}"), ..right };
    assert!(matches!(bed.store.put_image(&other, b"{}"), Err(StoreError::InvalidImage { .. })));
    config.rootfs.diff_ids = vec![DiffId(Digest::of("absent"))];
    let bytes = json::canonical(&config);
    let absent = ImageRecord { id: Digest::of(&bytes), layers: config.rootfs.diff_ids, ..other };
    assert!(matches!(bed.store.put_image(&absent, &bytes), Err(StoreError::UnknownLayer(_))));
}

#[test]
fn the_longest_name_is_kept() {
    let bed = Bed::new();
    let id = image(&bed, &[], "x");
    let long = name(&format!("host.example/{}:{}@{}", "a".repeat(240), "t".repeat(128), Digest::of("m")));
    bed.store.tag(&long, &id).unwrap();
    assert_eq!(bed.store.find(&long.to_string()).unwrap().map(|image| image.id), Some(id));
}

#[test]
fn prune_removes_what_nothing_needs_and_nothing_else() {
    let bed = Bed::new();
    let base = bed.import(&[file("base", "b")]);
    let used = bed.with(&[base], "echo used > used");
    let cached = bed.with(&used, "echo cached > cached");
    let stale = bed.with(&used, "head -c 1000000 /dev/urandom > stale");
    let id = image(&bed, &used, "kept");
    let dangling = image(&bed, &cached, "dangling");
    bed.store.tag(&name("kept"), &id).unwrap();
    let (fresh, old) = (Digest::of("fresh"), Digest::of("old"));
    bed.store.cache_put(&fresh, b"f".to_vec(), &cached);
    bed.store.cache_put(&old, b"o".to_vec(), &stale);
    let (orphan, _) = bed.store.write_blob(&mut &vec![7; 50_000][..], None).unwrap();
    bed.store.flush().unwrap();
    let hex = old.hex();
    let record = bed.path().join("cache").join(&hex[..2]).join(&hex);
    let past = std::time::SystemTime::now() - 30 * DAY;
    std::fs::File::open(&record).unwrap().set_modified(past).unwrap();
    let leftover = bed.path().join("tmp/1-dead");
    std::fs::create_dir(&leftover).unwrap();

    let dry = PruneOptions { dry_run: true, ..PruneOptions::default() };
    let foreseen = bed.store.prune(&dry).unwrap();
    assert!(bed.store.has_blob(&orphan) && leftover.exists());
    let report = bed.store.prune(&PruneOptions::default()).unwrap();
    assert_eq!(report, foreseen);
    let counts = [report.images, report.cache_records, report.layers, report.snapshots, report.blobs];
    assert_eq!(counts.map(|removed| removed.count), [0, 1, 1, 1, 1]);
    assert!(report.snapshots.bytes >= 1_000_000 && report.blobs.bytes >= 50_000, "{report:?}");
    assert!(!leftover.exists() && report.leftovers.count == 1);
    assert_eq!(bed.store.cache_get(&old), None);
    assert!(bed.store.cache_get(&fresh).is_some());
    assert_eq!(bed.store.layer(&stale[2]).unwrap(), None);
    assert_eq!(bed.read(&cached, "cached"), "cached\n");

    let all = PruneOptions { all: true, untagged: true, ..PruneOptions::default() };
    let report = bed.store.prune(&all).unwrap();
    let counts = [report.images, report.cache_records, report.layers, report.snapshots, report.blobs];
    assert_eq!(counts.map(|removed| removed.count), [1, 1, 1, 1, 0]);
    assert_eq!(bed.store.image(&dangling).unwrap(), None);
    assert_eq!(bed.read(&used, "used"), "used\n");
    assert_eq!(bed.store.prune(&all).unwrap().total().count, 0);

    bed.store.remove_image(&id).unwrap();
    bed.store.prune(&all).unwrap();
    for empty in ["snapshots", "layers", "blobs/sha256", "images", "names"] {
        assert_eq!(std::fs::read_dir(bed.path().join(empty)).unwrap().count(), 0, "{empty}");
    }
}

#[test]
fn prune_removes_cache_mounts_that_nobody_used_lately() {
    let bed = Bed::new();
    let take = |id: &str| {
        let mut fill = |_: &lbuild_confined::Root| Ok::<(), StoreError>(());
        let guard = bed.store.cache_mount(id, CacheMountSharing::Shared, &|| false, &mut fill).unwrap();
        std::fs::write(common::path_of(guard.unwrap().root()).join("f"), vec![1; 20_000]).unwrap();
    };
    take("fresh");
    take("old");
    let mounts = bed.path().join("cache-mounts");
    let old = mounts.join(Digest::of("old").hex());
    let past = std::time::SystemTime::now() - 30 * DAY;
    std::fs::File::open(old.join("id")).unwrap().set_modified(past).unwrap();
    let report = bed.store.prune(&PruneOptions::default()).unwrap();
    assert!(report.cache_mounts.count == 1 && report.cache_mounts.bytes >= 20_000, "{report:?}");
    assert!(!old.exists());
    let all = PruneOptions { all: true, ..PruneOptions::default() };
    assert_eq!(bed.store.prune(&all).unwrap().cache_mounts.count, 1);
    assert_eq!(std::fs::read_dir(mounts).unwrap().count(), 0);
}

#[test]
fn prune_keeps_what_a_layers_tar_is_reproduced_from() {
    let bed = Bed::new();
    let (one, two) = (bed.with(&[], "echo 1 > one"), bed.with(&[], "echo 2 > two"));
    let top = bed.step(&one, "echo top > f; touch -d @1 f").unwrap();
    let stack = [two[0], top.diff_id];
    let id = image(&bed, &stack, "x");
    bed.store.tag(&name("x"), &id).unwrap();
    bed.store.prune(&PruneOptions { all: true, untagged: true, ..PruneOptions::default() }).unwrap();
    assert_eq!(bed.paths(&top), ["f"]);
    assert_eq!(bed.read(&stack, "f"), "top\n");
}

#[test]
fn prune_never_takes_what_is_in_use() {
    let bed = Bed::new();
    let stack = bed.with(&[], "echo 1 > f");
    let options = PruneOptions { all: true, ..PruneOptions::default() };
    let active = bed.prepare(&stack);
    assert!(matches!(bed.store.prune(&options), Err(StoreError::Busy { .. })));
    drop(active);
    let view = bed.store.view(&stack).unwrap();
    assert!(matches!(bed.store.prune(&options), Err(StoreError::Busy { .. })));
    drop(view);

    // What another process has found stays as long as that lives, whatever it does with it.
    let other = open(&bed.path());
    assert!(other.layer(&stack[0]).unwrap().is_some());
    assert_eq!(bed.store.prune(&options).unwrap().snapshots.count, 0);
    assert_eq!(run(other.view(&stack).unwrap().root(), "cat f"), "1\n");
    drop(other);
    assert_eq!(bed.store.prune(&options).unwrap().snapshots.count, 1);
}

#[test]
fn a_prune_does_not_wait_for_a_step_of_another_process() {
    let bed = Bed::new();
    let (below, unused) = (bed.with(&[], "echo 1 > f"), bed.with(&[], "echo 2 > g"));
    bed.store.flush().unwrap();
    let other = open(&bed.path());
    let active = other.prepare(&below, &Default::default()).unwrap();
    run(active.root(), "cat f > h");
    let report = bed.store.prune(&PruneOptions { all: true, ..PruneOptions::default() }).unwrap();
    assert_eq!((report.snapshots.count, report.layers.count), (1, 1));
    let top = other.commit(active, &Default::default()).unwrap().unwrap();
    let stack = [below[0], top.diff_id];
    let id = image(&Bed { store: other, directory: tempfile::tempdir().unwrap() }, &stack, "x");
    bed.store.tag(&name("x"), &id).unwrap();
    assert_eq!(bed.store.prune(&PruneOptions::default()).unwrap().snapshots.count, 0);
    assert_eq!(bed.read(&stack, "h"), "1\n");
    assert!(bed.store.layer(&unused[0]).unwrap().is_none());
}

#[test]
fn a_prune_with_limits_takes_what_was_unused_longest_and_no_more() {
    let bed = Bed::new();
    let keys = ["old", "middle", "new"].map(Digest::of);
    for (key, age) in keys.iter().zip([30, 20, 10]) {
        let stack = bed.with(&[], &format!("head -c 1000000 /dev/zero | tr '\\0' '{age}' > f"));
        bed.store.cache_put(key, Vec::new(), &stack);
        bed.store.flush().unwrap();
        let record = bed.path().join("cache").join(&key.hex()[..2]).join(key.hex());
        let used = std::time::SystemTime::now() - age * DAY;
        std::fs::File::open(record).unwrap().set_modified(used).unwrap();
    }
    let prune = |options: PruneOptions| bed.store.prune(&options).unwrap().cache_records.count;
    assert_eq!(prune(PruneOptions { keep_storage: Some(1 << 40), ..PruneOptions::default() }), 0);
    let limit = PruneOptions { keep_storage: Some(2_100_000), ..PruneOptions::default() };
    assert_eq!(prune(PruneOptions { dry_run: true, ..limit.clone() }), 1);
    assert_eq!(prune(limit), 1);
    assert!(bed.store.cache_get(&keys[0]).is_none());
    assert_eq!(prune(PruneOptions { min_free: Some(0), ..PruneOptions::default() }), 0);
    let never_enough = PruneOptions { min_free: Some(u64::MAX), ..PruneOptions::default() };
    assert_eq!(prune(PruneOptions { keep_duration: Some(15 * DAY), ..never_enough.clone() }), 1);
    assert!(bed.store.cache_get(&keys[1]).is_none() && bed.store.cache_get(&keys[2]).is_some());
    assert_eq!(prune(never_enough), 1);
}

#[test]
fn two_processes_that_make_the_same_layer_agree() {
    let bed = Bed::new();
    let other = open(&bed.path());
    let script = "echo same > f; touch -d @1 f";
    let stack = bed.with(&[], script);
    let active = other.prepare(&[], &Default::default()).unwrap();
    run(active.root(), script);
    let layer = other.commit(active, &Default::default()).unwrap().unwrap();
    assert_eq!(layer.diff_id, stack[0]);
    bed.store.flush().unwrap();
    // A tree that stands on the other's own copy lives on.
    let view = other.view(&stack).unwrap();
    other.flush().unwrap();
    assert_eq!(run(view.root(), "cat f"), "same\n");
    assert_eq!(std::fs::read_dir(bed.path().join("snapshots")).unwrap().count(), 1);
    let mut tar = Vec::new();
    other.write_layer_tar(&stack[0], &mut tar).unwrap();
    drop(other);
    assert_eq!(bed.read(&stack, "f"), "same\n");
}

#[test]
fn sixteen_processes_may_build_while_one_prunes() {
    let bed = Bed::new();
    let path = bed.path();
    drop(bed.store);
    std::thread::scope(|scope| {
        for index in 0..16 {
            let path = &path;
            scope.spawn(move || {
                let store = open(path);
                let active = store.prepare(&[], &Default::default()).unwrap();
                run(active.root(), &format!("echo {} > f; touch -d @1 f", index % 4));
                let layer = store.commit(active, &Default::default()).unwrap().unwrap();
                store.cache_put(&Digest::of(format!("{index}")), Vec::new(), &[layer.diff_id]);
                store.flush().unwrap();
                let view = store.view(&[layer.diff_id]).unwrap();
                assert_eq!(run(view.root(), "cat f").trim(), (index % 4).to_string());
            });
        }
        scope.spawn(|| {
            let store = open(&path);
            let options = PruneOptions { all: true, ..PruneOptions::default() };
            for _ in 0..5 {
                store.prune(&options).unwrap();
            }
        });
    });
    let bed = Bed { store: open(&path), directory: bed.directory };
    for index in 0..16 {
        // Each is whole or gone.
        if bed.store.cache_get(&Digest::of(format!("{index}"))).is_some() {
            let layer = bed.step(&[], &format!("echo {} > f; touch -d @1 f", index % 4)).unwrap();
            assert_eq!(bed.paths(&layer), ["f"]);
        }
    }
}

#[test]
fn a_store_that_is_none_of_ours_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::write(root.join("thesis.txt"), "").unwrap();
    let result = Store::open(root, StoreOptions::default());
    assert!(matches!(result, Err(StoreError::NotAStore { .. })));
    assert_eq!(std::fs::read_dir(root).unwrap().count(), 1);

    std::fs::remove_file(root.join("thesis.txt")).unwrap();
    open(root);
    std::fs::write(root.join("version"), "3\n").unwrap();
    let result = Store::open(root, StoreOptions::default());
    assert!(matches!(result, Err(StoreError::NewerVersion { found, .. }) if found == "3"));

    std::fs::write(root.join("version"), "1\n").unwrap();
    let result = Store::open(root, StoreOptions { userxattr: true, ..StoreOptions::default() });
    assert!(matches!(result, Err(StoreError::OtherMarks { found, .. }) if found == "trusted"));

    std::os::unix::fs::chown(root, Some(1234), None).unwrap();
    let result = Store::open(root, StoreOptions::default());
    assert!(matches!(result, Err(StoreError::OtherOwner { owner: 1234, user: 0, .. })));
}

#[test]
fn a_new_disk_and_a_torn_version_make_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    std::fs::create_dir(root.join("lost+found")).unwrap();
    open(root);
    for torn in ["version", "marks"] {
        let whole = std::fs::read(root.join(torn)).unwrap();
        std::fs::write(root.join(torn), "").unwrap();
        open(root);
        assert_eq!(std::fs::read(root.join(torn)).unwrap(), whole);
    }
}

#[test]
fn a_read_only_disk_is_named_as_the_reason() {
    let bed = Bed::new();
    let stack = bed.with(&[], "mkdir sub");
    let id = image(&bed, &stack, "x");
    let target = bed.directory.path().join("read-only");
    std::fs::create_dir(&target).unwrap();
    bed.store.mount(&id, &target).unwrap();
    let results = ["sub", "sub/store"].map(|place| Store::open(&target.join(place), StoreOptions::default()));
    bed.store.unmount(&target).unwrap();
    for result in results {
        assert!(matches!(result, Err(StoreError::ReadOnly { .. })), "{result:?}");
    }
}

#[test]
fn what_a_killed_process_left_is_cleared() {
    let bed = Bed::new();
    let leftover = bed.path().join("tmp/1-dead");
    std::fs::create_dir_all(leftover.join("0/work")).unwrap();
    std::fs::write(bed.path().join("tmp/1-dead.lock"), "").unwrap();
    let other = open(&bed.path());
    assert!(!leftover.exists());
    // The living are left alone.
    assert!(bed.step(&[], "touch f").is_some());
    drop(other);
}

#[test]
fn an_image_can_be_looked_at_through_a_mount() {
    let bed = Bed::new();
    let stack = bed.with(&[], "echo 1 > f");
    let id = image(&bed, &stack, "x");
    let target = bed.directory.path().join("a look");
    std::fs::create_dir(&target).unwrap();
    assert!(matches!(bed.store.unmount(&target), Err(StoreError::NotMounted { .. })));
    bed.store.mount(&id, &target).unwrap();
    let bed = bed.reopen();
    assert_eq!(std::fs::read_to_string(target.join("f")).unwrap(), "1\n");
    assert!(std::fs::write(target.join("f"), "2").is_err());
    assert!(matches!(bed.store.remove_image(&id), Err(StoreError::Mounted(_))));
    let options = PruneOptions { all: true, untagged: true, ..PruneOptions::default() };
    assert_eq!(bed.store.prune(&options).unwrap().snapshots.count, 0);
    bed.store.unmount(&target).unwrap();
    assert!(!target.join("f").exists());
    assert_eq!(bed.store.prune(&options).unwrap().snapshots.count, 1);
}

#[test]
fn a_copied_store_works() {
    let bed = Bed::new();
    let stack = bed.with(&[], "mkdir d; echo 1 > d/a; echo 2 > d/b");
    let stack = bed.with(&stack, "rm -r d; mkdir d; echo 3 > d/c; ln d/c d/e");
    let stack = bed.with(&stack, "rm d/c; echo x > top");
    bed.store.flush().unwrap();
    let seen = bed.look(&stack);
    let Bed { store, directory } = bed;
    drop(store);
    let copy = tempfile::tempdir().unwrap();
    let status = std::process::Command::new("cp")
        .args(["-a", "--", directory.path().join("store").to_str().unwrap(), copy.path().to_str().unwrap()])
        .status()
        .unwrap();
    assert!(status.success());
    drop(directory);
    let bed = Bed { store: open(&copy.path().join("store")), directory: copy };
    assert_eq!(bed.look(&stack), seen);
    let layer = bed.store.layer(&stack[2]).unwrap().unwrap();
    assert_eq!(bed.paths(&layer), ["d/", "d/.wh.c", "top"]);
    assert!(bed.step(&stack, "echo more > d/f").is_some());
}

#[test]
fn a_snapshot_is_found_while_a_flush_gives_it_its_name() {
    let bed = Bed::new();
    for round in 0..150 {
        let stack = bed.with(&[], &format!("echo {round} > f"));
        let is_flushed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !is_flushed.load(Ordering::Relaxed) {
                        bed.store.view(&stack).unwrap();
                    }
                });
            }
            bed.store.flush().unwrap();
            is_flushed.store(true, Ordering::Relaxed);
        });
    }
}
