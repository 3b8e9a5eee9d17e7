//! Where the store is.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use lbuild_layer_store::{Ownership, Store, StoreOptions, Trees};
use lbuild_runner::Standing;

use crate::args::{GlobalArgs, Isolation};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::fetch::Fetch;

/// Opens the store that the options name, or the user's own. An ordinary user enters a user namespace
/// for that: to be called before there are threads.
pub fn open(global: &GlobalArgs) -> Result<Store, Failure> {
    open_with(global, Arc::new(Fetch::default()))
}

/// [`open`], with what fetches the layers that are elsewhere.
pub fn open_with(global: &GlobalArgs, fetch: Arc<Fetch>) -> Result<Store, Failure> {
    let root = path(global)?;
    lbuild_layer_store::check_owner(&root)?;
    let standing = standing(global)?;
    let options = StoreOptions {
        // A namespace of our own may map all ids as they are.
        userxattr: standing != Standing::Root || in_user_namespace(),
        ownership: if standing == Standing::SingleId { Ownership::Noted } else { Ownership::Real },
        trees: if standing == Standing::Bare { Trees::Copies } else { Trees::Overlays },
        archive_limits: global.archive_limit.unwrap_or_default(),
    };
    let store = Store::open(&root, options)?;
    store.set_fetcher(fetch);
    Ok(store)
}

/// The store's folder.
pub fn path(global: &GlobalArgs) -> Result<PathBuf, Failure> {
    match &global.root {
        Some(root) if !root.as_os_str().is_empty() => Ok(root.clone()),
        _ => default_root(),
    }
}

/// Enters the user namespace that this process needs, and tells what it may do.
pub fn standing(global: &GlobalArgs) -> Result<Standing, Failure> {
    let isolation = match global.isolation.unwrap_or_default() {
        Isolation::Auto => lbuild_runner::Isolation::Auto,
        Isolation::Namespaces => lbuild_runner::Isolation::Namespaces,
        Isolation::Chroot => lbuild_runner::Isolation::Chroot,
    };
    lbuild_runner::take_standing(isolation).map_err(|error| Failure::Error {
        exit: Exit::Failed,
        error: error.into(),
        help: Some("`lbuild doctor` tells what forbids it and how to allow it".to_owned()),
    })
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
