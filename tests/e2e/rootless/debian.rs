//! A Debian with a package whose files have several owners, a setuid bit and capabilities.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;

use lbuild_tests::{Image, Person, Run, SharedBed, debian_rootfs, sha256};

const DOCKERFILE: &str = "FROM scratch
ADD rootfs.tar /
RUN --mount=type=bind,source=repository,target=/repository \
    echo 'deb [trusted=yes] file:/repository ./' > /etc/apt/sources.list \
    && apt-get update && apt-get install --yes several \
    && rm -rf /var/lib/apt/lists /var/cache/apt /var/cache/ldconfig /var/log/* \
    && cp -a /srv/several/state /srv/copied && chown 100:101 /srv/several/list
";

const CONTROL: &str = "Package: several
Version: 1.0
Architecture: all
Maintainer: The tests <tests@example.org>
Description: files of several owners
";

/// `setcap` is no part of a minimal Debian; its system call is all that is needed.
const AFTER_INSTALLATION: &str = r#"#!/bin/sh
set -e
chown 1234:2345 /srv/several/state
chown -h 7:8 /srv/several/link
perl -e '
    $call = SYSCALL; $path = "/usr/bin/capable"; $name = "security.capability";
    $value = pack("V5", 0x02000001, 0x2000, 0, 0, 0);
    syscall($call, $path, $name, $value, length($value), 0) == 0 or die $!'
"#;

/// `cap_net_raw`, effective and permitted: version 2, without an owner.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn a_package_with_several_owners_is_the_same_whoever_installs_it() {
    let bed = SharedBed::new();
    write_context(&bed);
    let mut ids = Vec::new();
    // By chroot: in `against_docker::unprivileged`.
    for person in [Person::Root, Person::WithSubordinateIds, Person::WithoutSubordinateIds] {
        let (id, image) = bed.build(person);
        check_owners(&image);
        ids.push(id);
    }
    let [root, with_subordinate_ids, without] = &ids[..] else { panic!("{ids:?}") };
    assert_eq!(with_subordinate_ids, root);
    assert_eq!(without, root);
}

/// Writes the Dockerfile, a Debian without devices and the repository.
pub fn write_context(bed: &SharedBed) {
    bed.file("Dockerfile", DOCKERFILE);
    let rootfs = bed.context().join("rootfs.tar");
    let script = r#"gzip -dc "$0" > "$1" && tar --delete -f "$1" --wildcards './dev/*' && chmod 644 "$1""#;
    let script =
        ["-c".as_ref(), script.as_ref(), debian_rootfs().as_os_str(), rootfs.as_os_str()].map(Into::into);
    Run::of(Command::new("sh").args::<[std::ffi::OsString; 4], _>(script)).success();
    write_repository(bed);
}

/// Checks that the image has what the package says.
#[track_caller]
pub fn check_owners(image: &Image) {
    for (path, uid, gid, mode) in [
        ("srv/several/state", 1234, 2345, 0o644),
        ("srv/several/mail", 8, 8, 0o2640),
        ("srv/several/link", 7, 8, 0o777),
        ("opt/shared/", 33, 33, 0o2775),
        ("usr/bin/become", 0, 0, 0o4755),
        ("usr/bin/capable", 0, 0, 0o755),
        ("srv/copied", 1234, 2345, 0o644),
        ("srv/several/list", 100, 101, 0o644),
    ] {
        let entry = image.layers[1].entry(path);
        assert_eq!((entry.uid, entry.gid, entry.mode), (uid, gid, mode), "{path}");
    }
    let capable = image.layers[1].entry("usr/bin/capable");
    assert_eq!(capable.pax.get("SCHILY.xattr.security.capability").map(Vec::as_slice), Some(&CAPABILITY[..]));
}

fn write_repository(bed: &SharedBed) {
    let package = bed.folder().join("package");
    let file = |path: &str, content: &str, mode: u32, owner: u32| {
        let path = package.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        chown(&path, Some(owner), Some(owner)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let system_call = if cfg!(target_arch = "aarch64") { "5" } else { "188" };
    file("DEBIAN/control", CONTROL, 0o644, 0);
    file("DEBIAN/postinst", &AFTER_INSTALLATION.replace("SYSCALL", system_call), 0o755, 0);
    file("usr/bin/become", "#!/bin/true\n", 0o4755, 0);
    file("usr/bin/capable", "#!/bin/true\n", 0o755, 0);
    file("srv/several/state", "state\n", 0o644, 0);
    file("srv/several/mail", "mail\n", 0o2640, 8);
    file("srv/several/list", "list\n", 0o644, 38);
    symlink("state", package.join("srv/several/link")).unwrap();
    fs::create_dir_all(package.join("opt/shared")).unwrap();
    chown(package.join("opt/shared"), Some(33), Some(33)).unwrap();
    fs::set_permissions(package.join("opt/shared"), fs::Permissions::from_mode(0o2775)).unwrap();

    let archive = bed.folder().join("several.deb");
    Run::of(Command::new("dpkg-deb").arg("--build").args([&package, &archive])).success();
    let content = fs::read(&archive).unwrap();
    bed.file("repository/Packages", index(&archive, &content)).file("repository/several.deb", content);
}

/// What apt reads of a repository.
fn index(archive: &Path, content: &[u8]) -> String {
    let fields = Run::of(Command::new("dpkg-deb").arg("--field").arg(archive)).success().text();
    let digest = sha256(content);
    format!("{fields}Filename: ./several.deb\nSize: {}\nSHA256: {digest}\n\n", content.len())
}
