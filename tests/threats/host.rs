//! What a RUN must not reach of the machine.

use std::fs;
use std::time::{Duration, Instant};

use lbuild_tests::Run;

use crate::row::Mode;
use crate::scene::Scene;

/// Runs a script as root and as a user; returns what both print. A line with `REACHED` is a way out.
#[track_caller]
fn try_script(scene: &Scene, script: &str) {
    for user in ["", "USER user\n"] {
        scene.dockerfile(&format!("FROM base\n{user}RUN <<EOF\n{script}\nEOF\n"));
        let run = scene.tried(&["--no-cache"]);
        // The Dockerfile's own text is shown by a failure.
        let reached = run.stderr.lines().any(|line| line.starts_with('#') && line.ends_with("REACHED"));
        assert!(!reached, "{script}: {run}");
    }
    scene.assert_untouched();
}

/// Other processes, through `/proc` and by signals.
pub fn other_processes(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    let mine = std::process::id();
    try_script(
        &scene,
        &format!(
            "for p in /proc/[0-9]*; do cat $p/root{outside}/victim $p/cwd/victim $p/environ; \
             ls $p/root/proc/1/root{outside}; done 2> /dev/null | grep -q 'sentinel<' && echo REACHED\n\
             [ -e /proc/{mine} ] && [ {mine} -gt 200 ] && echo REACHED\n\
             kill -0 {mine} 2> /dev/null && [ {mine} -gt 200 ] && echo REACHED\n\
             [ $(ls -d /proc/[0-9]* | wc -l) -lt 10 ] || echo REACHED\n\
             nsenter -t 1 -m true 2> /dev/null && nsenter -t 1 -m ls {outside} 2> /dev/null && echo REACHED\n\
             true"
        ),
    );
}

/// Settings of the kernel.
pub fn settings_of_the_kernel(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let before = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    // Each write is of the value that is there, so that nothing changes where it is possible.
    try_script(
        &scene,
        "for f in /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe /proc/sys/fs/binfmt_misc/register \
         /proc/sys/kernel/hotplug /proc/sys/vm/overcommit_memory /proc/sys/net/ipv4/ip_forward \
         /proc/sysrq-trigger /sys/kernel/uevent_helper /sys/kernel/mm/transparent_hugepage/enabled \
         /proc/irq/default_smp_affinity /proc/bus/pci /sys/power/state /proc/1/oom_score_adj.none; do \
         [ -f $f ] || continue; v=$(cat $f 2> /dev/null); \
         (printf %s \"$v\" > $f) 2> /dev/null && echo REACHED; chmod 666 $f 2> /dev/null && echo REACHED; done\n\
         for d in /proc/sys /proc/irq /proc/bus /sys/fs /sys/kernel /sys/class; do \
         mkdir $d/lbuild-test 2> /dev/null && echo REACHED; touch $d/lbuild-test 2> /dev/null && echo REACHED; done\n\
         cat /proc/kcore /proc/keys /proc/timer_list /proc/latency_stats 2> /dev/null | head -c 1 | grep -q . && echo REACHED\n\
         true",
    );
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), before);
}

/// Control groups, whose `release_agent` the kernel runs on the host.
pub fn control_groups(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    try_script(
        &scene,
        "for m in /sys/fs/cgroup /tmp/cg; do mkdir -p $m 2> /dev/null; \
         mount -t cgroup -o rdma cgroup $m 2> /dev/null && echo REACHED; \
         mount -t cgroup2 none $m 2> /dev/null && echo REACHED; \
         mkdir $m/lbuild-test 2> /dev/null && [ $m != /tmp/cg ] && echo REACHED; \
         for f in release_agent notify_on_release cgroup.procs memory.max pids.max; do \
         [ -e $m/$f ] && (echo 0 > $m/$f) 2> /dev/null && echo REACHED; done; done\n\
         cut -d: -f3 /proc/self/cgroup | grep -q lbuild-test && echo REACHED\n\
         true",
    );
}

/// Disks and devices, by nodes that the step makes. The numbers are those of no real device.
pub fn devices(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    try_script(
        &scene,
        "for d in /tmp /dev/shm /d /dev; do for n in 'b 254 0' 'b 7 200' 'c 1 1' 'c 1 2' 'c 10 200' 'c 1 5'; do \
         rm -f $d/node; mknod $d/node $n 2> /dev/null || continue; \
         (head -c 1 $d/node > /dev/null) 2> /dev/null && echo REACHED; \
         (: > $d/node) 2> /dev/null && echo REACHED; rm -f $d/node; done; done\n\
         ls /dev | grep -vxE 'core|fd|full|mqueue|null|ptmx|pts|random|shm|stderr|stdin|stdout|tty|urandom|zero|console' && echo REACHED\n\
         mount -o remount,dev / 2> /dev/null && echo REACHED\n\
         mount -o remount,rw /sys 2> /dev/null && echo REACHED\n\
         mount -t tmpfs none /tmp 2> /dev/null && echo REACHED\n\
         umount /proc/sys /proc/kcore /etc/hosts 2> /dev/null && echo REACHED\n\
         chroot / true 2> /dev/null; hostname lbuild-test 2> /dev/null && echo REACHED; true",
    );
    assert!(!fs::read_to_string("/proc/sys/kernel/hostname").unwrap().contains("lbuild-test"));
}

/// The caller's own environment, and what lbuild's helpers make of the Dockerfile's.
pub fn the_environment(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    scene.dockerfile(&format!(
        "FROM base\nENV LD_PRELOAD={out}/x.so LD_LIBRARY_PATH={out} BASH_ENV={out}/x ENV={out}/x TMPDIR={out} \
         LBUILD_ROOT={out} HOME={out} XDG_RUNTIME_DIR={out} GCONV_PATH={out} RUST_LOG=trace PATH=/bin\n\
         RUN env; touch $TMPDIR/made $HOME/made; true\nRUN [\"env\"]\n",
        out = scene.outside_text()
    ));
    let mut build = scene.build_command(["--no-cache"]);
    build.env("SECRET_OF_THE_CALLER", "must-not-be-seen");
    let run = scene.unseen(Run::of(&mut build)).success();
    assert!(!run.stderr.contains("must-not-be-seen"), "{run}");
    assert!(!run.stderr.contains(scene.store().to_str().unwrap()), "the store's place is told: {run}");
}

/// Processes and memory without an end are ended by their limits.
pub fn limits_of_a_step(mode: Mode) {
    let scene =
        Scene::with_base(mode, "FROM base\nRUN f() { f | f & }; (f) 2> /dev/null; sleep 1; echo over\n");
    scene.tried(&["--pids-limit", "64"]);
    scene.dockerfile("FROM base\nRUN head -c 300m /dev/zero | tail > /dev/null && echo REACHED-THE-END\n");
    let run = scene.tried(&["--memory", "32m"]);
    assert!(!run.status.success(), "{run}");
}

/// A step ends with its output, however much there is, and whatever is left behind it.
pub fn output_without_an_end(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let start = Instant::now();
    scene.dockerfile(
        "FROM base\nRUN head -c 20m /dev/zero | tr '\\0' 'x'; (sleep 1000 &) ; yes | head -c 1m\n",
    );
    Run::of(&mut scene.build_showing("quiet", &["--no-cache"])).success();
    assert!(start.elapsed() < Duration::from_secs(100), "{:?}", start.elapsed());
}

/// What a step prints does not drive the terminal.
pub fn output_that_drives_the_terminal(mode: Mode) {
    let scene = Scene::with_base(
        mode,
        "FROM base\nRUN printf '\\033]0;title\\007\\033[2J\\033]52;c;eA==\\007\\033[6n\\233x\\r\\b\\b#9 DONE faked\\n'; \
         printf 'no line end\\033[8m'\nRUN printf '\\033c' >&2; exit 3\n",
    );
    for progress in ["plain", "rawjson", "auto"] {
        let run = Run::of(&mut scene.build_showing(progress, &["--no-cache"]));
        assert_eq!(run.status.code(), Some(1), "{run}");
        for forbidden in ["\u{1b}]", "\u{1b}[2J", "\u{1b}[6n", "\u{1b}c", "\u{7}", "\u{8}"] {
            assert!(!run.stderr.contains(forbidden), "{progress}: {forbidden:?} came through: {run:?}");
        }
    }
}
