//! What else is mounted into a run.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use lbuild_runner::{Cancel, Mount, MountSource, User, run};
use rustix::fs::{Mode, OFlags, mkdirat, openat, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount, mount_change, unmount,
};

use crate::bed::{Bed, finish, spec_in, tree};

pub fn a_directory_is_mounted_for_writing_or_not() {
    let bed = Bed::new();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), "content").unwrap();
    let mut spec = bed.script("cat /work/file; echo new > /work/new");
    spec.mounts = vec![tree(source.path(), "/work")];
    assert_eq!(finish(spec).success(), "content");
    assert_eq!(fs::read_to_string(source.path().join("new")).unwrap(), "new\n");

    let mut spec = bed.script("cat /work/file; echo new > /work/newer");
    spec.mounts = vec![Mount { read_only: true, ..tree(source.path(), "/work") }];
    assert!(finish(spec).failure().contains("Read-only file system"));
    assert!(!source.path().join("newer").exists());
    assert_eq!(fs::read_dir(bed.path("work")).unwrap().count(), 0);
}

pub fn a_file_is_mounted_on_a_file_only() {
    let bed = Bed::new();
    let mut spec = bed.script("cat /etc/motd");
    spec.mounts = vec![tree("/etc/hostname", "/etc/motd")];
    assert_eq!(finish(spec).success(), fs::read_to_string("/etc/hostname").unwrap());
    let mut spec = bed.script("true");
    spec.mounts = vec![tree("/etc/hostname", "/work")];
    let error = finish(spec).error();
    assert!(error.contains("cannot mount /work: Is a directory"), "{error}");
    let mut spec = bed.script("true");
    spec.mounts = vec![tree("/etc", "/etc/motd")];
    let error = finish(spec).error();
    assert!(error.contains("cannot mount /etc/motd: Not a directory"), "{error}");
}

pub fn later_mounts_lie_in_earlier_ones() {
    let bed = Bed::new();
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("inner")).unwrap();
    let tmpfs = |target: &str, mode| Mount {
        source: MountSource::Tmpfs { size: Some(1 << 20), mode },
        target: target.into(),
        read_only: false,
    };
    let mut spec =
        bed.script("stat -c %a /work/inner /tmp; touch /work/inner/x && df -k /tmp | awk 'END { print $2 }'");
    spec.mounts = vec![tree(source.path(), "/work"), tmpfs("/work/inner", 0o700), tmpfs("/tmp", 0o1777)];
    assert_eq!(finish(spec).success(), "700\n1777\n1024\n");
    assert_eq!(fs::read_dir(source.path().join("inner")).unwrap().count(), 0);
}

pub fn a_secret_has_its_mode_and_owner_and_leaves_no_trace() {
    let bed = Bed::new();
    fs::write(bed.path("work/secret"), "").unwrap();
    let secret = |mode, uid| Mount {
        source: MountSource::File { content: b"s3cr\xe9t\0".to_vec(), mode, uid, gid: 9 },
        target: "/work/secret".into(),
        read_only: true,
    };
    let mut spec =
        bed.script("stat -c '%a %u %g' /work/secret; od -An -tx1 /work/secret; echo x > /work/secret");
    spec.mounts = vec![secret(0o440, 7)];
    let finished = finish(spec);
    assert_eq!(finished.stdout, "440 7 9\n 73 33 63 72 e9 74 00\n");
    assert!(finished.failure().contains("Read-only file system"));
    assert_eq!(fs::read(bed.path("work/secret")).unwrap(), b"");

    let mut spec = bed.script("cat /work/secret");
    spec.mounts = vec![secret(0o400, 0)];
    spec.user = User { uid: 7, gid: 7, groups: vec![] };
    assert!(finish(spec).failure().contains("Permission denied"));
}

pub fn a_file_from_memory_is_executable_if_its_mode_says_so() {
    let bed = Bed::new();
    fs::write(bed.path("work/script"), "").unwrap();
    let script = |mode| {
        let mut spec = bed.script("/work/script");
        let content = b"#!/bin/sh\necho ran\n".to_vec();
        let source = MountSource::File { content, mode, uid: 0, gid: 0 };
        spec.mounts = vec![Mount { source, target: "/work/script".into(), read_only: true }];
        finish(spec)
    };
    assert_eq!(script(0o555).success(), "ran\n");
    assert!(script(0o444).failure().contains("Permission denied"));
}

pub fn a_socket_is_mounted() {
    let bed = Bed::new();
    let source = tempfile::tempdir().unwrap();
    let path = source.path().join("agent");
    let _listener = UnixListener::bind(&path).unwrap();
    let socket: OwnedFd = rustix::fs::open(&path, OFlags::PATH, Mode::empty()).unwrap();
    fs::write(bed.path("work/agent"), "").unwrap();
    let mut spec = bed.script("stat -c %F /work/agent");
    let source = MountSource::Tree(socket);
    spec.mounts = vec![Mount { source, target: "/work/agent".into(), read_only: false }];
    assert_eq!(finish(spec).success(), "socket\n");
}

pub fn targets_are_resolved_inside_the_root() {
    let bed = Bed::new();
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("file"), "content").unwrap();
    symlink("/work", bed.path("absolute")).unwrap();
    symlink("../../../../../../work", bed.path("etc/relative")).unwrap();
    for target in ["/absolute", "/etc/relative", "/etc/../../../work"] {
        let mut spec = bed.script("cat /work/file");
        spec.mounts = vec![tree(source.path(), target)];
        assert_eq!(finish(spec).success(), "content", "{target}");
    }
}

pub fn parts_of_a_tree_are_mounted() {
    let bed = Bed::new();
    fs::write(bed.path("work/file"), "").unwrap();
    let run = |part: &str, target: &str| {
        let root = detached("tmpfs", &[]);
        for directory in ["a", "a/b"] {
            mkdirat(&root, directory, Mode::RWXU).unwrap();
        }
        symlinkat("/a/b", &root, "link").unwrap();
        symlinkat("../../../../etc/passwd", &root, "a/out").unwrap();
        let file = openat(&root, "a/b/file", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
        fs::File::from(file).write_all(b"inside").unwrap();
        let mut spec = bed.script("cat /work/file && ls /work");
        let source = MountSource::TreeAt { root, path: part.into() };
        spec.mounts = vec![Mount { source, target: target.into(), read_only: false }];
        finish(spec)
    };
    for (part, target) in [("a/b", "/work"), ("link", "/work"), ("/a/b/file", "/work/file")] {
        assert_eq!(run(part, target).success(), "insidefile\n", "{part}");
    }
    let error = run("a/out", "/work/file").error();
    assert!(error.contains("cannot mount /work/file: No such file"), "{error}");
}

pub fn the_root_may_be_a_detached_mount() {
    let bed = Bed::new();
    let upper = tempfile::tempdir().unwrap();
    for directory in ["upper", "work"] {
        fs::create_dir(upper.path().join(directory)).unwrap();
    }
    let overlay = || {
        let options = [
            ("lowerdir", bed.path("")),
            ("upperdir", upper.path().join("upper")),
            ("workdir", upper.path().join("work")),
        ];
        detached("overlay", &options)
    };
    for number in 0..3 {
        let script = format!(
            "echo {number} >> /etc/motd; cat /etc/motd | wc -l; grep ' / / ' /proc/self/mountinfo | grep -o overlay"
        );
        let finished = finish(spec_in(overlay(), &["/bin/sh", "-c", &script]));
        assert_eq!(finished.success(), format!("{}\noverlay\n", number + 2));
    }
    assert_eq!(fs::read_to_string(upper.path().join("upper/etc/motd")).unwrap(), "hello\n0\n1\n2\n");
    assert_eq!(fs::read_dir(upper.path().join("upper")).unwrap().count(), 1);
}

pub fn nothing_is_mounted_on_the_host_through_a_shared_mount() {
    let bed = Bed::new();
    let shared = SharedMount::over(bed.path(""));
    for directory in ["bin", "dev", "etc", "proc", "sys", "work"] {
        fs::create_dir(bed.path(directory)).unwrap();
    }
    bed.copy_program("/bin/busybox", "bin/sh");
    for file in ["hosts", "resolv.conf"] {
        fs::write(bed.path("etc").join(file), "").unwrap();
    }
    let mut spec = bed.script("echo mounted");
    spec.mounts = vec![tree(bed.path("etc"), "/work")];
    let mut seen = Vec::new();
    let mut output = |_, _: &[u8]| seen.push(shared.mounts());
    run(spec, &mut output, &Cancel::new().unwrap()).unwrap();
    assert_eq!(seen, [1]);
}

/// A file system that is mounted nowhere.
fn detached(name: &str, options: &[(&str, PathBuf)]) -> OwnedFd {
    let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
    for (key, value) in options {
        fsconfig_set_string(&context, *key, value.to_str().unwrap()).unwrap();
    }
    fsconfig_create(&context).unwrap();
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap()
}

/// A file system in memory, as most of a host's are: what is mounted in it appears wherever it is
/// mounted itself.
struct SharedMount(PathBuf);

impl SharedMount {
    fn over(path: PathBuf) -> Self {
        mount("tmpfs", &path, "tmpfs", MountFlags::empty(), None).unwrap();
        let shared = Self(path);
        mount_change(&shared.0, MountPropagationFlags::SHARED).unwrap();
        shared
    }

    /// How many mounts this process sees at it and in it.
    fn mounts(&self) -> usize {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let path = self.0.to_str().unwrap().trim_end_matches('/');
        mounts.lines().filter(|line| line.split(' ').nth(4).unwrap().starts_with(path)).count()
    }
}

impl Drop for SharedMount {
    fn drop(&mut self) {
        unmount(&self.0, UnmountFlags::DETACH).unwrap();
    }
}
