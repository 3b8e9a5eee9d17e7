//! The conformance cases as they were recorded.
//!
//! A folder that went through a tool without symbolic links has files in their place that hold the
//! links' targets. The cases whose oracle is Buildah hold its own label, which another builder cannot
//! give. Both are mended in a copy, and every change is told.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::{Failure, command, run};
use crate::workspace::entries;

/// Cases that are left out, and why.
const LEFT_OUT: [(&str, &str); 1] = [(
    "bh-copy--parents-limit-parent-directories-1",
    "recorded from Buildah, which makes an empty directory above the pivot; BuildKit does not",
)];
const BUILDAH_LABEL: &str = "io.buildah.version";
/// No target in the cases is longer.
const MAX_TARGET: u64 = 200;

/// Copies the cases of `source` to `copy`, mended.
pub fn mend(source: &Path, copy: &Path) -> Result<(), Failure> {
    fs::create_dir_all(copy).map_err(Failure::of(format!("cannot make {}", copy.display())))?;
    run(command("cp", ["-r", "--preserve=mode"]).arg(source.join(".")).arg(copy))?;
    // The folder may have come without write permission.
    run(command("chmod", ["-R", "u+w"]).arg(copy))?;
    let (mut links, mut labels) = (0, 0);
    for case in entries(copy)? {
        let context = case.join("context");
        if context.is_dir() {
            links += restore_links(&context)?;
        }
        labels += usize::from(drop_label(&case.join("expected.json"))?);
    }
    println!("conformance: {links} symbolic links restored, {labels} cases without Buildah's label");
    for (name, reason) in LEFT_OUT {
        let case = copy.join(name);
        if case.exists() {
            println!("conformance: {name} is left out: {reason}");
            fs::remove_dir_all(&case).map_err(Failure::of(format!("cannot remove {}", case.display())))?;
        }
    }
    Ok(())
}

/// Makes links of the files that hold nothing but the path of another file; returns their number.
fn restore_links(folder: &Path) -> Result<usize, Failure> {
    let mut restored = 0;
    for path in entries(folder)? {
        let failed = || Failure::of(format!("cannot mend {}", path.display()));
        let metadata = fs::symlink_metadata(&path).map_err(failed())?;
        if metadata.is_dir() {
            restored += restore_links(&path)?;
        } else if let Some(target) = link_target(&path, &metadata) {
            fs::remove_file(&path).map_err(failed())?;
            symlink(target, &path).map_err(failed())?;
            restored += 1;
        }
    }
    Ok(restored)
}

fn link_target(path: &Path, metadata: &fs::Metadata) -> Option<PathBuf> {
    let is_candidate = metadata.is_file() && (1..=MAX_TARGET).contains(&metadata.len());
    if !is_candidate || path.file_name().is_some_and(|name| name == ".dockerignore") {
        return None;
    }
    let target = fs::read_to_string(path).ok()?;
    let place = path.parent()?.join(&target);
    let is_path = !target.contains(['\n', '\0']) && target != "." && place != path;
    (is_path && !target.starts_with('/') && place.symlink_metadata().is_ok()).then(|| target.into())
}

fn drop_label(file: &Path) -> Result<bool, Failure> {
    let Ok(text) = fs::read_to_string(file) else { return Ok(false) };
    let failed = |error: serde_json::Error| Failure(format!("{}: {error}", file.display()));
    let mut expected: Value = serde_json::from_str(&text).map_err(failed)?;
    let labels = expected.pointer_mut("/config/Labels").and_then(Value::as_object_mut);
    if labels.and_then(|labels| labels.remove(BUILDAH_LABEL)).is_none() {
        return Ok(false);
    }
    fs::write(file, expected.to_string()).map_err(Failure::of(format!("cannot write {}", file.display())))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_labels_are_mended_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("lbuild-cases-{}", std::process::id()));
        let context = folder.join("cases/a/context");
        fs::create_dir_all(context.join("d")).unwrap();
        fs::write(context.join("file"), "content").unwrap();
        fs::write(context.join("d/link"), "../file").unwrap();
        fs::write(context.join("d/text"), "../file\n").unwrap();
        fs::write(context.join(".dockerignore"), "file").unwrap();
        let expected = r#"{"config":{"Labels":{"a":"b","io.buildah.version":"1"}}}"#;
        fs::write(folder.join("cases/a/expected.json"), expected).unwrap();
        mend(&folder.join("cases"), &folder.join("copy")).unwrap();
        let copy = folder.join("copy/a");
        assert_eq!(fs::read_link(copy.join("context/d/link")).unwrap(), Path::new("../file"));
        for plain in ["context/file", "context/d/text", "context/.dockerignore"] {
            assert!(fs::read_link(copy.join(plain)).is_err(), "{plain}");
        }
        let labels = fs::read_to_string(copy.join("expected.json")).unwrap();
        assert_eq!(labels, r#"{"config":{"Labels":{"a":"b"}}}"#);
        fs::remove_dir_all(folder).unwrap();
    }
}
