//! Secrets, which must come nowhere but to the step that asks for them.
//!
//! CVE-2025-0495: credentials of a build's configuration were in its telemetry. Here all that a build writes
//! is searched: its output in every form, the store with its layers, records and memos, the metadata file,
//! the image in every form, the history.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lbuild_tests::Run;

use crate::row::Mode;
use crate::scene::Scene;

const SECRET: &str = "hunter2-correct-horse-battery-staple";

fn secret_file(scene: &Scene) -> PathBuf {
    let path = scene.folder().join("secret");
    fs::write(&path, format!("{SECRET}\n")).unwrap();
    path
}

/// The forms that a secret may be found in.
fn forms() -> Vec<Vec<u8>> {
    let mut forms = vec![SECRET.as_bytes().to_vec()];
    forms.push(SECRET.bytes().rev().collect());
    for before in 0..3 {
        let text = STANDARD.encode([&vec![b' '; before][..], SECRET.as_bytes()].concat());
        forms.push(text.as_bytes()[4..text.len() - 8].to_vec());
    }
    forms.push(SECRET.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes());
    // As a list of numbers, which a derived `Debug` writes.
    forms.push(format!("{:?}", SECRET.as_bytes()[..8].to_vec()).trim_matches(['[', ']']).as_bytes().to_vec());
    forms
}

fn holds(bytes: &[u8], forms: &[Vec<u8>]) -> bool {
    forms.iter().any(|form| bytes.windows(form.len()).any(|window| window == form.as_slice()))
}

#[track_caller]
fn assert_absent(scene: &Scene, except: &Path, runs: &[&Run]) {
    let forms = forms();
    for run in runs {
        assert!(!holds(run.stderr.as_bytes(), &forms) && !holds(&run.stdout, &forms), "{run}");
    }
    let mut pending = vec![scene.folder().to_owned()];
    while let Some(path) = pending.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        if stat.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if stat.is_file() && path != except {
            assert!(!holds(&fs::read(&path).unwrap(), &forms), "the secret is in {}", path.display());
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.contains(SECRET), "{name}");
    }
}

pub fn a_secret_is_nowhere_but_in_its_step(mode: Mode) {
    let scene = Scene::with_base(
        mode,
        "# syntax=docker/dockerfile:1\nFROM base\nARG HTTP_PROXY\n\
         RUN --mount=type=secret,id=token,target=/t,required --mount=type=secret,id=token,env=TOKEN \
         test $(wc -c < /t) = 37 && test -n \"$TOKEN\" && wc -c /t > /result\n\
         RUN --mount=type=secret,id=variable,env=TOKEN test -n \"$TOKEN\"\n\
         RUN test ! -e /t && test -z \"$TOKEN\"\nLABEL a=b\n",
    );
    let secret = secret_file(&scene);
    let folder = scene.folder();
    let path = |name: &str| folder.join(name).display().to_string();
    let file = format!("id=token,src={}", secret.display());
    let (metadata, id) = (path("metadata.json"), path("id"));
    let common = [
        "--secret",
        &file,
        "--secret",
        "id=variable,env=THE_SECRET",
        "--metadata-file",
        &metadata,
        "--iidfile",
        &id,
    ];
    let run_showing = |progress: &str, extra: &[&str]| {
        let mut build = scene.build_showing(progress, &[&common[..], extra].concat());
        build.env("THE_SECRET", SECRET).env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
        Run::of(&mut build).success()
    };
    let run = |extra: &[&str]| run_showing("plain", extra);
    let (archive, tree, layout) = (path("out.tar"), path("tree"), path("layout.tar"));
    let runs = [
        run(&[]),
        run_showing("rawjson", &["--no-cache"]),
        run_showing("quiet", &["--no-cache", "-o", &archive]),
        run(&["-o", &tree]),
        run(&["-o", &format!("type=oci,dest={layout}")]),
        scene.lbuild(["history", "--no-trunc", &scene.name()]),
        scene.lbuild(["inspect", &scene.name()]),
        scene.lbuild(["diff", &scene.name()]),
    ];
    scene.save(&scene.name());
    assert_absent(&scene, &secret, &runs.iter().collect::<Vec<_>>());
}

/// The same where the step, or the build, fails in each way that one can.
pub fn a_failure_does_not_tell_it(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let secret = secret_file(&scene);
    let file = format!("id=token,src={}", secret.display());
    let mut runs = Vec::new();
    for (mounts, command) in [
        ("id=token,target=/t", "false"),
        ("id=token,target=/etc", "true"),
        ("id=token,target=/proc/self/x", "true"),
        ("id=token,target=/etc/passwd/x", "true"),
        ("id=token,target=/dev/null", "true"),
        ("id=token,env=TOKEN", "exit 3"),
        ("id=token,env=TOKEN", "kill -9 $$"),
        ("id=token,env=A=B", "true"),
        ("id=token,uid=4294967295,target=/t", "true"),
        ("id=other,required,target=/t", "true"),
    ] {
        for user in ["", "USER nobody-knows-me\n", "WORKDIR /etc/passwd/x\n"] {
            scene.dockerfile(&format!("FROM base\n{user}RUN --mount=type=secret,{mounts} {command}\n"));
            let mut build = scene.build_command(["--no-cache", "--secret", &file]);
            build.env("RUST_LOG", "trace").env("RUST_BACKTRACE", "full");
            runs.push(Run::of(&mut build));
        }
    }
    scene.dockerfile("FROM base\nRUN [\"/no/such/program\"]\n");
    runs.push(scene.build(["--secret", &file]));
    assert_absent(&scene, &secret, &runs.iter().collect::<Vec<_>>());
}

/// A step that writes its secret down is not kept.
pub fn a_step_that_writes_it_down(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let secret = secret_file(&scene);
    let file = format!("id=token,src={}", secret.display());
    for command in [
        "cp /t /kept",
        "mkdir -p /deep/er && cat /t /t > /deep/er/kept",
        "echo \"x$(cat /t)x\" >> /etc/motd",
        "base64 /t > /kept",
        "(echo user; cat /t) | base64 -w 0 > /kept",
        "base64 -w 19 /t > /kept",
        "(head -c 100 /dev/zero; cat /t; head -c 200 /dev/zero) | base64 > /kept",
        "(head -c 65530 /dev/zero; cat /t) > /kept",
        "cp /t /x && ln /x /y && rm /x",
        "ln -s \"$(cat /t)\" /link",
        "touch \"/$(cat /t)\"",
        "mkdir -p \"/d/$(cat /t)/e\"",
    ] {
        for option in ["", ",mode=0444"] {
            scene.dockerfile(&format!(
                "FROM base\nRUN --mount=type=secret,id=token,target=/t{option} {command}\n"
            ));
            let run = scene.build(["--no-cache", "--secret", &file]);
            assert_eq!(run.status.code(), Some(1), "{command}: {run}");
            for part in ["left the secret \"token\" in", "--allow-secret-in-layer", "Dockerfile:2"] {
                assert!(run.stderr.contains(part), "{command}: {part:?} is not in {run}");
            }
        }
    }
    assert_absent(&scene, &secret, &[]);
    scene.dockerfile("FROM base\nRUN --mount=type=secret,id=token,env=TOKEN echo $TOKEN > /kept\n");
    scene.build(["--secret", &file]).failure(1).says(&["left the secret"]);
    scene.build(["--secret", &file, "--allow-secret-in-layer"]).success();
    // What was kept once is no excuse later.
    scene.build(["--secret", &file]).failure(1).says(&["left the secret"]);
    let name = scene.name();
    scene.lbuild(["rmi", &name]).success();
}

/// Build arguments that are credentials by their form are warned of, and proxies are nowhere.
pub fn proxies_with_a_password(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\nRUN test -n \"$HTTPS_PROXY\" && echo x > /x\n");
    let proxy = format!("HTTPS_PROXY=http://user:{SECRET}@127.0.0.1:1");
    let runs = [
        scene.build(["--build-arg", &proxy]).success(),
        scene.lbuild(["history", "--no-trunc", &scene.name()]),
        scene.lbuild(["inspect", &scene.name()]),
    ];
    assert_absent(&scene, Path::new(""), &runs.iter().collect::<Vec<_>>());
}

/// The password in a URL is shown nowhere, also where fetching it fails.
pub fn urls_with_a_password(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let mut runs = Vec::new();
    for url in [
        format!("http://user:{SECRET}@127.0.0.1:1/file"),
        format!("https://user:{SECRET}@127.0.0.1:1/r.git"),
        format!("https://127.0.0.1:1/r.git?token={SECRET}"),
    ] {
        if !url.contains('?') {
            runs.push(scene.lbuild(["build", "--progress", "plain", &url]));
            runs.push(scene.lbuild([
                "build",
                "--progress",
                "rawjson",
                "--build-context",
                &format!("x={url}"),
                scene.context().to_str().unwrap(),
            ]));
        }
    }
    assert_absent(&scene, Path::new(""), &runs.iter().collect::<Vec<_>>());
}
