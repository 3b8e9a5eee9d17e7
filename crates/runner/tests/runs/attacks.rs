//! Images and programs that try to get out.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::bed::{Bed, finish, tree};

/// A directory of the host that nothing must come to, nor from.
fn sentinel() -> tempfile::TempDir {
    let outside = tempfile::tempdir().unwrap();
    for file in ["null", "kcore", "hosts", "resolv.conf", "core_pattern"] {
        fs::write(outside.path().join(file), "sentinel").unwrap();
    }
    outside
}

fn assert_untouched(outside: &Path) {
    let mut names: Vec<_> = fs::read_dir(outside).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    assert_eq!(names.len(), 5);
    for name in names {
        assert_eq!(fs::read_to_string(&name).unwrap(), "sentinel", "{name:?}");
        assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o644);
    }
}

/// CVE-2025-31133, CVE-2025-52565, CVE-2025-52881
pub fn dev_proc_and_sys_as_links_are_refused() {
    for name in ["dev", "proc", "sys"] {
        let (bed, outside) = (Bed::new(), sentinel());
        for target in [outside.path(), Path::new("/work"), Path::new("/proc/self/fd/4")] {
            let _ = fs::remove_dir(bed.path(name));
            let _ = fs::remove_file(bed.path(name));
            symlink(target, bed.path(name)).unwrap();
            let error = bed.sh("true").error();
            assert!(error.contains(&format!("cannot mount /{name}")), "{error}");
            assert_untouched(outside.path());
        }
    }
}

pub fn what_the_image_has_in_dev_and_proc_has_no_effect() {
    let (bed, outside) = (Bed::new(), sentinel());
    for name in ["null", "console", "ptmx", "pts", "shm", "fd"] {
        symlink(outside.path().join("null"), bed.path("dev").join(name)).unwrap();
    }
    fs::create_dir(bed.path("proc/sys")).unwrap();
    symlink(outside.path().join("kcore"), bed.path("proc/kcore")).unwrap();
    let script = "stat -c %F /dev/null /dev/pts; [ ! -e /proc/kcore ] || cat /proc/kcore; echo x > /dev/null; ls /dev/console";
    assert_eq!(bed.sh(script).stdout, "character special file\ndirectory\n");
    assert_untouched(outside.path());
}

pub fn etc_as_a_link_stays_inside() {
    let (bed, outside) = (Bed::new(), sentinel());
    fs::remove_dir_all(bed.path("etc")).unwrap();
    symlink(outside.path(), bed.path("etc")).unwrap();
    assert!(bed.sh("true").error().contains("cannot mount /etc/hosts: No such file"));
    assert_untouched(outside.path());

    let bed = Bed::new();
    fs::rename(bed.path("etc"), bed.path("work/etc")).unwrap();
    symlink("/work/etc", bed.path("etc")).unwrap();
    assert_eq!(bed.sh("cat /work/etc/hosts").success(), "127.0.0.1 localhost\n");
}

pub fn nothing_is_mounted_over_files_of_the_kernel() {
    let bed = Bed::new();
    fs::remove_file(bed.path("etc/hosts")).unwrap();
    for target in ["/proc/sys/kernel/core_pattern", "/proc/self/attr/exec", "/proc/self/fd/1", "/sys/kernel"]
    {
        let _ = fs::remove_file(bed.path("etc/hosts"));
        symlink(target, bed.path("etc/hosts")).unwrap();
        assert!(bed.sh("true").error().contains("cannot mount /etc/hosts"), "{target}");

        let bed = Bed::new();
        symlink(target, bed.path("work/link")).unwrap();
        let mut spec = bed.script("true");
        spec.mounts = vec![tree(bed.path("tmp"), "/work/link")];
        assert!(finish(spec).error().contains("cannot mount /work/link"), "{target}");
    }
}

/// CVE-2024-21626
pub fn no_descriptor_leads_out_of_the_root() {
    let bed = Bed::new();
    for number in 0..50 {
        for path in [format!("/proc/self/fd/{number}"), format!("/proc/self/fd/{number}/../../..")] {
            let mut spec = bed.script("pwd; ls");
            spec.cwd = path.clone().into();
            let error = finish(spec).error();
            assert!(error.contains("working directory"), "{path}: {error}");
        }
    }
    symlink("/proc/self/fd/5", bed.path("work/link")).unwrap();
    let mut spec = bed.script("ls");
    spec.cwd = "/work/link".into();
    assert!(finish(spec).error().contains("working directory"));
    // Nor to the program while it starts.
    for number in 3..50 {
        let program = format!("/proc/self/fd/{number}/bin/sh");
        assert!(finish(bed.spec(&[&program])).error().contains("not found"), "{program}");
    }
}

/// CVE-2019-5736: the image has the builder's own program file executed, with a library of the
/// image in it, keeps it open and writes to it once nothing executes it any more.
pub fn the_builders_program_file_cannot_be_written() {
    let bed = Bed::new();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runs/takeover.c");
    let library = bed.path("tmp/takeover.so");
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status();
    assert!(compiled.expect("a C compiler is needed").success());
    bed.write_program("bin/entry", b"#!/proc/self/exe\n");
    let libraries = ["lib", "lib64", "usr"].map(|name| format!("/{name}"));
    for library in &libraries {
        fs::create_dir(bed.path(&library[1..])).unwrap();
    }
    let ours = fs::read("/proc/self/exe").unwrap();
    for entry in ["/bin/entry", "/proc/self/exe"] {
        let mut spec = bed.spec(&[entry]);
        spec.env.push(("LD_PRELOAD".into(), "/tmp/takeover.so".into()));
        let present = libraries.iter().filter(|library| Path::new(library).is_dir());
        spec.mounts = present.map(|library| tree(library, library)).collect();
        let finished = finish(spec);
        // As long as any lbuild runs, the file is busy as well.
        assert_eq!(finished.success(), "read-only\ntried\n");
        assert!(fs::read("/proc/self/exe").unwrap() == ours);
    }
}

/// CVE-2024-23651, CVE-2021-30465
pub fn a_target_that_changes_meanwhile_never_leads_out() {
    let (bed, outside) = (Bed::new(), sentinel());
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(bed.path("work/real")).unwrap();
    symlink(outside.path(), bed.path("work/other")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (real, other, spare) =
                (bed.path("work/real"), bed.path("work/other"), bed.path("work/spare"));
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for (from, to) in [(&real, &spare), (&other, &real), (&real, &other), (&spare, &real)] {
                    fs::rename(from, to).unwrap();
                }
            }
        });
        for _ in 0..100 {
            let mut spec = bed.script("cat /work/real/hosts /work/other/hosts");
            spec.mounts = vec![tree(source.path(), "/work/real")];
            assert!(!finish(spec).stdout.contains("sentinel"));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_untouched(outside.path());
}
