//! Where the store is.

use std::env;
use std::fs;
use std::path::PathBuf;

use lbuild_layer_store::{Store, StoreOptions};

use crate::args::GlobalArgs;
use crate::exit::Exit;
use crate::failure::Failure;

/// Opens the store that the options name, or the user's own.
pub fn open(global: &GlobalArgs) -> Result<Store, Failure> {
    let root = match &global.root {
        Some(root) if !root.as_os_str().is_empty() => root.clone(),
        _ => default_root()?,
    };
    let options = StoreOptions { userxattr: in_user_namespace() };
    Ok(Store::open(&root, options)?)
}

fn default_root() -> Result<PathBuf, Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok("/var/lib/lbuild".into());
    }
    let folder = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/share")))
        .map(|data| data.join("lbuild"))
        .ok_or_else(|| {
            Failure::new(Exit::Store, "there is no folder for the store: HOME is not set")
                .help("name one with --root or LBUILD_ROOT")
        })
}

/// Whether ids here are not those of the machine, so that overlayfs keeps its marks in `user.*`.
fn in_user_namespace() -> bool {
    let Ok(map) = fs::read_to_string("/proc/self/uid_map") else { return false };
    map.split_whitespace().ne(["0", "0", "4294967295"])
}
