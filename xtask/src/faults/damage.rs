//! A bit flipped or a tail cut off in each kind of file of a store.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::bed::{Bed, succeeded};
use super::{Dice, Tried};
use crate::command::{Failure, command};

/// Where a store has files of each kind.
const KINDS: [&str; 15] = [
    "version",
    "marks",
    "snapshots",
    "layers",
    "blobs/sha256",
    "images",
    "names",
    "cache",
    "context-digests",
    "selection-digests",
    "builds",
    "logs",
    "file-lists",
    "cache-mounts",
    "sizes",
];

pub fn try_all(bed: &Bed, times: usize) -> Result<Tried, Failure> {
    let mut tried = Tried::new("damage");
    let mut dice = Dice::new();
    let (sound, store) = (bed.fresh("sound"), bed.folder().join("damaged"));
    bed.load(&sound).and_then(|()| bed.build(&sound)).map_err(Failure)?;
    // What snapshots take is noted when somebody asks.
    succeeded(&mut bed.command(&sound, ["df"])).map_err(Failure)?;
    for kind in KINDS {
        if files(&sound.join(kind)).is_empty() {
            tried = tried.not_run(&format!("no file in {kind}"));
            continue;
        }
        for is_cut in [false, true].into_iter().cycle().take(2 * times) {
            bed.fresh("damaged");
            succeeded(command("cp", ["-a"]).arg(&sound).arg(&store)).map_err(Failure)?;
            let mut found = files(&store.join(kind));
            let file = found.swap_remove(dice.below(found.len() as u64) as usize);
            let done = damage(&file, is_cut, &mut dice);
            let what =
                format!("{} in {}", if is_cut { "a cut tail" } else { "a flipped bit" }, file.display());
            let held = done.and_then(|()| after(bed, &store, kind));
            tried.add(&what, held);
        }
    }
    Ok(tried)
}

/// What `version` and `marks` say cannot be checked: a clear error is as good as a build.
fn after(bed: &Bed, store: &Path, kind: &str) -> Result<(), String> {
    let held = bed.holds(store);
    match (kind, &held) {
        ("version" | "marks", Err(error)) if error.contains("the store") => Ok(()),
        _ => held,
    }
}

fn damage(path: &Path, is_cut: bool, dice: &mut Dice) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let file = fs::File::options().read(true).write(true).open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    if is_cut {
        return file.set_len(dice.below(length)).map_err(failed);
    }
    let (at, bit) = (dice.below(length), 1 << dice.below(8));
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).map_err(failed)?;
    file.write_all_at(&[byte[0] ^ bit], at).map_err(failed)
}

/// All regular files in `path` that hold something.
fn files(path: &Path) -> Vec<PathBuf> {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Vec::new() };
    if metadata.is_file() && metadata.len() > 0 {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.flat_map(|entry| files(&entry.path())).collect()
}
