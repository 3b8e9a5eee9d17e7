//! Images that lie about `/proc`, `/sys` and `/dev`.
//!
//! CVE-2025-31133, CVE-2025-52565, CVE-2025-52881, CVE-2026-41579: masks of `/proc`, `/dev/console` and
//! writes to files of procfs went through links that the image, or a step beside it, had put there.

use lbuild_tests::{BaseImage, entry};
use tar::{Builder, EntryType};

use crate::row::Mode;
use crate::scene::{Scene, base};

/// Reads and writes what a run must not.
const TRY: &str = "cat /proc/kcore /proc/keys /proc/timer_list 2> /dev/null | head -c 100 | wc -c; \
    echo x > /dev/null; cat /dev/null victim /dev/victim; \
    for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/hostname; do \
    (echo lbuild-test > $f) 2> /dev/null && echo \"wrote $f\"; done; true";

fn image(links: &[(&str, &str)]) -> BaseImage {
    let mut tar = Builder::new(Vec::new());
    for (name, target) in links {
        entry(&mut tar, name, EntryType::Symlink, 0o777, target.as_bytes());
    }
    base().layer(tar.into_inner().unwrap())
}

#[track_caller]
fn try_image(scene: &Scene, image: &BaseImage) {
    scene.load_base("hostile", image);
    for instructions in ["", "USER user\n"] {
        scene.dockerfile(&format!("FROM hostile\n{instructions}RUN {TRY}\n"));
        let run = scene.tried(&[]);
        assert!(!run.stderr.contains("wrote /"), "{run}");
        if run.status.success() {
            assert!(run.stderr.lines().any(|line| line.ends_with(" 0")), "something was read: {run}");
        }
    }
    scene.assert_untouched();
}

pub fn directories_of_the_kernel_are_links(mode: Mode) {
    let scene = Scene::new(mode);
    for name in ["dev", "proc", "sys"] {
        for target in [scene.outside_text(), "/", "/d", "..", "/proc/self/fd/4", "/proc/1/root"] {
            try_image(&scene, &image(&[(name, target)]));
        }
    }
    let outside = scene.outside_text();
    try_image(&scene, &image(&[("dev", "/proc"), ("proc", "/dev"), ("sys", outside)]));
}

pub fn files_of_the_kernel_are_links(mode: Mode) {
    let scene = Scene::new(mode);
    let victim = format!("{}/victim", scene.outside_text());
    for links in [
        &[("dev/null", victim.as_str()), ("dev/console", &victim), ("dev/tty", &victim)][..],
        &[
            ("dev/pts", scene.outside_text()),
            ("dev/shm", "/"),
            ("dev/mqueue", "/proc"),
            ("dev/ptmx", &victim),
        ],
        &[("proc/kcore", &victim), ("proc/sys", scene.outside_text()), ("proc/keys", "/proc/self/exe")],
        &[("sys/firmware", scene.outside_text()), ("sys/fs", "/proc/sys")],
        &[("etc/hosts", &victim)],
        &[("etc/resolv.conf", &victim)],
        &[("etc/hosts", "/proc/sys/kernel/core_pattern")],
        &[("etc/resolv.conf", "/proc/self/attr/apparmor/exec"), ("etc/hosts", "/proc/self/fd/3")],
        &[("etc/hosts", "/dev/null"), ("etc/resolv.conf", "/dev/full")],
        &[("etc/mtab", "/proc/mounts"), ("run", scene.outside_text()), ("tmp", scene.outside_text())],
    ] {
        try_image(&scene, &image(links));
    }
}

/// A step before replaced them.
pub fn a_step_replaces_them(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for script in [
        "rm -rf /etc && ln -s OUT /etc",
        "ln -sf OUT/victim /etc/passwd; ln -sf OUT/victim /etc/hosts",
        "mkdir /new && mv /d /new && ln -s OUT /d",
        "rm -rf /bin/sh && ln -s OUT/victim /bin/sh",
    ] {
        let script = script.replace("OUT", scene.outside_text());
        scene.dockerfile(&format!(
            "FROM base\nRUN {script}\nRUN cat /etc/victim /etc/hosts; touch /d/made /etc/made; true\nCOPY Dockerfile /d/\n"
        ));
        scene.tried(&[]);
        scene.assert_untouched();
    }
}
