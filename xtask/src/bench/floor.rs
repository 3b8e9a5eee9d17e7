//! What the disk and the kernel need for the same bytes, without any builder.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bench::measure::measure;
use crate::bench::samples::Samples;
use crate::command::{Failure, command, run_quietly};

/// Steps that one measurement of the cost of a step makes.
const STEPS: usize = 20;

/// A name, what was done, and seconds.
pub struct Floor {
    /// A short name.
    pub name: &'static str,
    /// What was measured.
    pub what: String,
    /// Seconds.
    pub seconds: Samples,
}

/// Measures `tree`, a folder with many files, and `rootfs`, the tar of a root file system.
pub fn floors(tree: &Path, rootfs: &Path, folder: &Path, runs: usize) -> Result<Vec<Floor>, Failure> {
    let copy = folder.join("copy");
    let durable = folder.join("durable-copy");
    let archive = folder.join("floor.tar");
    let shown = tree.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let copied = || {
        let mut command = command("cp", ["--archive"]);
        command.arg(tree).arg(&copy);
        command
    };
    let kept = || {
        let mut command = command("sh", ["-c", "cp --archive \"$0\" \"$1\" && sync -f \"$1\""]);
        command.arg(tree).arg(&durable);
        command
    };
    let packed = || {
        let mut command = command("sh", ["-c", "tar -cf - -C \"$0\" . | sha256sum"]);
        command.arg(tree);
        command
    };
    let written = || {
        let mut command = command("tar", ["-cf"]);
        command.arg(&archive).arg("-C").arg(tree).arg(".");
        command
    };
    let hashed = || {
        let mut command = command("sha256sum", [""; 0]);
        command.arg(&archive);
        command
    };
    let mut floors = vec![
        floor("cp", format!("`cp -a` of {shown}")),
        floor("kept", format!("`cp -a` of {shown}, and that it is on disk (`sync -f`)")),
        floor("pack", format!("`tar \\| sha256sum` of {shown}")),
        floor("tar", format!("`tar` of {shown} to a file")),
        floor("sha256sum", "`sha256sum` of that file".to_owned()),
    ];
    for _ in 0..runs {
        for (floor, command) in
            floors.iter_mut().zip([&copied as &dyn Fn() -> Command, &kept, &packed, &written, &hashed])
        {
            floor.seconds.push(measure(&command(), None)?.seconds);
        }
        for used in [&copy, &durable, &archive] {
            run_quietly(command("rm", ["-rf"]).arg(used))?;
        }
    }
    floors.push(step(rootfs, folder, runs)?);
    Ok(floors)
}

/// A mount, namespaces, a shell and an unmount.
fn step(rootfs: &Path, folder: &Path, runs: usize) -> Result<Floor, Failure> {
    let root = folder.join("step");
    run_quietly(command("rm", ["-rf"]).arg(&root))?;
    for name in ["lower", "merged"] {
        fs::create_dir_all(root.join(name)).map_err(Failure::of("cannot make a folder"))?;
    }
    run_quietly(command("tar", ["-xf"]).arg(rootfs).arg("-C").arg(root.join("lower")))?;
    let script = "cd \"$0\"; for i in $(seq $1); do mkdir upper$i work$i
        unshare --mount --pid --ipc --uts --fork sh -c \"mount -t overlay overlay \
            -o lowerdir=lower,upperdir=upper$i,workdir=work$i,volatile merged \
            && exec chroot merged sh -c 'echo $i > /f'\"
        done; rm -rf upper* work*";
    let mut floor =
        floor("step", "overlay mount, namespaces, chroot and `sh -c 'echo > /f'`, each".to_owned());
    for _ in 0..runs {
        let mut command = command("sh", ["-c", script]);
        let cost = measure(command.arg(&root).arg(STEPS.to_string()), None)?;
        floor.seconds.push(cost.seconds / STEPS as f64);
    }
    run_quietly(command("rm", ["-rf"]).arg(&root))?;
    Ok(floor)
}

fn floor(name: &'static str, what: String) -> Floor {
    Floor { name, what, seconds: Samples::default() }
}
