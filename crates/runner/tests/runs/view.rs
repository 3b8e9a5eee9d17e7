//! What a run sees of the machine.

use std::fs;

use lbuild_runner::{Network, Security, mount_points};

use crate::bed::{Bed, finish, tree};

pub fn every_namespace_but_the_network_is_its_own() {
    let bed = Bed::new();
    let printed =
        bed.sh("for ns in mnt pid ipc uts cgroup user net; do readlink /proc/self/ns/$ns; done").success();
    for namespace in printed.lines() {
        let kind = namespace.split(':').next().unwrap();
        let ours = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        let shared = matches!(kind, "net" | "user");
        assert_eq!(ours.to_str().unwrap() == namespace, shared, "{namespace}");
    }
    assert_eq!(printed.lines().count(), 7);
}

pub fn the_program_is_the_first_process_and_sees_only_its_own() {
    let bed = Bed::new();
    assert_eq!(bed.sh("echo $$; exec ls -d /proc/[0-9]*").success(), "1\n/proc/1\n");
}

pub fn its_session_hostname_and_umask_are_its_own() {
    let bed = Bed::new();
    let printed =
        bed.sh("hostname; umask; cut -d' ' -f5,6 /proc/self/stat; cat /proc/self/oom_score_adj").success();
    let lines: Vec<_> = printed.lines().collect();
    // Process group and session of the shell, which is process 1.
    assert_eq!(lines[..3], ["buildkitsandbox", "0022", "1 1"]);
    assert!(lines[3].parse::<i32>().unwrap() >= 0);
    assert_ne!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim(), lines[0]);
}

pub fn signals_are_as_a_program_expects_them() {
    let bed = Bed::new();
    let status = bed.sh("exec grep -E '^(SigBlk|SigIgn|SigPnd)' /proc/self/status").success();
    assert_eq!(status, "SigPnd:\t0000000000000000\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

pub fn only_three_files_are_open() {
    let bed = Bed::new();
    // The fourth is the directory that `ls` reads.
    let listed = finish(bed.spec(&["ls", "-l", "/proc/self/fd"])).stdout;
    assert_eq!(listed.lines().filter(|line| line.contains(" -> ")).count(), 3, "{listed}");
    assert!(listed.contains("0 -> /dev/null"), "{listed}");
    assert!(listed.matches("pipe:").count() == 2, "{listed}");
}

pub fn mounts_name_no_path_of_the_host() {
    let bed = Bed::new();
    let mounts = bed.sh("cat /proc/self/mountinfo").success();
    let mut points: Vec<_> = mounts.lines().map(|line| line.split(' ').nth(4).unwrap()).collect();
    points.retain(|point| !point.starts_with("/proc/") && !point.starts_with("/sys/"));
    assert_eq!(
        points,
        [
            "/",
            "/proc",
            "/sys",
            "/dev",
            "/dev/null",
            "/dev/zero",
            "/dev/full",
            "/dev/random",
            "/dev/urandom",
            "/dev/tty",
            "/dev/pts",
            "/dev/shm",
            "/dev/mqueue",
            "/etc/hosts",
            "/etc/resolv.conf",
        ]
    );
    for line in mounts.lines() {
        assert!(!line.contains(" shared:") && !line.contains(" master:"), "{line}");
        let fields: Vec<_> = line.split(' ').collect();
        let (root, point) = (fields[3], fields[4]);
        // Of the root, its place in its own file system.
        assert!(point == "/" || !root.contains("tmp"), "{line}");
    }
}

pub fn dev_has_the_usual_devices() {
    let bed = Bed::new();
    let script = "
        for node in null zero full random urandom tty; do stat -c '%n %F %t,%T %a' /dev/$node; done
        echo x > /dev/null && head -c 4 /dev/zero | od -An -tx1 && head -c 4 /dev/urandom | wc -c
        echo x 2>&- > /dev/full || echo full
        cd /dev; for link in fd stdin stdout stderr ptmx core; do readlink $link; done
        echo error > /dev/stderr; echo output > /dev/stdout
        stat -c '%a' /dev/shm /dev/pts/ptmx /dev";
    let finished = bed.sh(script);
    assert_eq!(finished.stderr, "error\n");
    assert_eq!(
        finished.success(),
        "/dev/null character special file 1,3 666\n\
         /dev/zero character special file 1,5 666\n\
         /dev/full character special file 1,7 666\n\
         /dev/random character special file 1,8 666\n\
         /dev/urandom character special file 1,9 666\n\
         /dev/tty character special file 5,0 666\n \
         00 00 00 00\n4\nfull\n\
         /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n/proc/kcore\n\
         output\n1777\n666\n755\n"
    );
}

pub fn pseudo_terminals_can_be_made() {
    let bed = Bed::with_probe();
    assert_eq!(finish(bed.spec(&["probe", "terminal"])).success(), "terminal 0\n");
}

pub fn proc_and_sys_are_masked_and_read_only() {
    let bed = Bed::new();
    let script = "
        for f in kcore keys timer_list interrupts sched_debug; do
            [ ! -e /proc/$f ] || [ $(cat /proc/$f | wc -c) = 0 ] || echo /proc/$f is readable
        done
        for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware /sys/devices/virtual/powercap; do
            [ ! -e $d ] || [ -z \"$(ls $d)\" ] || echo $d is not empty
            touch $d/x 2> /dev/null && echo $d is writable
        done
        for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel/uevent_helper; do
            [ ! -e $f ] || { echo x > $f; } 2> /dev/null && [ -e $f ] && echo $f is writable
        done
        grep -c . /proc/self/status /proc/sys/kernel/ostype
        mount | grep -E ' on /(proc|sys|proc/sys) ' | sed 's/ type.*(/ /'";
    let printed = bed.sh(script).stdout;
    let lines: Vec<_> = printed.lines().skip(2).collect();
    assert_eq!(
        lines,
        [
            "proc on /proc rw,nosuid,nodev,noexec,relatime)",
            "sysfs on /sys ro,nosuid,nodev,noexec,relatime)",
            "proc on /proc/sys ro,nosuid,nodev,noexec,relatime)",
        ]
    );
}

pub fn an_insecure_run_sees_all_of_proc() {
    let bed = Bed::new();
    let mut spec = bed
        .script("mount | grep -c -E ' on /(proc|sys)/'; mount | grep -o ' on /sys type.*(..'; ls /dev/fuse");
    spec.security = Security::Insecure;
    assert_eq!(finish(spec).stdout, "0\n on /sys type sysfs (rw\n/dev/fuse\n");
}

pub fn without_a_network_there_is_loopback_only() {
    let bed = Bed::new();
    let script =
        "ls /sys/class/net; cat /sys/class/net/lo/operstate; ping -c 1 -W 1 127.0.0.1 > /dev/null && echo up;
        cat /proc/net/route | wc -l; readlink /proc/self/ns/net";
    let mut spec = bed.script(script);
    spec.network = Network::None;
    let printed = finish(spec).success();
    let ours = fs::read_link("/proc/self/ns/net").unwrap();
    let (interfaces, namespace) = printed.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(interfaces, "lo\nunknown\nup\n1");
    assert_ne!(namespace, ours.to_str().unwrap());
}

pub fn hosts_and_resolv_conf_leave_no_trace() {
    let bed = Bed::new();
    let script = "cat /etc/hosts /etc/resolv.conf; echo more >> /etc/hosts; echo more > /etc/resolv.conf; tail -n1 /etc/hosts /etc/resolv.conf | grep -c more";
    assert_eq!(bed.sh(script).success(), "127.0.0.1 localhost\nnameserver 192.0.2.1\n2\n");
    for file in ["etc/hosts", "etc/resolv.conf"] {
        assert_eq!(fs::read_to_string(bed.path(file)).unwrap(), "image");
    }
}

pub fn nothing_is_left_in_the_root() {
    let bed = Bed::new();
    bed.sh("touch /dev/x /dev/shm/x; mkdir /dev/mqueue/x").failure();
    for directory in ["dev", "proc", "sys"] {
        assert_eq!(fs::read_dir(bed.path(directory)).unwrap().count(), 0, "{directory}");
    }
}

pub fn mount_points_are_the_places_that_must_exist() {
    let bed = Bed::new();
    let mut spec = bed.script("true");
    spec.mounts.push(tree(bed.path("work"), "/mnt/tree"));
    spec.mounts.push(tree(bed.path("etc/motd"), "/mnt/file"));
    let points = mount_points(&spec);
    let points: Vec<_> = points.iter().map(|(path, is_dir)| (path.to_str().unwrap(), *is_dir)).collect();
    assert_eq!(
        points,
        [
            ("/dev", true),
            ("/proc", true),
            ("/sys", true),
            ("/etc/hosts", false),
            ("/etc/resolv.conf", false),
            ("/mnt/tree", true),
            ("/mnt/file", false),
        ]
    );
    assert!(finish(spec).error().contains("cannot mount /mnt/tree"));
    fs::remove_dir(bed.path("sys")).unwrap();
    assert!(bed.sh("true").error().contains("/sys"));
}
