//! Users that an image names.
//!
//! CVE-2024-9676: a builder read the image's `/etc/passwd` through a symbolic link or a FIFO of the host.
//! CVE-2026-47262: a huge one filled the memory. CVE-2024-40635, CVE-2026-46680: an id beyond 32 bits, or a
//! name of digits, became root.

use std::time::{Duration, Instant};

use lbuild_tests::{BaseImage, Run, entry};
use tar::{Builder, EntryType};

use crate::raw_tar::{Raw, RawTar};
use crate::row::Mode;
use crate::scene::{Scene, base};

/// What looks a user up: RUN, WORKDIR, COPY and ADD.
const LOOK_UPS: [&str; 4] = [
    "USER mallory\nRUN id\n",
    "USER mallory\nWORKDIR /new\n",
    "COPY --chown=mallory:mallory Dockerfile /copied\n",
    "ADD --chown=mallory Dockerfile /added\n",
];

/// No look-up may take longer, in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Builds with each kind of look-up in `image`.
fn look_up(scene: &Scene, image: &BaseImage) -> Vec<Run> {
    scene.load_base("hostile", image);
    let build = |look_up: &&str| {
        scene.dockerfile(&format!("FROM hostile\n{look_up}"));
        let start = Instant::now();
        let run = scene.tried(&[]);
        assert!(start.elapsed() < LIMIT, "{:?}: {run}", start.elapsed());
        run
    };
    let runs = LOOK_UPS.iter().map(build).collect();
    scene.assert_untouched();
    runs
}

pub fn a_user_file_that_is_a_link(mode: Mode) {
    let scene = Scene::new(mode);
    let outside = scene.outside_text();
    let up = format!("..{}{outside}/passwd", "/..".repeat(20));
    for target in [
        format!("{outside}/passwd"),
        up,
        "/proc/self/fd/0".to_owned(),
        "/proc/self/root/etc/passwd".to_owned(),
        "/dev/zero".to_owned(),
        "/dev/stdin".to_owned(),
        "passwd".to_owned(),
        "/etc".to_owned(),
    ] {
        let mut tar = RawTar::default();
        for file in ["etc/passwd", "etc/group"] {
            tar = match target.len() {
                ..=99 => tar.symlink(file, &target),
                _ => tar.pax(&[("linkpath", &target)]).symlink(file, "x"),
            };
        }
        for run in look_up(&scene, &base().layer(tar.end())) {
            assert!(!run.stderr.contains("sentinel"), "{run}");
        }
    }
}

pub fn a_user_file_that_is_no_file(mode: Mode) {
    let scene = Scene::new(mode);
    for kind in [b'6', b'5', b'3', b'4'] {
        let mut tar = RawTar::default();
        for file in ["etc/passwd", "etc/group"] {
            // The device that never ends.
            tar = tar.add(Raw::new(kind, file).mode(0o666).set(329, b"0000001\0").set(337, b"0000005\0"));
        }
        look_up(&scene, &base().layer(tar.end()));
    }
}

pub fn a_user_file_that_is_huge(mode: Mode) {
    let scene = Scene::new(mode);
    let line = "x:x:1:1::/:/bin/sh\n";
    let mut tar = Builder::new(Vec::new());
    for file in ["etc/passwd", "etc/group"] {
        entry(&mut tar, file, EntryType::Regular, 0o644, line.repeat(1_000_000).as_bytes());
    }
    for run in look_up(&scene, &base().layer(tar.into_inner().unwrap())) {
        run.failure(1).says(&["more than 10 MiB"]);
    }
    // One line without an end, of zeros that take no room.
    let sparse = RawTar::default()
        .pax(&[
            ("GNU.sparse.major", "1"),
            ("GNU.sparse.minor", "0"),
            ("GNU.sparse.name", "etc/passwd"),
            ("GNU.sparse.realsize", "4000000000"),
        ])
        .add(Raw::new(b'0', "etc/GNUSparseFile.0/passwd").content([b"0\n".to_vec(), vec![0; 510]].concat()));
    look_up(&scene, &base().layer(sparse.end()));
}

pub fn a_user_file_with_strange_lines(mode: Mode) {
    let scene = Scene::new(mode);
    let lines: [&[u8]; 12] = [
        b"mallory:x:4294967295:4294967295::/:/bin/sh\n",
        b"mallory:x:4294967296:4294967296::/:/bin/sh\n",
        b"mallory:x:-1:-1::/:/bin/sh\n",
        b"mallory:x:-2147483648:0::/:/bin/sh\n",
        b"mallory:x:18446744073709551616:0::/:/bin/sh\n",
        b"mallory:x:0x10:010::/:/bin/sh\n",
        b"mallory:x: 0: 0::/:/bin/sh\n",
        b"mallory\n",
        b"mallory:x:::::::::::::\n",
        b"\xff\xfem\0a\0l\0l\0o\0r\0y\0:\0x\0:\x000\0:\x000\0\n\0",
        b"mallory:x:0\0:0:\0:/:/bin/sh\n",
        b"\xef\xbb\xbfmallory:x:1:1::/:/bin/sh\r\rmallory:x:0:0::/:/bin/sh\r\n",
    ];
    for line in lines {
        let mut tar = Builder::new(Vec::new());
        for file in ["etc/passwd", "etc/group"] {
            entry(&mut tar, file, EntryType::Regular, 0o644, line);
        }
        let runs = look_up(&scene, &base().layer(tar.into_inner().unwrap()));
        assert!(!runs[0].stderr.contains("uid=0"), "{:?} became root: {}", line.escape_ascii(), runs[0]);
    }
}

/// What stands for no user at all, where the image's own files say that it is root's name.
pub fn numbers_beyond_every_id(mode: Mode) {
    let scene = Scene::new(mode);
    let numbers = [
        "4294967296",
        "4294967295",
        "2147483648",
        "18446744073709551616",
        "99999999999999999999999999",
        "-1",
        "-0",
        "0:4294967296",
        "1000:4294967295",
        "1000:-1",
    ];
    let mut passwd = String::from("root:x:0:0:root:/root:/bin/sh\n");
    let mut group = String::from("root:x:0:\n");
    for number in numbers.iter().flat_map(|number| number.split(':')) {
        passwd += &format!("{number}:x:0:0::/:/bin/sh\n");
        group += &format!("{number}:x:0:\n");
    }
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, "etc/passwd", EntryType::Regular, 0o644, passwd.as_bytes());
    entry(&mut tar, "etc/group", EntryType::Regular, 0o644, group.as_bytes());
    scene.load_base("base", &base().layer(tar.into_inner().unwrap()));
    for number in numbers {
        for instructions in [
            format!("USER {number}\nRUN id\n"),
            format!("COPY --chown={number} Dockerfile /x\n"),
            format!("ADD --chown={number} Dockerfile /x\n"),
        ] {
            scene.dockerfile(&format!("FROM base\n{instructions}"));
            scene.refused(&[], &["not a valid user or group id"]);
        }
    }
}

/// A base image's configuration names the user.
pub fn the_user_of_the_base_image(mode: Mode) {
    for user in ["4294967296", "-1", "mallory", "../../etc/passwd", "0:\n0", ":::", "\u{0}"] {
        let scene = Scene::new(mode);
        let config = serde_json::json!({"Env": ["PATH=/bin"], "User": user});
        scene.load_base("base", &base().config(config));
        scene.dockerfile("FROM base\nRUN id\n");
        let run = scene.tried(&[]);
        assert!(!run.status.success(), "{user:?} was taken: {run}");
    }
}
