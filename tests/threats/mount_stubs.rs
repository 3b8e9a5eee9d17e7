//! The cleaner of mount points.
//!
//! CVE-2024-23652: BuildKit made missing mount points in the step's tree and removed them afterwards; the
//! command replaced their parent by a symbolic link, and a file of the host was removed. Here they lie in
//! a layer of their own, and nothing is removed.

use std::fs;

use crate::row::Mode;
use crate::scene::Scene;

pub fn the_parent_becomes_a_link(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    for (mount, target) in [
        ("type=tmpfs", "/made/folder"),
        ("type=bind,source=Dockerfile", "/made/victim"),
        ("type=cache", "/made/folder"),
        ("type=secret,id=s", "/made/victim"),
    ] {
        for parent in ["/made", "/made/.."] {
            let script = format!(
                "rm -rf /made 2> /dev/null; mv /made /moved; ln -s {outside} /made; ls -ld /made; \
                 cat /made/victim; cd {parent}; true"
            );
            scene.dockerfile(&format!("FROM base\nRUN --mount={mount},target={target} {script}\n"));
            fs::write(scene.folder().join("secret"), "of the test\n").unwrap();
            let secret = format!("id=s,src={}/secret", scene.folder().display());
            scene.tried(&["--no-cache", "--secret", &secret]);
            scene.assert_untouched();
        }
    }
}

/// The places of `/etc/hosts` and `/etc/resolv.conf`, and the directories of the kernel's files.
pub fn the_usual_places_become_links(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let outside = scene.outside_text();
    for script in [
        "mv /etc /moved; ln -s OUT /etc",
        "umount /etc/hosts; rm -f /etc/hosts; ln -s OUT/victim /etc/hosts",
        "mv /proc /p; ln -s OUT /proc",
        "rm -rf /dev; ln -s OUT /dev",
        "mv /sys /s; ln -s OUT /sys; ln -s OUT/victim /etc/hosts.new; mv /etc/hosts.new /etc/hosts",
    ] {
        let script = script.replace("OUT", outside);
        scene.dockerfile(&format!(
            "FROM base\nRUN {script}; true\nRUN ls /etc /dev; cat /etc/hosts\nRUN true\n"
        ));
        scene.tried(&["--no-cache"]);
        scene.assert_untouched();
    }
}

/// What the step leaves is a layer without a trace of the mount point.
pub fn nothing_is_left_of_a_mount_point(mode: Mode) {
    let scene = Scene::with_base(
        mode,
        "FROM base\nRUN --mount=type=tmpfs,target=/made/a/b --mount=type=cache,target=/d/new echo x > /x\n",
    );
    assert_eq!(scene.image_of_build().top_layer().paths(), ["x"]);
}
