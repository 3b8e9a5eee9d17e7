//! Caches whose id is a path.
//!
//! CVE-2024-9675: a cache's id with `../../` in it made any directory of the host the cache. Here an id is
//! hashed, never a path.

use std::fs;

use crate::row::Mode;
use crate::scene::Scene;

pub fn an_id_that_is_a_path(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    let up = "../".repeat(20);
    let ids = [
        "../../outside".to_owned(),
        "../../../outside/folder".to_owned(),
        outside.to_owned(),
        format!("{up}{}", &outside[1..]),
        "..".to_owned(),
        ".".to_owned(),
        "/".to_owned(),
        "a/../../..".to_owned(),
        "x".repeat(5000),
        "%2e%2e/".to_owned(),
    ];
    for id in &ids {
        for sharing in ["shared", "private", "locked"] {
            scene.dockerfile(&format!(
                "FROM base\nRUN --mount=type=cache,id={id},sharing={sharing},target=/c \
                 cat /c/victim; touch /c/made; rm -rf /c/folder; ls -a /c/..; true\n"
            ));
            scene.tried(&["--no-cache"]);
        }
        scene.assert_untouched();
    }
    for folder in fs::read_dir(scene.store().join("cache-mounts")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
    }
}

pub fn a_namespace_that_is_a_path(mode: Mode) {
    let scene = Scene::with_base(
        mode,
        "FROM base\nRUN --mount=type=cache,id=c,target=/c cat /c/victim; touch /c/made; true\n",
    );
    for namespace in ["../../outside", "..", "/"] {
        scene.tried(&["--no-cache", "--build-arg", &format!("BUILDKIT_CACHE_MOUNT_NS={namespace}")]);
    }
}

/// A cache that one build filled with links does not lead the next one out.
pub fn links_in_a_cache(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    scene.dockerfile(&format!(
        "FROM base\nRUN --mount=type=cache,id=c,target=/c rm -rf /c/* && ln -s {outside} /c/out && \
         ln -s {outside}/victim /c/file && ln -s / /c/root && mkdir /c/sub && ln -s ../../../../.. /c/sub/up\n"
    ));
    scene.build([""; 0]).success();
    for mount in [
        "type=cache,id=c,target=/c",
        "type=cache,id=c,source=out,target=/c",
        "type=cache,id=c,source=sub/up,target=/c",
        "type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/out",
        "type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/out/folder",
        "type=cache,id=c,target=/c --mount=type=bind,source=Dockerfile,target=/c/file,rw",
    ] {
        scene.dockerfile(&format!(
            "FROM base\nRUN --mount={mount} cat /c/victim /c/out/victim /c/file; echo x > /c/file; touch /c/out/made; true\n"
        ));
        scene.tried(&["--no-cache"]);
        scene.assert_untouched();
    }
}

/// The first content of a cache comes from an image or the context, whose links stay inside.
pub fn the_first_content_of_a_cache(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    for source in ["out", "out/folder", "../..", "proc/self/root", "/"] {
        scene.dockerfile(&format!(
            "FROM base AS stage\nRUN ln -s {outside} /out; true\nFROM base\n\
             RUN --mount=type=cache,id=new-{},from=stage,source={source},target=/c cat /c/victim; touch /c/made; true\n",
            source.len()
        ));
        scene.tried(&["--no-cache"]);
    }
}
