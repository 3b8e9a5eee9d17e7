//! Contexts whose own files lead out: the Dockerfile, the ignore files, what is copied.
//!
//! CVE-2026-44517 and its kind: the Dockerfile of an archive was a symbolic link, and a file of the host
//! was read, and shown in an error.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use lbuild_tests::Run;
use rustix::fs::{CWD, FileType, Mode as Permissions, makedev, mkfifoat, mknodat};

use crate::raw_tar::{Raw, RawTar};
use crate::row::Mode;
use crate::scene::Scene;

/// No build of a hostile context may take longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Builds an archive that comes on standard input.
#[track_caller]
fn from_stdin(scene: &Scene, tar: &[u8], arguments: &[&str]) -> Run {
    let archive = scene.folder().join("context.tar");
    fs::write(&archive, tar).unwrap();
    let start = Instant::now();
    let mut command = scene.command(["build", "--progress", "plain"]);
    let output = command
        .args(arguments)
        .arg("-")
        .stdin(fs::File::open(&archive).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    fs::remove_file(archive).unwrap();
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let run = Run { command: "lbuild build -".into(), status: output.status, stdout: output.stdout, stderr };
    assert!(run.status.code().is_some_and(|code| code < 100) && !run.stderr.contains("panicked"), "{run}");
    scene.unseen(run)
}

pub fn the_dockerfile_of_an_archive(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let victim = format!("{}/Dockerfile", scene.outside_text());
    for entry in [
        Raw::new(b'2', "Dockerfile").target(&victim),
        Raw::new(b'2', "Dockerfile").target("../../../../../../../etc/hostname"),
        Raw::new(b'2', "Dockerfile").target("/proc/self/environ"),
        Raw::new(b'2', "Dockerfile").target("/dev/stdin"),
        Raw::new(b'2', "Dockerfile").target("Dockerfile"),
        Raw::new(b'1', "Dockerfile").target(&victim),
        Raw::new(b'6', "Dockerfile"),
        Raw::new(b'5', "Dockerfile"),
        Raw::new(b'3', "Dockerfile").set(329, b"0000001\0").set(337, b"0000005\0"),
        Raw::new(b'4', "Dockerfile").set(329, b"0000007\0").set(337, b"0000000\0"),
    ] {
        let run = from_stdin(&scene, &RawTar::default().add(entry).end(), &[]);
        assert!(!run.status.success(), "{run}");
    }
    for name in ["../../Dockerfile", &victim, "sub/../../../outside/Dockerfile", "/proc/self/environ"] {
        let tar = RawTar::default().file("Dockerfile", "FROM base\n").end();
        // Even what the user names is a path in the archive.
        from_stdin(&scene, &tar, &["-f", name]);
    }
    let tar = RawTar::default().symlink("link", scene.outside_text()).file("x", "x").end();
    assert!(!from_stdin(&scene, &tar, &["-f", "link/Dockerfile"]).status.success());
}

pub fn a_dockerfile_that_is_no_file(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let path = scene.context().join("Dockerfile");
    for make in [
        (|path: &Path| mkfifoat(CWD, path, Permissions::RWXU).unwrap()) as fn(&Path),
        |path| drop(UnixListener::bind(path).unwrap()),
        |path| fs::create_dir(path).unwrap(),
        |path| symlink("/dev/zero", path).unwrap(),
        |path| symlink("Dockerfile", path).unwrap(),
        |path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
        |path| symlink("/proc/self/environ", path).unwrap(),
    ] {
        match fs::symlink_metadata(&path).map(|stat| stat.is_dir()) {
            Ok(true) => fs::remove_dir(&path).unwrap(),
            Ok(false) => fs::remove_file(&path).unwrap(),
            Err(_) => {}
        }
        make(&path);
        let start = Instant::now();
        scene.refused(&[], &["Dockerfile"]);
        assert!(start.elapsed() < LIMIT);
    }
    fs::remove_file(&path).unwrap();
}

pub fn ignore_files_that_are_no_files(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\nCOPY . /c/\nRUN cat /c/.d* | head -c 1000; true\n");
    for name in [".dockerignore", "Dockerfile.dockerignore"] {
        let path = scene.context().join(name);
        for make in [
            (|path: &Path, _| mkfifoat(CWD, path, Permissions::RWXU).unwrap()) as fn(&Path, &Path),
            |path, _| fs::create_dir(path).unwrap(),
            |path, _| symlink("/dev/zero", path).unwrap(),
            |path, outside| symlink(outside.join("victim"), path).unwrap(),
            |path, outside| symlink(outside, path).unwrap(),
            |path, _| fs::File::create(path).unwrap().set_len(1 << 40).unwrap(),
            |path, _| fs::write(path, "[\n").unwrap(),
            |path, _| fs::write(path, "\\".repeat(100_000)).unwrap(),
            |path, _| fs::write(path, b"\xff\xfe\0\x01*\n!\xff".as_slice()).unwrap(),
            |path, _| fs::write(path, "!../../**\n!/etc/**\n../outside\n").unwrap(),
            |path, _| fs::write(path, format!("{}\n", "**/*a".repeat(2000)).repeat(20)).unwrap(),
        ] {
            make(&path, scene.outside());
            let start = Instant::now();
            scene.tried(&[]);
            assert!(start.elapsed() < LIMIT, "{name}: {:?}", start.elapsed());
            match fs::symlink_metadata(&path).unwrap().is_dir() {
                true => fs::remove_dir(&path).unwrap(),
                false => fs::remove_file(&path).unwrap(),
            }
        }
    }
}

/// What is copied is a link that leads out, in each place of the path and by each instruction.
pub fn copied_links(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside();
    let context = scene.context();
    fs::create_dir(context.join("sub")).unwrap();
    for (link, target) in [
        ("out", outside.to_owned()),
        ("file", outside.join("victim")),
        ("up", "../outside".into()),
        ("sub/out", outside.join("folder")),
        ("proc", "/proc/self/environ".into()),
        ("chain", "up/folder".into()),
    ] {
        symlink(target, context.join(link)).unwrap();
    }
    for source in [
        "out",
        "out/",
        "out/victim",
        "out/*",
        "file",
        "up",
        "up/folder/victim",
        "sub/out/victim",
        "sub/*",
        "sub",
        "*",
        "**",
        ".",
        "chain/victim",
        "proc",
        "../outside",
        "../../outside/victim",
        "/../outside/victim",
        "sub/../../outside",
    ] {
        for copy in [
            "COPY",
            "ADD",
            "COPY --parents",
            "COPY --link",
            "COPY --exclude=x",
            "COPY --chown=1:1 --chmod=777",
        ] {
            scene.dockerfile(&format!("FROM base\n{copy} {source} /c/\nRUN cat /c/* /c/*/*; true\n"));
            scene.tried(&[]);
        }
        scene.dockerfile(&format!(
            "FROM base\nRUN --mount=type=bind,source={source},target=/m,rw cat /m /m/*; echo x > /m/victim; true\n"
        ));
        scene.tried(&[]);
    }
    scene.assert_untouched();
}

/// The same with a named context, and with a stage, whose links stay inside.
pub fn copied_links_from_elsewhere(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let named = scene.folder().join("named");
    fs::create_dir(&named).unwrap();
    symlink(scene.outside(), named.join("out")).unwrap();
    symlink(scene.outside().join("victim"), named.join("file")).unwrap();
    let context = format!("named={}", named.display());
    for source in ["out/", "out/victim", "file", "/", "out/*", "*", "/out/../victim", "../outside/victim"] {
        for from in ["named", "stage"] {
            scene.dockerfile(&format!(
                "FROM base AS stage\nRUN ln -s {outside} /out && ln -s {outside}/victim /file\n\
                 FROM base\nCOPY --from={from} {source} /c/\nRUN grep -hsF 'sentinel<' /c/* /c/*/*; true\n",
                outside = scene.outside_text()
            ));
            scene.tried(&["--build-context", &context]);
        }
    }
}

/// Where a copy goes is a link of the image, in each place of the path and by each instruction.
pub fn destinations_that_are_links(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    scene.file("victim", "of the context\n").file("folder/victim", "of the context\n");
    scene.file("archive.tar", RawTar::default().file("victim", "x").file("folder/victim", "x").end());
    let links = format!(
        "RUN ln -s {outside} /out && ln -s {outside}/victim /file && ln -s ../../../../../../../../{outside} /up && \
         mkdir /sub && ln -s {outside}/folder /sub/deep && ln -s /out /chain && ln -s /proc/self/cwd /proc-cwd && \
         ln -s /proc/self/fd/3 /fd && ln -s loop /loop"
    );
    for destination in [
        "/out/",
        "/out",
        "/out/new/",
        "/file",
        "/up/",
        "/sub/deep/",
        "/chain/folder/",
        "/proc-cwd/",
        "/fd/",
        "/loop/x",
    ] {
        for copy in [
            "COPY victim",
            "COPY folder",
            "COPY --link folder",
            "COPY --chown=1000:1000 --chmod=777 victim",
            "ADD archive.tar",
            "COPY --from=base /d",
            "COPY --parents folder/victim",
        ] {
            scene.dockerfile(&format!("FROM base\n{links}\n{copy} {destination}\n"));
            scene.tried(&[]);
        }
        scene.assert_untouched();
    }
}

/// Files of every strange kind and name lie in the context.
pub fn strange_files(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\nCOPY . /c/\nRUN ls -laR /c | wc -l\n");
    let context = scene.context();
    mkfifoat(CWD, context.join("fifo"), Permissions::RWXU).unwrap();
    drop(UnixListener::bind(context.join("socket")).unwrap());
    // Opening it would never end, and it is nobody's disk.
    let device =
        mknodat(CWD, context.join("device"), FileType::CharacterDevice, Permissions::RWXU, makedev(1, 5));
    assert!(device.is_ok() || mode == Mode::Rootless);
    for name in
        [&b"a\nb"[..], b"\xff\xfe", b"\x1b]0;title\x07", b" ", b"*", b"..x", b"-rf", b"a\\b", &[b'n'; 255]]
    {
        use std::os::unix::ffi::OsStrExt;
        fs::write(context.join(std::ffi::OsStr::from_bytes(name)), "x").unwrap();
    }
    fs::File::create(context.join("sparse")).unwrap().set_len(1 << 33).unwrap();
    fs::remove_file(context.join("sparse")).unwrap();
    let start = Instant::now();
    let run = scene.tried(&[]);
    assert!(start.elapsed() < LIMIT, "{run}");
    assert!(!run.stderr.contains('\u{1b}'), "a name of a file reached the terminal as it is: {run}");
}

/// A tree deeper than any path can be.
pub fn a_deep_tree(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\nCOPY . /c/\n");
    let mut directory =
        rustix::fs::open(scene.context(), rustix::fs::OFlags::PATH, Permissions::empty()).unwrap();
    for _ in 0..10_000 {
        rustix::fs::mkdirat(&directory, "d", Permissions::RWXU).unwrap();
        directory =
            rustix::fs::openat(&directory, "d", rustix::fs::OFlags::PATH, Permissions::empty()).unwrap();
    }
    drop(directory);
    let start = Instant::now();
    scene.tried(&[]);
    assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
    // The image makes one too, and the next step walks it.
    let deep = std::process::Command::new("rm").arg("-rf").arg(scene.context().join("d")).status();
    assert!(deep.unwrap().success());
    scene.dockerfile(
        "FROM base\nRUN for i in $(seq 40); do d=$d/$(printf 'd/%.0s' $(seq 250)); done; \
         i=0; while [ $i -lt 3000 ]; do mkdir x && cd -P x || break; i=$((i+1)); done 2> /dev/null; true\nRUN ls\n",
    );
    scene.tried(&[]);
}
