//! Bind mounts of what an image leads to.
//!
//! CVE-2024-1753: an image in which the mount's source is a symbolic link to `/` showed the host's root,
//! writable. CVE-2024-9407: a value of `bind-propagation` went to the runtime without a check, and with it
//! other options.

use tar::{Builder, EntryType};

use lbuild_tests::{BaseImage, entry};

use crate::row::Mode;
use crate::scene::{Scene, base};

/// An image whose links lead to the root, upwards, outside and to files of the kernel.
fn hostile(scene: &Scene) -> BaseImage {
    let mut tar = Builder::new(Vec::new());
    let up = "../".repeat(20);
    for (name, target) in [
        ("root", "/"),
        ("up", up.as_str()),
        ("out", scene.outside_text()),
        ("proc-root", "/proc/1/root"),
        ("proc-self", "/proc/self/cwd/../.."),
        ("fd", "/proc/self/fd/7"),
        ("loop", "loop"),
    ] {
        entry(&mut tar, name, EntryType::Symlink, 0o777, target.as_bytes());
    }
    base().layer(tar.into_inner().unwrap())
}

pub fn a_source_that_is_a_link(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    scene.load_base("hostile", &hostile(&scene));
    let outside = scene.outside_text();
    for from in ["hostile", "stage"] {
        for source in
            ["root", "/root", "up", "out", "proc-root", "proc-self", "fd", "loop", "../..", "root/root/up"]
        {
            scene.dockerfile(&format!(
                "FROM hostile AS stage\nFROM base\n\
                 RUN --mount=type=bind,from={from},source={source},target=/m,rw \
                 ls /m; cat /m/victim /m{outside}/victim; echo x > /m{outside}/victim; echo x > /m/victim; \
                 rm -rf /m/*; true\n"
            ));
            scene.tried(&[]);
            scene.assert_untouched();
        }
    }
    // It is the image's own root that is seen.
    scene.dockerfile(
        "FROM base\nRUN --mount=type=bind,from=hostile,source=root,target=/m test -L /m/proc-root && echo inside\n",
    );
    scene.build(["--no-cache"]).success().says(&["inside"]);
}

pub fn a_target_that_is_a_link(mode: Mode) {
    let scene = Scene::new(mode);
    scene.load_base("base", &hostile(&scene));
    for target in [
        "/out",
        "/out/folder",
        "/up",
        "/root/etc",
        "/proc-root/etc",
        "/proc/self/fd/5",
        "/proc/sys/kernel",
        "/loop",
    ] {
        for mount in ["type=bind,rw", "type=tmpfs", "type=cache", "type=bind,from=base,source=etc"] {
            scene.dockerfile(&format!(
                "FROM base\nRUN --mount={mount},target={target} cat {target}/victim; touch {target}/made; true\n"
            ));
            scene.tried(&[]);
        }
        scene.assert_untouched();
    }
}

pub fn a_secret_or_agent_behind_a_link(mode: Mode) {
    let scene = Scene::new(mode);
    scene.load_base("base", &hostile(&scene));
    let secret = scene.folder().join("secret");
    std::fs::write(&secret, "of the test\n").unwrap();
    for target in ["/out/victim", "/out/new", "/proc-root/x", "/up/x", "/proc/self/environ"] {
        scene.dockerfile(&format!(
            "FROM base\nRUN --mount=type=secret,id=s,target={target},mode=0666 cat {target}; echo x > {target}; true\n"
        ));
        scene.tried(&["--secret", &format!("id=s,src={}", secret.display())]);
        scene.assert_untouched();
    }
}

pub fn unknown_options_and_values(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    for option in [
        "type=bind,bind-propagation=shared",
        "type=bind,bind-propagation=rshared,suid,dev",
        "type=bind,bind-propagation=/../..",
        "type=bind,propagation=shared",
        "type=bind,consistency=x",
        "type=bind,z,rshared",
        "type=bind,suid",
        "type=bind,dev",
        "type=bind,upperdir=/",
        "type=bind,rw=maybe",
        "type=bind,readonly=2",
        "type=cache,sharing=everyone",
        "type=cache,sharing=locked\u{0}",
        "type=cache,mode=99999",
        "type=cache,uid=-1",
        "type=cache,uid=4294967295",
        "type=secret,gid=4294967295",
        "type=cache,uid=4294967296",
        "type=tmpfs,size=-1",
        "type=tmpfs,size=1e99",
        "type=tmpfs,size=18446744073709551616",
        "type=tmpfs,mode=1777,dev",
        "type=secret,mode=-1",
        "type=secret,required=perhaps",
        "type=overlay,lowerdir=/",
        "type=volume,source=/",
        "type=proc",
    ] {
        scene.dockerfile(&format!("FROM base\nRUN --mount={option},target=/m,id=x true\n"));
        scene.refused(&[], &["Dockerfile:2"]);
    }
}
