//! `lbuild doctor` names what forbids something, which is forbidden here for one test each.

use lbuild_tests::{Person, Run, SharedBed};
use serde_json::Value;

/// Runs the rest as the user.
const AS_USER: &str = r#"exec setpriv --reuid 54321 --regid 54321 --clear-groups "$@""#;

/// Runs the rest with system calls failing with `ERRNO`, as under a container's filter or an older kernel:
/// loads the number, compares, refuses.
const REFUSE: &str = r#"python3 -c '
import ctypes, os, struct, sys
numbers = [int(number) for number in sys.argv[1].split(",")]
filter = struct.pack("HBBI", 0x20, 0, 0, 0)
for number in numbers:
    filter += struct.pack("HBBI", 0x15, 0, 1, number) + struct.pack("HBBI", 0x06, 0, 0, 0x50000 + ERRNO)
filter += struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000)
memory = ctypes.create_string_buffer(filter)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(filter) // 8, ctypes.addressof(memory)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0
os.execvp(sys.argv[2], sys.argv[2:])
'"#;

/// Runs the rest with a listener for its system calls, as a container manager may have one.
const LISTEN: &str = r#"python3 -c '
import ctypes, os, struct, sys
memory = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0x7fff0000))
program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(memory)))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
listener = libc.syscall(SECCOMP, 1, 8, program)
assert listener > 0
os.set_inheritable(listener, True)
os.execvp(sys.argv[1], sys.argv[1:])
'"#;

/// The script that refuses `numbers` and then runs doctor as the user.
fn refusing(numbers: &str, errno: u32) -> String {
    let refuse = REFUSE.replace("ERRNO", &errno.to_string());
    format!("{refuse} {numbers} {AS_USER}").replace(" exec setpriv", " setpriv")
}

fn seccomp_number() -> &'static str {
    if cfg!(target_arch = "aarch64") { "277" } else { "317" }
}

fn unshare_number() -> &'static str {
    if cfg!(target_arch = "aarch64") { "97" } else { "272" }
}

const FSOPEN: &str = "430";
const OPENAT2: &str = "437";

const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

#[track_caller]
fn report(run: &Run) -> Value {
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {run}"))
}

/// What doctor says of a feature after `script` forbade something.
#[track_caller]
fn feature(bed: &SharedBed, script: &str, name: &str) -> Value {
    let report = report(&bed.lbuild_after(script, ["doctor", "--json"]));
    let features = report["features"].as_array().unwrap();
    features.iter().find(|feature| feature["feature"] == name).unwrap_or(&Value::Null).clone()
}

#[test]
fn doctor_tells_how_each_person_builds() {
    let bed = SharedBed::new();
    for (person, mode) in [
        (Person::Root, "root"),
        (Person::WithSubordinateIds, "user-namespace"),
        (Person::WithoutSubordinateIds, "single-id"),
    ] {
        let report = report(&bed.lbuild(person, ["doctor", "--json"]).success());
        assert_eq!(report["mode"], mode, "{person:?}");
    }
    let text = bed.lbuild(Person::WithoutSubordinateIds, ["doctor"]).success().text();
    assert!(text.contains("missing  subordinate ids: /etc/subuid"), "{text}");
    assert!(text.contains("to have it: sudo usermod --add-subuids"), "{text}");
}

#[test]
fn doctor_names_the_setting_that_blocks_a_feature() {
    let bed = SharedBed::new();
    let unshare = refusing(unshare_number(), EPERM);
    let fsopen = refusing(FSOPEN, EPERM);
    let listen = LISTEN.replace("SECCOMP", seccomp_number());
    let listen = format!("{listen} {AS_USER}").replace(" exec setpriv", " setpriv");
    let settings = |file: &str, value: u32, then: &str| {
        format!(
            r#"mkdir "$0/{file}"; cp -r /proc/sys/kernel/pid_max "$0/{file}"; echo {value} > "$0/{file}/{file}"
            chmod -R a+rX "$0/{file}"; mount --bind "$0/{file}" /proc/sys/kernel; {then}"#
        )
    };
    let overlay = r#"mkdir -p "$0/o/l" "$0/o/u" "$0/o/w"
        mount -t overlay overlay -o "lowerdir=$0/o/l,upperdir=$0/o/u,workdir=$0/o/w" "$0/WithoutSubordinateIds"
        chown 54321:54321 "$0/WithoutSubordinateIds";"#;
    // Makes the folder.
    bed.home(Person::WithoutSubordinateIds);
    for (script, name, cause, mend) in [
        (unshare.clone(), "user namespaces", "seccomp", "seccomp=unconfined"),
        (
            settings("unprivileged_userns_clone", 0, &unshare),
            "user namespaces",
            "kernel.unprivileged_userns_clone = 0",
            "sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (fsopen.clone(), "mounts in a user namespace", "seccomp", "seccomp=unconfined"),
        (
            settings("apparmor_restrict_unprivileged_userns", 1, &fsopen),
            "mounts in a user namespace",
            "kernel.apparmor_restrict_unprivileged_userns = 1 (AppArmor)",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        (refusing(OPENAT2, ENOSYS), "openat2", "older than Linux 5.6", "newer kernel"),
        (refusing(OPENAT2, EPERM), "openat2", "seccomp", "seccomp=unconfined"),
        (refusing(FSOPEN, ENOSYS), "mounts in a user namespace", "older than Linux 5.2", "newer kernel"),
        (refusing(seccomp_number(), EPERM), "seccomp user notification", "seccomp", "seccomp=unconfined"),
        (
            refusing(seccomp_number(), ENOSYS),
            "seccomp user notification",
            "older than Linux 5.5",
            "newer kernel",
        ),
        (listen, "seccomp user notification", "another program already answers", ""),
        (
            AS_USER.replace("--clear-groups", "--clear-groups --no-new-privs"),
            "newuidmap and newgidmap",
            "no_new_privs is set",
            "no-new-privileges",
        ),
        (AS_USER.to_owned(), "subordinate ids", "/etc/subuid", "usermod --add-subuids"),
        (
            format!("export PATH=/usr/sbin:/sbin; {}", AS_USER.replace("setpriv", "/usr/bin/setpriv")),
            "newuidmap and newgidmap",
            "newuidmap is not in PATH",
            "install uidmap",
        ),
        (
            format!(
                r#"mkdir "$0/bin"; cp /usr/bin/newuidmap "$0/bin"; chmod 755 "$0/bin" "$0/bin/newuidmap"; export PATH="$0/bin:$PATH"; {AS_USER}"#
            ),
            "newuidmap and newgidmap",
            "is not setuid",
            "chmod u+s",
        ),
        (
            format!("{overlay} {AS_USER}"),
            "overlays in a user namespace",
            "lies on an overlay itself",
            "--volume",
        ),
        (
            format!("mount -t tmpfs tmpfs /proc/irq; {AS_USER}"),
            "a new /proc",
            "hides parts of /proc",
            "systempaths=unconfined",
        ),
        (AS_USER.to_owned(), "control groups", "no control group", "Delegate=yes"),
        (
            format!("mount -t tmpfs -o ro tmpfs /sys/fs/cgroup; {AS_USER}"),
            "control groups",
            "/sys/fs/cgroup is read-only",
            "resources.limits",
        ),
        (
            format!("test ! -e /dev/fuse || mount --bind /dev/null /dev/fuse; {AS_USER}"),
            "/dev/fuse",
            "no /dev/fuse",
            "",
        ),
    ] {
        let found = feature(&bed, &script, name);
        assert_eq!(found["works"], false, "{name} {cause}: {found}");
        assert!(found["cause"].as_str().unwrap().contains(cause), "{name} {cause}: {found}");
        assert!(found["mend"].as_str().unwrap_or_default().contains(mend), "{name} {cause}: {found}");
        assert!(!found["instead"].as_str().unwrap().is_empty(), "{found}");
    }
}

#[test]
fn doctor_names_the_limit_of_user_namespaces() {
    let bed = SharedBed::new();
    // The limit of a user namespace holds for those within it.
    let script = r#"exec setpriv --reuid 54321 --regid 54321 --clear-groups \
        unshare --user --map-root-user sh -ec 'echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"' sh "$@""#;
    let report = report(&bed.lbuild_after(script, ["doctor", "--json"]));
    let found =
        report["features"].as_array().unwrap().iter().find(|found| found["feature"] == "user namespaces");
    let found = found.unwrap();
    assert_eq!(found["cause"], "user.max_user_namespaces = 0", "{report}");
    assert_eq!(found["mend"], "sudo sysctl -w user.max_user_namespaces=15000");
}
