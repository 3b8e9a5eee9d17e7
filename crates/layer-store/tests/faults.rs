//! A full disk, a killed process, a user namespace. Whatever happens, the next build gets a whole
//! layer or none.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Bed, gzip, open, run};
use lbuild_layer_store::{CommitOptions, PrepareOptions, Store, StoreOptions};
use lbuild_oci::{DiffId, Digest};

/// Set where this test binary runs one of its tests as another process.
const ROLE: &str = "LBUILD_TEST_STORE";

/// This very test binary, to run `test` on the store `path`.
fn this_test(launcher: &[&str], test: &str, path: &Path) -> Command {
    let binary = std::env::current_exe().unwrap();
    let mut arguments: Vec<_> = launcher.iter().map(Into::into).collect();
    arguments.push(binary.into_os_string());
    let mut command = Command::new(&arguments[0]);
    command.args(&arguments[1..]).args(["--exact", test, "--nocapture"]).env(ROLE, path);
    command
}

fn role() -> Option<PathBuf> {
    std::env::var_os(ROLE).map(PathBuf::from)
}

#[test]
fn a_killed_build_leaves_whole_layers_and_no_mounts() {
    if let Some(path) = role() {
        return build_forever(&path);
    }
    let bed = Bed::new();
    let path = bed.path();
    drop(bed.store);
    for round in 0..12 {
        let mut child = this_test(&[], "a_killed_build_leaves_whole_layers_and_no_mounts", &path)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(40 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();

        let store = open(&path);
        for name in std::fs::read_dir(path.join("layers")).unwrap() {
            let hex = name.unwrap().file_name().into_string().unwrap();
            let layer = DiffId(Digest::from_hex(&hex).unwrap());
            // Its digest is checked, whole as it must be.
            store.write_layer_tar(&layer, &mut std::io::sink()).unwrap();
        }
        // Only this process's area and its lock.
        assert_eq!(std::fs::read_dir(path.join("tmp")).unwrap().count(), 2);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(path.to_str().unwrap()));
    }
    assert!(std::fs::read_dir(path.join("layers")).unwrap().count() > 0);
}

fn build_forever(path: &Path) {
    let store = open(path);
    let mut stack = Vec::new();
    for count in 0.. {
        let active = store.prepare(&stack, &PrepareOptions::default()).unwrap();
        let root = common::path_of(active.root());
        std::fs::create_dir_all(root.join(format!("d{count}/sub"))).unwrap();
        for file in 0..20 {
            std::fs::write(root.join(format!("d{count}/sub/{file}")), vec![count as u8; 3000]).unwrap();
        }
        let layer = store.commit(active, &CommitOptions::default()).unwrap().unwrap();
        stack.push(layer.diff_id);
        store.cache_put(&Digest::of(format!("{count}")), Vec::new(), &stack);
        if count % 3 == 2 {
            store.flush().unwrap();
        }
        if stack.len() == 50 {
            stack.clear();
        }
    }
}

#[test]
fn a_step_in_a_user_namespace_is_kept_as_one_outside_is() {
    if let Some(path) = role() {
        return build_in_user_namespace(&path);
    }
    let directory = tempfile::tempdir().unwrap();
    let launcher = ["unshare", "--user", "--map-root-user", "--mount"];
    let status = this_test(
        &launcher,
        "a_step_in_a_user_namespace_is_kept_as_one_outside_is",
        &directory.path().join("store"),
    )
    .status()
    .unwrap();
    assert!(status.success());
}

fn build_in_user_namespace(path: &Path) {
    let store = Store::open(path, StoreOptions { userxattr: true, ..StoreOptions::default() }).unwrap();
    let bed = Bed { store, directory: tempfile::tempdir().unwrap() };
    let capability = "setfattr -n security.capability -v 0x0100000200040000000000000000000000000000";
    let base = bed.with(&[], "mkdir d; echo 1 > d/one; echo 2 > f; cp /bin/true tool");
    for (script, expected) in [
        ("rm -rf d; mkdir d; echo > d/n", &["d/", "d/.wh..wh..opq", "d/n"][..]),
        ("rm -r d; mkdir d; rmdir d", &[".wh.d"]),
        ("rm d/one f", &["d/", "d/.wh.one", ".wh.f"]),
        (&format!("{capability} tool; chmod 000 f"), &["f", "tool"]),
    ] {
        let layer = bed.step(&base, script).unwrap();
        assert_eq!(bed.paths(&layer), expected, "{script}");
    }
    let layer = bed.step(&base, &format!("{capability} tool")).unwrap();
    let xattrs = bed.header(&layer, "tool").xattrs;
    let value = &xattrs[&b"security.capability"[..]];
    assert_eq!((value.len(), value[3]), (20, 2), "{value:?}");

    // Nobody may make devices here: files stand for those of an image, and become devices again.
    let null = lbuild_archive::EntryKind::CharDevice { major: 1, minor: 3 };
    let image = bed.import(&[(lbuild_archive::Header::new("dev/null", null.clone(), 0o666), b"")]);
    assert_eq!(bed.look(&[image]), "d 755 0:0 dev\nf 666 0:0 dev/null\n");
    let layer = bed.step(&[image], "mv dev/null null; chmod 600 null").unwrap();
    assert_eq!(bed.paths(&layer), ["dev/", "dev/.wh.null", "null"]);
    assert_eq!((bed.header(&layer, "null").kind, bed.header(&layer, "null").mode), (null, 0o600));
    // An owner that has no place here is named with the file.
    let (mut header, content) = common::file("home/f", "x");
    header.uid = 1000;
    let image = bed.import(&[(header, content)]);
    let error = bed.store.view(&[image]).unwrap_err();
    assert!(
        matches!(&error, lbuild_layer_store::StoreError::Unpack { entry, .. } if entry == "home/f"),
        "{error:?}"
    );
}

#[test]
fn the_umask_has_no_part_in_an_image() {
    if let Some(path) = role() {
        return build_with_umask(&path);
    }
    let directory = tempfile::tempdir().unwrap();
    let launcher = ["sh", "-c", "umask 077; exec \"$@\"", "sh"];
    let store = directory.path().join("store");
    let status = this_test(&launcher, "the_umask_has_no_part_in_an_image", &store).status().unwrap();
    assert!(status.success());
}

fn build_with_umask(path: &Path) {
    let bed = Bed { store: open(path), directory: tempfile::tempdir().unwrap() };
    let mode = "stat -c %a .";
    let scratch = std::fs::metadata(bed.store.scratch().unwrap()).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&scratch.permissions()) & 0o7777, 0o755);
    assert_eq!(run(bed.store.view(&[]).unwrap().root(), mode), "755\n");
    assert_eq!(run(bed.prepare(&[]).root(), mode), "755\n");
    let stack = bed.with(&[], "mkdir d");
    assert_eq!(run(bed.store.view(&stack).unwrap().root(), mode), "755\n");
    let image = bed.import(&[common::file("implied/f", "x")]);
    assert_eq!(run(bed.store.view(&[image]).unwrap().root(), "stat -c %a . implied"), "755\n755\n");
}

/// A file system of a few MiB.
struct SmallDisk {
    directory: tempfile::TempDir,
}

impl SmallDisk {
    fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(directory.path());
        assert!(mount.status().unwrap().success());
        Self { directory }
    }

    /// Waits until so many bytes are free. A child of another test holds what this one has open, such as a
    /// mount in which a removed file is still known, until it executes its program.
    fn wait_for_space(&self, bytes: u64) {
        let end = std::time::Instant::now() + Duration::from_secs(100);
        loop {
            let stat = rustix::fs::statvfs(self.directory.path()).unwrap();
            if stat.f_bavail * stat.f_frsize >= bytes {
                return;
            }
            assert!(std::time::Instant::now() < end, "{} bytes are free", stat.f_bavail * stat.f_frsize);
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg("-l").arg(self.directory.path()).status().unwrap().success());
    }
}

#[test]
fn a_full_disk_fails_what_needs_space_and_breaks_nothing() {
    let disk = SmallDisk::new("4m");
    let path = disk.directory.path().join("store");
    let bed = Bed { store: open(&path), directory: tempfile::tempdir().unwrap() };
    let stack = bed.with(&[], "head -c 1000000 /dev/urandom > f");
    bed.store.flush().unwrap();

    let error = bed.store.write_blob(&mut std::io::repeat(1).take(20 << 20), None).unwrap_err();
    let source = std::error::Error::source(&error).unwrap().downcast_ref::<std::io::Error>().unwrap();
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull, "{error}");

    let whole: Vec<u8> = (0..3_500_000_u32).map(|index| (index % 251) as u8).collect();
    let tar = common::tar(&[
        common::directory("d/"),
        (lbuild_archive::Header::new("d/big", lbuild_archive::EntryKind::File, 0o644), &whole),
    ]);
    let diff_id = DiffId(Digest::of(&tar));
    let compressed = gzip(&tar);
    let (digest, size) = bed.store.write_blob(&mut &compressed[..], None).unwrap();
    let blob = lbuild_layer_store::Blob { digest, size, media_type: lbuild_oci::MediaType::LayerGzip };
    bed.store.add_layer(&lbuild_layer_store::Layer::imported(diff_id, tar.len() as u64, blob)).unwrap();
    assert!(bed.store.view(&[diff_id]).is_err());

    let active = bed.prepare(&stack);
    run(active.root(), "! head -c 20000000 /dev/zero > big 2>/dev/null");
    drop(active);

    // All that failed gave its space back.
    disk.wait_for_space(2 << 20);
    let next = bed.with(&stack, "head -c 500000 /dev/urandom > g");
    bed.store.flush().unwrap();
    drop(bed.store);
    let bed = Bed { store: open(&path), directory: bed.directory };
    assert_eq!(bed.store.layer(&diff_id).unwrap().map(|layer| layer.diff_id), Some(diff_id));
    let view = bed.store.view(&next).unwrap();
    assert_eq!(run(view.root(), "stat -c %s f g"), "1000000\n500000\n");
}
