//! Working directories that lead out.
//!
//! CVE-2024-21626: runc left a descriptor of a host directory open; `WORKDIR /proc/self/fd/N` made it the
//! working directory, and `../..` led through the host. CVE-2026-55686: a builder made and chowned the
//! directory that WORKDIR names through a symbolic link of the image, on the host.

use std::os::unix::fs::symlink;

use lbuild_tests::{BaseImage, entry};
use tar::{Builder, EntryType};

use crate::row::Mode;
use crate::scene::{Scene, base};

pub fn through_a_descriptor(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for number in 3..=50 {
        let path = format!("/proc/self/fd/{number}");
        scene.dockerfile(&format!(
            "FROM base\nWORKDIR {path}\nRUN cat ../../../victim ../../victim ../victim; ls -a . .. ../.. ; pwd -P\n"
        ));
        scene.refused(&[], &["working directory", &path]);
    }
}

pub fn through_a_link_to_a_descriptor(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for target in
        ["/proc/self/fd/7", "/proc/1/root", "/proc/self/cwd", "/proc/self/root/..", "/proc/thread-self/fd/8"]
    {
        scene.dockerfile(&format!(
            "FROM base\nRUN ln -s {target} /link\nWORKDIR /link\nRUN cat ../victim victim; echo \"in $(pwd -P)\"\n"
        ));
        let run = scene.tried(&[]);
        assert!(!run.status.success() || run.stderr.contains("in /proc/"), "{target}: {run}");
    }
}

/// The command itself sees no descriptor but the standard ones.
pub fn no_descriptor_is_open(mode: Mode) {
    let scene = Scene::with_base(
        mode,
        "FROM base\nRUN for n in $(seq 3 255); do [ ! -e /proc/self/fd/$n ] || echo open $n; done; \
         for n in $(seq 3 255); do ! cd /proc/self/fd/$n 2> /dev/null || echo entered $n; done; \
         ls -l /proc/1/fd\n",
    );
    let run = scene.build([""; 0]).success();
    // The shell's own is the one of the script's `ls`, if any.
    for word in ["entered", "open 3", "open 4", "open 5", "open 6", "open 7"] {
        assert!(!run.stderr.lines().any(|line| line.ends_with(word)), "{run}");
    }
}

/// Descriptors that lbuild itself was started with do not come to the command either.
pub fn a_descriptor_that_lbuild_inherited(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\nRUN ls -l /proc/self/fd; cat <&9; cat victim <&8\n");
    let mut command = std::process::Command::new("sh");
    let build = scene.build_command([""; 0]);
    let script = "exec 9< \"$OUTSIDE/victim\" 8< \"$OUTSIDE\"; exec \"$@\"";
    command.args(["-c", script, "sh"]).arg(build.get_program()).args(build.get_args());
    command.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("OUTSIDE", scene.outside()).current_dir(scene.folder());
    scene.unseen(lbuild_tests::Run::of(&mut command)).failure(1);
}

pub fn through_a_link_that_leads_out(mode: Mode) {
    for user in ["", "USER user\n"] {
        let scene = Scene::new(mode);
        scene.load_base("base", &base().layer(links(&scene)));
        for path in
            ["/out", "/out/new", "/out/folder", "/up", "/up/new", "/chain/new", "/rel/folder/new/deep"]
        {
            scene.dockerfile(&format!(
                "FROM base\n{user}WORKDIR {path}\nRUN pwd; ls -a; touch made || true\n"
            ));
            scene.tried(&[]);
            scene.dockerfile(&format!("FROM base\n{user}WORKDIR {path}\n"));
            scene.tried(&[]);
            scene.assert_untouched();
        }
    }
}

/// The configuration of a base image names the directory.
pub fn of_the_base_image(mode: Mode) {
    for directory in ["/proc/self/fd/6", "/out", "../../../..", "/out/new", "relative/../../..", "/\u{7f}\n"]
    {
        let scene = Scene::new(mode);
        let config = serde_json::json!({
            "Env": ["PATH=/bin"], "Cmd": ["sh"], "WorkingDir": directory,
        });
        let image: BaseImage = base().layer(links(&scene)).config(config);
        scene.load_base("base", &image);
        scene.dockerfile(
            "FROM base\nRUN cat victim ../victim; ls -a; touch made; true\nCOPY Dockerfile copied\n",
        );
        scene.tried(&[]);
    }
}

/// A folder of the context that is a link to a folder outside.
pub fn of_the_context(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\nWORKDIR /w\nCOPY link/ ./\nCOPY link/victim /v\n");
    symlink(scene.outside(), scene.context().join("link")).unwrap();
    scene.refused(&[], &["link"]);
}

/// Links of the image to the folder outside: absolute, upwards, in a chain, and relative.
fn links(scene: &Scene) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    let outside = scene.outside_text();
    let up = format!("{}{}", "../".repeat(30), outside.trim_start_matches('/'));
    for (name, target) in [("out", outside), ("up", up.as_str()), ("chain", "/rel"), ("rel", "d/../up")] {
        if target.len() <= 100 {
            entry(&mut tar, name, EntryType::Symlink, 0o777, target.as_bytes());
        } else {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            tar.append_link(&mut header, name, target).unwrap();
        }
    }
    tar.into_inner().unwrap()
}
