//! The builder's own program file.
//!
//! CVE-2019-5736: the image had the runtime's own program executed, by `#!/proc/self/exe` or as its entry,
//! kept it open and wrote to it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use lbuild_tests::{entry, lbuild_binary};
use tar::{Builder, EntryType};

use crate::row::Mode;
use crate::scene::{Scene, base};

pub fn it_cannot_be_written(mode: Mode) {
    let before = program();
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, "bin/entry", EntryType::Regular, 0o755, b"#!/proc/self/exe\n");
    entry(&mut tar, "bin/again", EntryType::Symlink, 0o777, b"/proc/self/exe");
    let scene = Scene::new(mode);
    scene.load_base("base", &base().layer(tar.into_inner().unwrap()));
    for instruction in [
        "RUN [\"/bin/entry\"]",
        "RUN [\"/bin/entry\", \"build\", \"/\"]",
        "RUN [\"/proc/self/exe\"]",
        "RUN [\"/bin/again\", \"--version\"]",
        "SHELL [\"/proc/self/exe\"]\nRUN x",
        "SHELL [\"/bin/entry\"]\nRUN x",
        "RUN for p in /proc/[0-9]*/exe /proc/self/exe /proc/1/exe; do (echo x >> $p) 2> /dev/null; \
            readlink $p; cp /dev/null $p; chmod 777 $p; chown 1:1 $p; truncate -s 0 $p; done; true",
        "RUN sleep 0.2 & for i in $(seq 100); do for p in /proc/[0-9]*; do (: > $p/exe) 2> /dev/null; \
            (: > $p/root/proc/1/exe) 2> /dev/null; done; done; true",
    ] {
        // None of this may be the program of busybox, which the step may write, so it is in its layer.
        scene.dockerfile(&format!("FROM base\n{instruction}\n"));
        let run = scene.tried(&[]);
        assert!(!run.stderr.contains(lbuild_binary().to_str().unwrap()), "its place is told: {run}");
        assert!(program() == before, "{instruction} changed lbuild");
    }
}

/// All that a write would change.
fn program() -> (u64, u64, u32, u64, i64, i64, Vec<u8>) {
    let stat = fs::metadata(lbuild_binary()).unwrap();
    let content = fs::read(lbuild_binary()).unwrap();
    (stat.dev(), stat.ino(), stat.mode(), stat.len(), stat.ctime(), stat.ctime_nsec(), content)
}
