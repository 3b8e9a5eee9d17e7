//! What a run may do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use lbuild_runner::{Security, User};

use crate::bed::{Bed, Finished, finish};

const EPERM: &str = "1";
const ENOSYS: &str = "38";

/// Docker's fourteen capabilities.
const DEFAULT: &str = "00000000a80425fb";
const NONE: &str = "0000000000000000";

fn status(finished: Finished) -> Vec<(String, String)> {
    let status = finished.success();
    let fields = status.lines().filter_map(|line| line.split_once(":\t"));
    fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn field<'a>(status: &'a [(String, String)], name: &str) -> &'a str {
    &status.iter().find(|(field, _)| field == name).unwrap().1
}

pub fn root_has_dockers_capabilities() {
    let bed = Bed::new();
    let status = status(bed.sh("cat /proc/self/status"));
    for (name, expected) in [
        ("CapInh", NONE),
        ("CapPrm", DEFAULT),
        ("CapEff", DEFAULT),
        ("CapBnd", DEFAULT),
        ("CapAmb", NONE),
        ("NoNewPrivs", "0"),
        ("Seccomp", "2"),
    ] {
        assert_eq!(field(&status, name), expected, "{name}");
    }
}

pub fn another_user_has_none_but_may_become_root_by_a_program() {
    let bed = Bed::with_probe();
    let mut spec = bed.script("cat /proc/self/status");
    spec.user = User { uid: 1234, gid: 2345, groups: vec![2345, 77, 88] };
    let status = status(finish(spec));
    for (name, expected) in [
        ("Uid", "1234\t1234\t1234\t1234"),
        ("Gid", "2345\t2345\t2345\t2345"),
        ("Groups", "77 88 2345 "),
        ("CapInh", NONE),
        ("CapPrm", NONE),
        ("CapEff", NONE),
        ("CapBnd", DEFAULT),
        ("CapAmb", NONE),
    ] {
        assert_eq!(field(&status, name), expected, "{name}");
    }

    fs::set_permissions(bed.path("bin/probe"), fs::Permissions::from_mode(0o4755)).unwrap();
    for (no_new_privileges, expected) in [(false, "be-root 0\n"), (true, "be-root 13\n")] {
        let mut spec = bed.spec(&["probe", "be-root"]);
        spec.user = User { uid: 1234, gid: 2345, groups: vec![] };
        spec.no_new_privileges = no_new_privileges;
        assert_eq!(finish(spec).success(), expected);
    }
}

pub fn a_user_can_reopen_its_output_and_owns_what_it_writes() {
    let bed = Bed::new();
    fs::set_permissions(bed.path("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let mut spec = bed.script("echo out > /dev/stdout; echo err > /proc/self/fd/2; touch /tmp/x; umask");
    spec.user = User { uid: 1234, gid: 2345, groups: vec![] };
    let finished = finish(spec);
    assert_eq!(finished.stderr, "err\n");
    assert_eq!(finished.success(), "out\n0022\n");
    let metadata = fs::metadata(bed.path("tmp/x")).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o777), (1234, 2345, 0o644));
}

pub fn an_insecure_run_has_all_capabilities_and_no_filter() {
    let bed = Bed::with_probe();
    let mut spec =
        bed.script("cat /proc/self/status; mount -t tmpfs none /tmp && probe keyctl | sed 's/ /:\t/'");
    spec.security = Security::Insecure;
    let status = status(finish(spec));
    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let ours = ours.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).unwrap();
    for (name, expected) in
        [("CapEff", ours), ("CapBnd", ours), ("CapInh", NONE), ("Seccomp", "0"), ("keyctl", "0")]
    {
        assert_eq!(field(&status, name), expected, "{name}");
    }
}

pub fn system_calls_are_filtered() {
    let bed = Bed::with_probe();
    let mut expected = vec![
        ("keyctl", EPERM),
        ("add_key", EPERM),
        ("unshare", EPERM),
        ("clone-newuser", EPERM),
        ("clone3", ENOSYS),
        ("bpf", EPERM),
        ("io_uring_setup", EPERM),
        ("mount", EPERM),
        ("af_inet", "0"),
        ("af_alg", EPERM),
        ("af_alg-upper-half", EPERM),
        ("af_vsock", EPERM),
        ("personality", "0"),
        ("personality-odd", EPERM),
        ("tiocsti", EPERM),
    ];
    if cfg!(target_arch = "x86_64") {
        expected.extend([
            ("x32-getpid", EPERM),
            ("i386-getpid", "0"),
            ("i386-af_alg", EPERM),
            ("i386-socketcall", ENOSYS),
            ("i386-mount", EPERM),
            ("i386-keyctl", EPERM),
        ]);
    }
    let mut args = vec!["probe"];
    args.extend(expected.iter().map(|(name, _)| name));
    let expected: String = expected.iter().map(|(name, errno)| format!("{name} {errno}\n")).collect();
    assert_eq!(finish(bed.spec(&args)).success(), expected);
}

pub fn namespaces_and_mounts_are_denied() {
    let bed = Bed::new();
    for command in [
        "unshare -r true",
        "unshare -m true",
        "mount -t tmpfs none /tmp",
        "mount -o remount,rw /sys",
        "umount /proc/sys",
        "hostname other",
        "nsenter -t 1 -m true",
    ] {
        bed.sh(command).failure();
    }
}

pub fn device_nodes_can_be_made_but_not_opened() {
    let bed = Bed::new();
    for directory in ["/tmp", "/dev", "/dev/shm"] {
        let script = format!(
            "mknod {directory}/disk b 254 0 && mknod {directory}/mine c 1 5 && \
            for f in disk mine; do head -c 1 {directory}/$f; done 2>&1"
        );
        let printed = bed.sh(&script).stdout;
        assert_eq!(printed.matches("Permission denied").count(), 2, "{directory}: {printed}");
        assert!(printed.starts_with("head: "), "{printed}");
    }
}

pub fn changing_null_does_not_change_the_hosts() {
    let bed = Bed::new();
    let before = fs::metadata("/dev/null").unwrap();
    bed.sh("chmod 600 /dev/null /dev/stdin; chown 5:5 /dev/null /dev/stdin").success();
    let after = fs::metadata("/dev/null").unwrap();
    assert_eq!((before.mode(), before.uid()), (after.mode(), after.uid()));
}
