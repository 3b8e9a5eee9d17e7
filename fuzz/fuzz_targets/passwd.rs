//! USER and `--chown` with any passwd and group file: no panic, no id that stands for none, and whoever is
//! found is in the file under that name.
//!
//! An input is a specification in the first line, then passwd, then after a line `--` group.

#![no_main]
#![allow(dead_code, reason = "a file of a crate, of which only the look-ups are called")]

#[path = "../../crates/builder/src/user.rs"]
mod user;

use std::cell::RefCell;
use std::fs;
use std::path::PathBuf;

use lbuild_confined::Root;
use libfuzzer_sys::fuzz_target;

use user::{file_owner, process_user};

/// An image's root, in memory where that is possible.
struct Image {
    etc: PathBuf,
    root: Root,
}

impl Image {
    fn new() -> Self {
        let memory = PathBuf::from("/dev/shm");
        let parent = if memory.is_dir() { memory } else { std::env::temp_dir() };
        let folder = parent.join(format!("lbuild-fuzz-passwd-{}", std::process::id()));
        let etc = folder.join("etc");
        fs::create_dir_all(&etc).expect("a folder for the image");
        Self { etc, root: Root::open(&folder).expect("the image's folder") }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = self.etc.parent().map(fs::remove_dir_all);
    }
}

thread_local! {
    static IMAGE: RefCell<Image> = RefCell::new(Image::new());
}

fuzz_target!(|input: &[u8]| {
    let (specification, files) = split(input, b"\n");
    let (passwd, group) = split(files, b"\n--\n");
    let Ok(specification) = std::str::from_utf8(specification) else { return };
    IMAGE.with_borrow(|image| {
        fs::write(image.etc.join("passwd"), passwd).expect("a passwd file");
        fs::write(image.etc.join("group"), group).expect("a group file");
        let (name, rest) = specification.split_once(':').unwrap_or((specification, ""));
        if let Ok(found) = process_user(&image.root, specification) {
            let ids = [found.uid, found.gid].into_iter().chain(found.groups.iter().copied());
            assert!(ids.into_iter().all(|id| id != u32::MAX), "{specification:?}: {found:?}");
            assert!(!found.home.is_empty());
            match number(name) {
                Some(uid) => assert_eq!(u64::from(found.uid), uid, "{specification:?}"),
                None if name.is_empty() => assert_eq!(found.uid, 0, "{specification:?}"),
                None => assert!(has(passwd, name, 2, found.uid), "{specification:?}: {found:?}"),
            }
            if let Some(gid) = number(rest) {
                assert_eq!(u64::from(found.gid), gid, "{specification:?}");
            } else if !rest.is_empty() {
                assert!(has(group, rest, 2, found.gid), "{specification:?}: {found:?}");
            }
        }
        if let Ok(((uid, gid), unknown)) = file_owner(&image.root, specification) {
            assert!(uid != u32::MAX && gid != u32::MAX, "{specification:?}");
            if unknown.is_none() && number(name).is_none() && !matches!(name, "" | "root") {
                assert!(has(passwd, name, 2, uid), "{specification:?}: {uid}");
            }
        }
    });
});

fn split<'a>(bytes: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    match bytes.windows(at.len()).position(|window| window == at) {
        Some(place) => (&bytes[..place], &bytes[place + at.len()..]),
        None => (bytes, b""),
    }
}

/// What a specification that is no name says.
fn number(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Whether a line of `file` has this name and this id, which is its field `field`.
fn has(file: &[u8], name: &str, field: usize, id: u32) -> bool {
    String::from_utf8_lossy(file).lines().any(|line| {
        let fields: Vec<_> = line.trim().split(':').collect();
        fields[0] == name && fields.get(field).and_then(|text| text.parse::<u32>().ok()) == Some(id)
    })
}
