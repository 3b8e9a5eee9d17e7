//! A RUN beside a container with Docker's defaults, field by field.

use std::collections::BTreeMap;

use lbuild_tests::{BaseImage, Docker, TestBed, programs_layer};

/// Prints `field=value` lines. What a run must not read is only counted. The first process's
/// descriptors are listed outside of a substitution, for which it holds a pipe for a moment.
const SCRIPT: &str = r#"
grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid|Gid|Groups|Sig(Blk|Ign|Pnd))' /proc/self/status | sed 's/:[[:space:]]*/=/; s/[[:space:]]*$//'
echo "umask=$(umask)"
echo "uid_map=$(cat /proc/self/uid_map | tr -s ' ')"
echo "gid_map=$(cat /proc/self/gid_map | tr -s ' ')"
echo "oom_score_adj=$(cat /proc/self/oom_score_adj)"
echo "hostname=$(hostname)"
echo "first process=$(cat /proc/1/comm)"
echo "cwd=$(pwd)"
ls /proc/1/fd > /tmp/descriptors; echo "descriptors=$(tr '\n' ' ' < /tmp/descriptors)"
echo "terminal=$(tty 2>&1)"
echo "dev=$(ls /dev | grep -v '^pts$' | tr '\n' ' ')"
for f in null zero full random urandom tty; do echo "dev/$f=$(stat -c '%a %u:%g %t,%T' /dev/$f)"; done
for f in fd stdin stdout stderr ptmx core; do echo "dev/$f=$(readlink /dev/$f)"; done
for d in /dev /dev/pts /dev/shm /dev/mqueue / /tmp /proc /sys; do echo "mode of $d=$(stat -c '%a %u:%g' $d)"; done
for f in kcore keys timer_list interrupts sched_debug latency_stats timer_stats; do
    echo "bytes of /proc/$f=$([ -e /proc/$f ] && head -c 64 /proc/$f | wc -c || echo absent)"
done
for d in /proc/acpi /proc/scsi /proc/asound /sys/firmware; do
    echo "entries of $d=$([ -e $d ] && ls -A $d | wc -l || echo absent)"
done
for f in /proc/sys/kernel/core_pattern /proc/sysrq-trigger /proc/sys/kernel/hostname /sys/kernel/uevent_helper; do
    [ -e $f ] && v=present || v=absent; (: >> $f) 2> /dev/null && v=writable; echo "$f=$v"
done
for p in / /proc /proc/bus /proc/fs /proc/irq /proc/sys /proc/sysrq-trigger /sys /dev /dev/pts /dev/shm /dev/mqueue; do
    echo "mount of $p=$(awk -v p=$p '$5 == p { print $6 }' /proc/self/mountinfo | tail -n 1 | tr ',' '\n' | grep -vE '^(rw|relatime|idmapped)$' | sort | tr '\n' ' ')"
done
for l in c d e f l m n p s t u v x; do
    case $l in u) ;; *) echo "limit -$l=$(ulimit -S$l 2> /dev/null) $(ulimit -H$l 2> /dev/null)";; esac
done
mount -t tmpfs none /tmp 2> /dev/null; echo "mount=$?"
unshare -r true 2> /dev/null; echo "unshare -r=$?"
unshare -m true 2> /dev/null; echo "unshare -m=$?"
chroot / true 2> /dev/null; echo "chroot=$?"
mknod /tmp/n c 1 5; echo "mknod=$?"
probe CALLS | sed 's/\([^ ]*\) /call \1=/'
"#;

const CALLS: &str = "keyctl add_key unshare clone-newuser clone3 bpf io_uring_setup mount af_inet af_alg \
    af_alg-upper-half af_vsock personality personality-odd userfaultfd open_by_handle_at kexec_load init_module \
    delete_module setns pivot_root fsopen fsmount open_tree move_mount mount_setattr quotactl reboot swapon acct \
    settimeofday perf_event_open umount sethostname syslog vhangup fanotify_init";

/// Where a RUN differs from Docker on purpose, and why; each is in docs/compatibility.md.
const DIFFERENCES: [(&str, &str); 12] = [
    ("hostname", "a RUN's host name is always the same"),
    ("limit -n", "open files are limited as a login session limits them, whatever the caller's own limit is"),
    ("call af_alg", "AF_ALG is denied (CVE-2026-31431)"),
    ("call af_alg-upper-half", "AF_ALG is denied (CVE-2026-31431)"),
    ("call af_vsock", "denied, as by later versions of Docker"),
    ("bytes of /proc/interrupts", "masked, as by later versions of Docker"),
    ("dev", "there is the link /dev/core, as from BuildKit"),
    ("dev/core", "there is the link /dev/core, as from BuildKit"),
    ("call io_uring_setup", "denied, as by later versions of Docker"),
    ("call clone3", "Docker 20.10 knows no clone3; ENOSYS, as by later versions"),
    ("mount of /", "the root is nodev: device nodes cannot be opened"),
    ("mount of /dev", "it is nodev too, and the usual devices are mounts in it"),
];

/// The fields in what was printed, each line perhaps behind a step's number and time.
fn fields(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter_map(|line| {
        let line = match line.strip_prefix("#2 ") {
            Some(rest) => rest.split_once(' ').filter(|(time, _)| time.parse::<f64>().is_ok())?.1,
            None => line,
        };
        let (name, value) = line.split_once('=')?;
        Some((name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
    });
    lines.collect()
}

#[test]
fn a_run_is_confined_as_a_container_with_dockers_defaults() {
    let docker = Docker::connect();
    let script = SCRIPT.replace("CALLS", CALLS);
    let bed = TestBed::new();
    bed.load_base("base", &BaseImage::busybox().layer(programs_layer()));
    bed.file("script", &script)
        .dockerfile("FROM base\nRUN --mount=source=script,target=/script sh /script\n");
    let ours = fields(&bed.build([""; 0]).success().stderr);

    bed.dockerfile("FROM base\nCOPY script /script\n");
    bed.build([""; 0]).success();
    docker.load(&bed.save(&bed.name()));
    let run = docker
        .docker(["run", "--rm", "--network=host", &bed.name(), "/bin/sh", "-c", "sh /script"])
        .success();
    let theirs = fields(&run.text());
    assert!(theirs.len() > 80, "{run}");

    let known: BTreeMap<&str, &str> = DIFFERENCES.into();
    let unexpected: Vec<String> = theirs
        .iter()
        .filter(|(name, value)| ours.get(*name) != Some(value) && !known.contains_key(name.as_str()))
        .map(|(name, value)| format!("{name}: Docker {value:?}, lbuild {:?}", ours.get(name)))
        .chain(
            ours.keys().filter(|name| !theirs.contains_key(*name)).map(|name| format!("{name}: only lbuild")),
        )
        .collect();
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}
