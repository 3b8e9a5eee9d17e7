//! Deletions in the layers of an image from outside, and what a step may not make look like one.

use std::fs;

use lbuild_tests::BaseImage;

use crate::raw_tar::{Raw, RawTar};
use crate::row::Mode;
use crate::scene::{Scene, base};

/// A base with this layer: what of it can be built on.
fn try_layer(scene: &Scene, image: BaseImage) -> bool {
    let archive = scene.folder().join("hostile.tar");
    image.write("hostile", &archive);
    let loaded = scene.unseen(scene.lbuild(["load", "-i", archive.to_str().unwrap()]));
    assert!(loaded.status.code().is_some_and(|code| code < 100), "{loaded}");
    fs::remove_file(archive).unwrap();
    scene.dockerfile("FROM hostile\nRUN cat /victim /out/victim; ls -a /out; touch /out/made; true\n");
    let built = scene.tried(&[]);
    scene.assert_untouched();
    let good = loaded.status.success() && built.status.success();
    if !good {
        let _ = scene.lbuild(["rmi", "hostile"]);
    }
    good
}

pub fn deletions_that_mean_nothing_are_refused(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for name in [
        ".wh.",
        ".wh..",
        ".wh...",
        "d/.wh.",
        "d/.wh..",
        "d/.wh...",
        "./.wh...",
        "d/.wh..wh..opq/x",
        ".wh.d/x",
        "d/.wh.sub/c",
    ] {
        for kind in [b'0', b'5', b'2', b'1'] {
            let tar = RawTar::default().add(Raw::new(kind, name).target("d/a"));
            assert!(
                !try_layer(&scene, base().layer(tar.end())),
                "{name} of type {} is taken",
                char::from(kind)
            );
        }
    }
}

pub fn deletions_below_a_link_are_refused(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    for name in ["out/.wh.victim", "out/.wh.folder", "out/.wh..wh..opq", "out/folder/.wh.victim"] {
        let one_layer = RawTar::default().symlink("out", outside).file(name, "");
        assert!(!try_layer(&scene, base().layer(one_layer.end())), "{name}");
        let below = RawTar::default().symlink("out", outside).end();
        let above = RawTar::default().file(name, "").end();
        try_layer(&scene, base().layer(below).layer(above));
    }
}

/// A device that overlayfs takes for a deletion, and its attributes, come from no archive.
pub fn overlayfs_own_marks_are_refused(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let device = RawTar::default().add(Raw::new(b'3', "d/a").set(329, b"0000000\0").set(337, b"0000000\0"));
    assert!(!try_layer(&scene, base().layer(device.clone().end())));
    scene.file("archive.tar", device.end()).dockerfile("FROM base\nADD archive.tar /\nRUN ls /d/a\n");
    let run = scene.tried(&[]);
    assert!(!run.status.success() || run.stderr.contains("/d/a"), "{run}");

    for (key, value) in [
        ("SCHILY.xattr.trusted.overlay.opaque", "y"),
        ("SCHILY.xattr.user.overlay.opaque", "y"),
        ("SCHILY.xattr.trusted.overlay.redirect", "/../../../../../.."),
        ("SCHILY.xattr.user.overlay.redirect", "/etc"),
        ("SCHILY.xattr.trusted.overlay.metacopy", ""),
        ("SCHILY.xattr.user.overlay.whiteout", "y"),
        ("SCHILY.xattr.trusted.overlay.overlay.opaque", "y"),
    ] {
        let tar = RawTar::default().pax(&[(key, value)]).directory("d/").end();
        scene.load_base("marked", &base().layer(tar.clone()));
        scene.file("archive.tar", &tar);
        for dockerfile in [
            "FROM marked\nRUN cat /d/a /d/b /d/sub/c\n",
            "FROM base\nADD archive.tar /\nRUN cat /d/a /d/b /d/sub/c\n",
        ] {
            scene.dockerfile(dockerfile);
            scene.build([""; 0]).success();
        }
    }
}

/// What a step makes that would read as a deletion.
pub fn a_step_makes_no_deletion(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for script in [
        "touch /.wh.d",
        "touch /d/.wh..wh..opq",
        "mkdir /.wh.d",
        "ln -s /d /d/.wh.a",
        "ln /d/a /d/.wh.b",
        "mkfifo /d/.wh.a",
        "mkdir -p /n/.wh.x/y",
    ] {
        scene.dockerfile(&format!("FROM base\nRUN {script}\n"));
        scene.refused(&[], &[".wh.", "Dockerfile:2"]);
    }
    scene.file(".wh.d", "").file("f/.wh.a", "");
    for copy in [
        "COPY .wh.d /",
        "COPY f /d/",
        "ADD .wh.d /d/",
        "COPY Dockerfile /.wh.d",
        "WORKDIR /.wh.d",
        "COPY --link f /d/",
    ] {
        scene.dockerfile(&format!("FROM base\n{copy}\n"));
        scene.refused(&[], &[".wh."]);
    }
    // A device 0:0 is how overlayfs itself marks a deletion: what is made with it is gone at most.
    scene.dockerfile("FROM base\nRUN mknod /d/a2 c 0 0 || true\nRUN ls /d\n");
    scene.tried(&[]);
}
