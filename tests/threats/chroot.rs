//! Ways out of a chroot, where a RUN is kept apart by nothing else (`--isolation=chroot`).

use std::os::unix::fs::symlink;
use std::process::Command;

use lbuild_tests::Run;

use crate::row::Mode;
use crate::scene::{Scene, base};

/// A build of `dockerfile`, in which `BASE` stands for the base image.
fn build(scene: &Scene, dockerfile: &str) -> Command {
    let archive = scene.folder().join("base.tar");
    if !archive.exists() {
        base().write("base", &archive);
    }
    scene.dockerfile(&dockerfile.replace("BASE", &format!("docker-archive:{}", archive.display())));
    let mut build = scene.build_command(["--no-cache"]);
    // A store belongs to one kind of isolation.
    build.env("LBUILD_ISOLATION", "chroot").env("LBUILD_ROOT", scene.folder().join("chroot-store"));
    build
}

/// What was moved into a step's root goes back to its place; what the step put there instead does not.
pub fn a_cache_that_becomes_a_link(mode: Mode) {
    let scene = Scene::new(mode);
    let out = scene.outside_text();
    for instead in [format!("ln -s {out} /c"), format!("ln -s {out}/victim /c"), "mkfifo /c".to_owned()] {
        let dockerfile = format!(
            "FROM BASE\nRUN --mount=type=cache,id=c,target=/c rm -r /c && {instead}\n\
             RUN --mount=type=cache,id=c,target=/c [ -z \"$(ls -A /c)\" ] && echo mine > /c/evil\n\
             RUN --mount=type=cache,id=c,target=/c [ -f /c/evil ]\n"
        );
        scene.unseen(Run::of(&mut build(&scene, &dockerfile))).success();
        scene.assert_untouched();
    }
}

/// A link in the place of a cache, however it came there.
pub fn a_cache_that_is_a_link(mode: Mode) {
    let scene = Scene::new(mode);
    let dockerfile = "FROM BASE\nRUN --mount=type=cache,target=/c [ -z \"$(ls -A /c)\" ] && echo > /c/evil\n";
    Run::of(&mut build(&scene, dockerfile)).success();
    let mut find = Command::new("find");
    find.arg(scene.folder().join("chroot-store")).args(["-name", "evil", "-path", "*cache*"]);
    let evil = Run::of(&mut find).success().text();
    let cache = std::path::Path::new(evil.trim()).parent().unwrap();
    std::fs::remove_dir_all(cache).unwrap();
    symlink(scene.outside(), cache).unwrap();
    scene.unseen(Run::of(&mut build(&scene, dockerfile))).success();
}

/// Two steps at once could hand each other directories, and whoever has one from elsewhere is out.
pub fn steps_that_meet(mode: Mode) {
    let scene = Scene::new(mode);
    let name = scene.bed_token();
    let stages =
        ["a", "b", "c", "d"].map(|stage| format!("FROM BASE AS {stage}\nRUN reach meeting {name} {stage}\n"));
    let copies = ["a", "b", "c", "d"].map(|stage| format!("COPY --from={stage} /bin/reach /{stage}\n"));
    let dockerfile = format!("{}FROM scratch\n{}", stages.concat(), copies.concat());
    let run = Run::of(&mut build(&scene, &dockerfile)).success();
    let met = run.stderr.lines().any(|line| line.starts_with('#') && line.ends_with(" REACHED"));
    assert!(!met, "{run}");
}
