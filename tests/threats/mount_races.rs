//! Mount sources, mount targets and copied paths that are swapped between the check and the use.
//!
//! CVE-2024-23651 (BuildKit), CVE-2024-11218 (Buildah): two steps shared a cache, and one replaced the
//! mount's source by a symbolic link after it had been looked at. CVE-2021-30465 (runc), CVE-2026-42306:
//! the same with the target. Here sources and targets are opened inside their root once, and mounted by
//! those descriptors.

use std::fs;
use std::os::unix::fs::symlink;

use crate::race::{SWAPS, Swaps};
use crate::row::Mode;
use crate::scene::{Scene, base};

/// How many steps look while the names are swapped.
const STEPS: usize = 20;

/// A folder of the context trades places with a link to the folder outside.
fn swapped_context(scene: &Scene) -> Swaps {
    let (folder, link) = (scene.context().join("folder"), scene.context().join("link"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("victim"), "of the context\n").unwrap();
    symlink(scene.outside(), &link).unwrap();
    Swaps::start(&folder, &link)
}

pub fn a_copied_folder_is_swapped(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let swaps = swapped_context(&scene);
    for number in 0..STEPS {
        scene.dockerfile(&format!("FROM base\nCOPY folder /copied-{number}\nRUN cat /copied-*/* || true\n"));
        scene.tried(&["--no-cache"]);
    }
    swaps.end();
}

pub fn a_copied_file_is_swapped(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let (file, link) = (scene.context().join("file"), scene.context().join("link"));
    fs::write(&file, "of the context\n").unwrap();
    symlink(scene.outside().join("victim"), &link).unwrap();
    let swaps = Swaps::start(&file, &link);
    for number in 0..STEPS {
        scene.dockerfile(&format!("FROM base\nADD file /added-{number}\nRUN cat /added-* || true\n"));
        scene.tried(&["--no-cache"]);
    }
    swaps.end();
}

pub fn a_bound_source_is_swapped(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let swaps = swapped_context(&scene);
    for number in 0..STEPS {
        scene.dockerfile(&format!(
            "FROM base\nRUN --mount=type=bind,source=folder,target=/m,rw echo {number}; cat /m/*; echo x > /m/victim; \
             rm -rf /m/*; true\n"
        ));
        scene.tried(&["--no-cache"]);
    }
    swaps.end();
}

/// One step swaps names in a shared cache while others mount into it.
pub fn a_target_in_a_shared_cache_is_swapped(mode: Mode) {
    let scene = Scene::new(mode);
    scene.load_base("base", &base());
    let outside = scene.outside_text();
    let targets = ["/c/folder", "/c/folder/new", "/c/folder/victim", "/c/link/deep/new"];
    let mounts = ["type=tmpfs", "type=bind", "type=secret,id=s,required=false", "type=cache,id=other"];
    let mut looks = String::new();
    for number in 0..STEPS {
        let mount = mounts[number % mounts.len()];
        let target = targets[number / mounts.len() % targets.len()];
        looks += &format!(
            "RUN --mount=type=cache,id=c,target=/c --mount={mount},target={target} \
             echo {number}; cat /c/*/victim; touch {target}/made; true\n"
        );
    }
    scene.dockerfile(&format!(
        "FROM base AS swapper\n\
         RUN --mount=type=cache,id=c,target=/c rm -rf /c/*; mkdir -p /c/folder && ln -s {outside} /c/link && touch /c/ready\n\
         RUN --mount=type=cache,id=c,target=/c swap /c/folder /c/link {SWAPS} /c/stop\n\
         FROM base AS looker\n\
         RUN --mount=type=cache,id=c,target=/c for i in $(seq 1000); do [ -e /c/ready ] && break; sleep 0.01; done\n\
         {looks}\
         RUN --mount=type=cache,id=c,target=/c touch /c/stop\n\
         FROM scratch\nCOPY --from=swapper /etc/motd /1\nCOPY --from=looker /etc/motd /2\n"
    ));
    // A look may hit a link whose target is not there, and then the other step is told to end.
    let run = scene.tried(&["--build-arg", "BUILDKIT_CACHE_MOUNT_NS=race"]);
    let shown = run.stderr.contains("swapped ") || !run.status.success();
    assert!(shown, "there was no race: {run}");
}

/// The same race, undisturbed: the swaps run to their end while another build mounts.
pub fn a_source_in_a_shared_cache_is_swapped(mode: Mode) {
    let scene = Scene::new(mode);
    scene.load_base("base", &base());
    let (outside, token) = (scene.outside_text(), scene.bed_token());
    scene.dockerfile(&format!(
        "FROM base\nENV BED={token}\n\
         RUN --mount=type=cache,id=c,target=/c mkdir -p /c/folder && ln -s {outside} /c/link\n\
         RUN --mount=type=cache,id=c,target=/c echo started; swap /c/folder /c/link {SWAPS} /c/stop\n"
    ));
    let mut swapper = scene.start_build([""; 0]);
    swapper.wait_until_it_says("started");
    let context = scene.folder().join("looks");
    fs::create_dir(&context).unwrap();
    for number in 0..STEPS {
        let dockerfile = format!(
            "FROM base\nRUN --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/c/folder/t{number} \
             cat /c/*/victim; touch /c/folder/made /c/link/made; true\n\
             RUN --mount=type=cache,id=c,source=folder,target=/d cat /d/victim /d/*/victim; touch /d/made; true\n"
        );
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        scene.unseen(scene.lbuild(["build", "--progress", "plain", context.to_str().unwrap()]));
    }
    fs::write(context.join("Dockerfile"), "FROM base\nRUN --mount=type=cache,id=c,target=/c touch /c/stop\n")
        .unwrap();
    scene.lbuild(["build", context.to_str().unwrap()]).success();
    scene.unseen(swapper.end()).success().says(&["swapped "]);
}

/// A folder of the output trades places with a link.
pub fn an_output_folder_is_swapped(mode: Mode) {
    let scene = Scene::with_base(mode, "FROM base\nRUN mkdir -p /folder && echo mine > /folder/victim\n");
    scene.build([""; 0]).success();
    let output = scene.folder().join("output");
    fs::create_dir_all(output.join("folder")).unwrap();
    symlink(scene.outside(), output.join("link")).unwrap();
    let swaps = Swaps::start(&output.join("folder"), &output.join("link"));
    for _ in 0..STEPS {
        // A folder is never replaced by what is written, nor is a link.
        scene.tried(&["-o", output.to_str().unwrap()]);
    }
    swaps.end();
}
