//! Archives whose entries lead out.
//!
//! CVE-2026-33056, RUSTSEC-2026-0113: a symbolic link, then a directory entry of its name, changed the mode
//! of what the link led to. CVE-2026-17106, CVE-2026-50163, CVE-2026-42574, CVE-2021-29136: hard links and
//! entries below links escaped, and so did an archive whose entry for the root itself is a link.
//!
//! Every archive comes in each way that one can: by ADD, as the context, as a layer of a base image.

use std::fs;
use std::process::Stdio;

use lbuild_tests::{BaseImage, Run};

use crate::raw_tar::{Raw, RawTar};
use crate::row::Mode;
use crate::scene::Scene;

/// Brings the archive in, each way; nothing of it may come out.
#[track_caller]
fn bring_in(scene: &Scene, tar: &RawTar) {
    let tar = tar.clone().end();
    as_added(scene, &tar);
    as_context(scene, &tar);
    as_layer(scene, &tar);
    scene.assert_untouched();
}

fn as_added(scene: &Scene, tar: &[u8]) {
    scene.file("archive.tar", tar);
    scene.dockerfile(
        "FROM base\nADD archive.tar /\nRUN cat /victim /d/victim /out/victim; true\nADD archive.tar /new/\n",
    );
    scene.tried(&[]);
}

fn as_context(scene: &Scene, tar: &[u8]) {
    let archive = scene.folder().join("context.tar");
    fs::write(&archive, tar).unwrap();
    let dockerfile = scene.folder().join("Dockerfile.context");
    fs::write(&dockerfile, "FROM base\nCOPY . /copied/\nADD . /added/\nRUN cat /copied/*; true\n").unwrap();
    let mut command =
        scene.command(["build", "--progress", "plain", "-f", dockerfile.to_str().unwrap(), "-"]);
    let output = command
        .stdin(fs::File::open(&archive).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let run = Run { command: "lbuild build -".into(), status: output.status, stdout: output.stdout, stderr };
    scene.unseen(no_crash(run));
    fs::remove_file(archive).unwrap();
}

/// Above busybox, where the image is also run and written out as a folder.
fn as_layer(scene: &Scene, tar: &[u8]) {
    let archive = scene.folder().join("hostile.tar");
    BaseImage::busybox().layer(tar.to_vec()).write("hostile", &archive);
    scene.unseen(no_crash(scene.lbuild(["load", "-i", archive.to_str().unwrap()])));
    fs::remove_file(archive).unwrap();
    scene.dockerfile(
        "FROM hostile AS ran\nRUN cat /victim /out/victim; touch /out/made; true\n\
         FROM base\nCOPY --from=hostile / /h/\nCOPY --from=ran / /r/\nRUN cat /h/* /r/*; true\n",
    );
    let output = scene.folder().join("tree");
    scene.tried(&["-o", output.to_str().unwrap()]);
    let _ = fs::remove_dir_all(output);
}

#[track_caller]
fn no_crash(run: Run) -> Run {
    assert!(run.status.code().is_some_and(|code| code < 100), "a crash or a signal: {run}");
    assert!(!run.stderr.contains("panicked at"), "a crash: {run}");
    run
}

pub fn a_link_then_a_directory_of_its_name(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    let folder = format!("{outside}/folder");
    for target in [outside, &folder, "../../../../../../..", "/"] {
        for link in ["out", "d"] {
            bring_in(&scene, &RawTar::default().symlink(link, target).directory(link));
            let inside = Raw::new(b'5', format!("{link}/folder")).mode(0o777);
            let tar =
                RawTar::default().symlink(link, target).add(inside).file(&format!("{link}/victim"), "x");
            bring_in(&scene, &tar);
        }
    }
}

pub fn entries_below_links(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    let up = format!("{}{}", "../".repeat(12), &outside[1..]);
    let target = if up.len() < 100 { up.as_str() } else { outside };
    for tar in [
        RawTar::default().symlink("out", outside).file("out/victim", "x").file("out/new", "x"),
        RawTar::default().symlink("out", target).file("out/victim", "x"),
        RawTar::default()
            .symlink("a", "b")
            .symlink("b", outside)
            .file("a/victim", "x")
            .directory("a/folder/"),
        RawTar::default().directory("deep/").symlink("deep/out", outside).file("deep/out/folder/victim", "x"),
        RawTar::default().symlink("out", outside).file("out/../victim", "x").file("./out/./victim", "x"),
        RawTar::default().file("out", "x").symlink("out", outside).file("out/victim", "x"),
        RawTar::default().symlink("out", outside).symlink("out/victim", "/d"),
        RawTar::default().symlink("out", outside).add(Raw::new(b'6', "out/fifo")),
        RawTar::default().symlink("out", outside).add(Raw::new(b'3', "out/device")),
    ] {
        bring_in(&scene, &tar);
    }
}

pub fn hard_links_to_outside(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    let victim = format!("{outside}/victim");
    let up = format!("{}{}", "../".repeat(5), "outside/victim");
    for tar in [
        RawTar::default().hard_link("h", &victim).file("h", "x"),
        RawTar::default().hard_link("h", &up).file("h", "x"),
        RawTar::default().symlink("out", outside).hard_link("h", "out/victim").file("h", "x"),
        RawTar::default().symlink("s", &victim).hard_link("h", "s").file("h", "x"),
        RawTar::default()
            .symlink("s", &victim)
            .hard_link("s", "s")
            .add(Raw::new(b'0', "s").mode(0o777).content("x")),
        RawTar::default().symlink("out", outside).hard_link("out/new", "d/a"),
        RawTar::default().symlink("out", outside).hard_link("h", "out"),
        RawTar::default().hard_link("h", "/proc/self/root/etc/passwd"),
        RawTar::default().hard_link("h", "h"),
        RawTar::default().hard_link("h", "."),
        RawTar::default().hard_link(".", "d/a").hard_link("..", "d/a"),
        RawTar::default().hard_link("h", "d").file("h/victim", "x"),
    ] {
        bring_in(&scene, &tar);
    }
}

pub fn the_root_entry_is_a_link(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    for root in [".", "./", "/", "", "d/.."] {
        for kind in [b'2', b'1', b'0'] {
            let entry = Raw::new(kind, root).target(outside).mode(0o777);
            bring_in(&scene, &RawTar::default().add(entry).file("victim", "x").file("folder/victim", "x"));
        }
    }
}

pub fn names_that_lead_out(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    let victim = format!("{outside}/victim");
    let up = format!("{}{}/victim", "../".repeat(10), &outside[1..]);
    for name in [&victim, "../../outside/victim", "../../../outside/victim", "a/../../outside/victim", ".."] {
        let long = Raw::new(b'L', "././@LongLink").content(format!("{name}\0"));
        // Each form in an archive of its own: the first that is refused ends it.
        bring_in(&scene, &RawTar::default().file(name, "x"));
        bring_in(&scene, &RawTar::default().pax(&[("path", name)]).file("short", "x"));
        bring_in(&scene, &RawTar::default().add(long).file("short", "x"));
    }
    bring_in(&scene, &RawTar::default().pax(&[("path", &up)]).file("short", "x"));
    bring_in(&scene, &RawTar::default().pax(&[("linkpath", &victim)]).hard_link("h", "short").file("h", "x"));
    bring_in(&scene, &RawTar::default().pax(&[("path", "a\0/../../victim")]).file("short", "x"));
    bring_in(&scene, &RawTar::default().add(Raw::new(b'0', b"a\nb\xff\x1b]0;x\x07").content("x")));
    bring_in(&scene, &RawTar::default().pax(&[("path", &"n".repeat(300))]).file("short", "x"));
    bring_in(&scene, &RawTar::default().pax(&[("path", &"d/".repeat(2500))]).file("short", "x"));
}

/// An entry of one path follows another of the same, of every pair of kinds.
pub fn one_name_twice(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    for first in [b'0', b'1', b'2', b'3', b'5', b'6'] {
        let mut tar = RawTar::default().file("target", "t");
        for second in [b'0', b'1', b'2', b'3', b'5', b'6'] {
            let name = format!("twice-{}", char::from(second));
            let target = |kind| if kind == b'1' { "target" } else { outside };
            tar = tar.add(Raw::new(first, &name).target(target(first)));
            tar = tar.add(Raw::new(second, &name).target(target(second)).mode(0o777));
        }
        bring_in(&scene, &tar);
    }
}
