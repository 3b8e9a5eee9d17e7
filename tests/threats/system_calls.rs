//! System calls and rights that a RUN must not have.
//!
//! CVE-2026-31431: a socket of AF_ALG wrote to the page cache of files that the caller could only read.
//! CVE-2022-27651: a runtime gave the programs of a container inheritable capabilities.

use crate::row::Mode;
use crate::scene::Scene;

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

/// Runs `/bin/probe` with these calls and returns what it prints: a call and its error number a line.
fn probe(scene: &Scene, user: &str, calls: &[&str]) -> Vec<(String, i32)> {
    scene.dockerfile(&format!("FROM base\n{user}RUN probe {}\n", calls.join(" ")));
    let run = scene.build(["--no-cache"]).success();
    let results = run.stderr.lines().filter_map(|line| {
        let mut words = line.split(' ').rev();
        let errno = words.next()?.parse().ok()?;
        let call = words.next()?;
        calls.contains(&call).then(|| (call.to_owned(), errno))
    });
    let results: Vec<_> = results.collect();
    assert_eq!(results.len(), calls.len(), "{run}");
    results
}

pub fn sockets_of_the_kernels_ciphers(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let mut calls = vec!["af_alg", "af_alg-upper-half", "af_vsock"];
    if cfg!(target_arch = "x86_64") {
        calls.extend(["i386-af_alg", "i386-socketcall"]);
    }
    for user in ["", "USER user\n", "USER 0:1000\n"] {
        for (call, errno) in probe(&scene, user, &calls) {
            assert!(errno != 0, "{call} was possible");
        }
    }
}

pub fn calls_that_docker_forbids(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let mut calls = vec![
        "keyctl",
        "add_key",
        "unshare",
        "clone-newuser",
        "clone3",
        "bpf",
        "io_uring_setup",
        "mount",
        "tiocsti",
        "personality-odd",
        "userfaultfd",
        "open_by_handle_at",
        "kexec_load",
        "init_module",
        "delete_module",
        "setns",
        "pivot_root",
        "fsopen",
        "fsmount",
        "open_tree",
        "move_mount",
        "mount_setattr",
        "quotactl",
        "reboot",
        "swapon",
        "acct",
        "settimeofday",
        "perf_event_open",
        "umount",
        "sethostname",
        "syslog",
        "vhangup",
        "fanotify_init",
    ];
    if cfg!(target_arch = "x86_64") {
        calls.extend(["x32-getpid", "i386-mount", "i386-keyctl"]);
    }
    for user in ["", "USER user\n"] {
        let results = probe(&scene, user, &calls);
        // Any other error would come from the call itself.
        let possible: Vec<_> = results.iter().filter(|(_, errno)| ![EPERM, ENOSYS].contains(errno)).collect();
        assert!(possible.is_empty(), "{possible:?}");
    }
}

pub fn inheritable_capabilities(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for user in ["", "USER user\n", "USER 12345\n"] {
        scene.dockerfile(&format!(
            "FROM base\n{user}RUN grep -E '^Cap(Inh|Amb)' /proc/self/status; grep ^CapBnd /proc/1/status\n"
        ));
        let run = scene.build(["--no-cache"]).success();
        let field = |name: &str| {
            let line = run.stderr.lines().find(|line| line.contains(&format!(" {name}:")));
            line.and_then(|line| line.split_whitespace().next_back()).unwrap_or_default().to_owned()
        };
        for name in ["CapInh", "CapAmb"] {
            assert_eq!(field(name), "0000000000000000", "{name}: {run}");
        }
        // None beyond Docker's fourteen.
        assert_eq!(field("CapBnd"), "00000000a80425fb", "{run}");
    }
}

/// `--security=insecure` and `--network=host` need the user's word.
pub fn rights_that_the_dockerfile_asks_for(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for (option, allow) in [
        ("--security=insecure", "security.insecure"),
        ("--network=host", "network.host"),
        ("--device=required,vendor.com/device=x", "device"),
        ("--security=unconfined", ""),
        ("--network=container:x", ""),
        ("--privileged", ""),
    ] {
        scene.dockerfile(&format!("FROM base\nRUN {option} true\n"));
        scene.refused(&[], &["Dockerfile:2"]);
        scene.dockerfile(&format!("FROM base\nONBUILD RUN {option} true\n"));
        if scene.tried(&[]).status.success() && !allow.is_empty() {
            scene.lbuild(["tag", &scene.name(), "trigger"]).success();
            scene.dockerfile("FROM trigger\n");
            scene.refused(&[], &[]);
        }
    }
}
