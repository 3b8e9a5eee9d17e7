//! A folder that machines share as a cache, where strangers may write.
//!
//! CVE-2024-23652 and its kind: a cleaner was led to other files by a link in the place of a folder.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, Mode as Permissions, mkfifoat};

use crate::row::Mode;
use crate::scene::Scene;

const DOCKERFILE: &str = "FROM base\nRUN echo one > /a\nRUN echo two > /b\n";

/// `--cache-to` and `--cache-from` of a folder.
fn options(cache: &Path) -> [String; 2] {
    let cache = cache.display();
    [format!("--cache-to=type=local,dest={cache}"), format!("--cache-from=type=local,src={cache}")]
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// What stands in the place of a record or a layer never ends: a FIFO, a device, a file of this machine.
pub fn files_that_are_no_files(mode: Mode) {
    let scene = Scene::with_base(mode, DOCKERFILE);
    let cache = scene.folder().join("shared");
    let [to, from] = options(&cache);
    let victim = scene.outside().join("victim");
    for (folder, kind) in [
        ("records", "fifo"),
        ("records", "device"),
        ("records", "link"),
        ("blobs/sha256", "fifo"),
        ("blobs/sha256", "link"),
    ] {
        let _ = fs::remove_dir_all(&cache);
        scene.build(["--no-cache", &to]).success();
        for path in files(&cache.join(folder)) {
            fs::remove_file(&path).unwrap();
            match kind {
                "fifo" => {
                    mkfifoat(CWD, &path, Permissions::RWXU).unwrap();
                    scene.user().inspect(|user| user.own(&path));
                }
                "device" => symlink("/dev/zero", &path).unwrap(),
                _ => symlink(&victim, &path).unwrap(),
            }
        }
        // A store that knows nothing of it asks for it.
        let reader = Scene::with_base(mode, DOCKERFILE);
        let run = scene.unseen(reader.tried(&[&from]));
        assert!(run.status.success(), "{kind} in {folder}: {run}");
        scene.unseen(reader.tried(&["--no-cache", &to]));
        let archive = reader.folder().join("image.tar");
        scene.unseen(reader.lbuild(["save", "-o", archive.to_str().unwrap(), &reader.name()]));
    }
}

/// The folder's own folders are links: nothing is written, nor swept away, where they lead.
pub fn folders_that_are_links(mode: Mode) {
    let scene = Scene::with_base(mode, DOCKERFILE);
    let cache = scene.folder().join("shared");
    let [to, from] = options(&cache);
    for (name, target) in [
        ("records", scene.outside().to_owned()),
        ("blobs", scene.outside().to_owned()),
        ("blobs/sha256", scene.outside().join("folder")),
    ] {
        let _ = fs::remove_dir_all(&cache);
        scene.build(["--no-cache", &to]).success();
        let folder = cache.join(name);
        fs::remove_dir_all(&folder).unwrap();
        symlink(target, &folder).unwrap();
        scene.tried(&["--no-cache", &to]);
        scene.tried(&["--no-cache", &from]);
        let dest = cache.to_str().unwrap();
        scene.unseen(scene.lbuild(["cache", "prune", "--older-than", "0s", "--dest", dest]));
        scene.assert_untouched();
    }
}

/// The sweep of a folder whose layers are a link would take every old file behind it.
pub fn a_sweep_that_is_led_away(mode: Mode) {
    let scene = Scene::with_base(mode, DOCKERFILE);
    let (cache, elsewhere) = (scene.folder().join("shared"), scene.folder().join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    scene.user().inspect(|user| user.own(&elsewhere));
    let precious = elsewhere.join("precious");
    fs::write(&precious, "x").unwrap();
    let old = SystemTime::now() - Duration::from_secs(1 << 27);
    File::open(&precious).unwrap().set_modified(old).unwrap();
    scene.build([&options(&cache)[0]]).success();
    let layers = cache.join("blobs/sha256");
    fs::remove_dir_all(&layers).unwrap();
    symlink(&elsewhere, &layers).unwrap();
    let dest = cache.to_str().unwrap();
    let run = scene.lbuild(["cache", "prune", "--older-than", "0s", "--dest", dest]);
    assert!(precious.exists(), "the sweep removed a file elsewhere: {run}");
    assert_eq!(
        files(&elsewhere).iter().filter_map(|path| path.file_name()).collect::<Vec<_>>(),
        [OsStr::new("precious")]
    );
}
