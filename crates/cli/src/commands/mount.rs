//! `lbuild mount` and `lbuild umount`.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use lbuild_layer_store::Store;
use lbuild_oci::Digest;
use lbuild_runner::Standing;

use super::find;
use crate::args::{MountArgs, UmountArgs};
use crate::exit::Exit;
use crate::failure::Failure;

/// Shows an image's merged files in a folder, and prints the folder.
pub fn mount(store: &Store, standing: Standing, args: &MountArgs) -> Result<(), Failure> {
    let image = find(store, &args.image)?;
    if standing != Standing::Root {
        return Err(unseen(standing, &args.image));
    }
    let target = args.dir.clone().unwrap_or_else(|| default_target(store, &image.id));
    let failed = || Failure::io(format!("cannot mount on {}", target.display()));
    match &args.dir {
        None => fs::create_dir_all(&target).map_err(failed())?,
        Some(_) => check(&target).map_err(failed())?,
    }
    store.mount(&image.id, &target)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", target.display())?;
    Ok(())
}

/// Ends it.
pub fn umount(store: &Store, args: &UmountArgs) -> Result<(), Failure> {
    let shown = args.dir.display();
    fs::symlink_metadata(&args.dir).map_err(Failure::io(format!("cannot unmount {shown}")))?;
    store.unmount(&args.dir)?;
    // A folder that `mount` made goes too; one of the user's stays.
    if args.dir.parent() == Some(&folder(store)) {
        let _ = fs::remove_dir(&args.dir);
    }
    Ok(())
}

/// Where an image is shown if the user names no folder.
pub fn default_target(store: &Store, id: &Digest) -> PathBuf {
    folder(store).join(id.short())
}

fn folder(store: &Store) -> PathBuf {
    store.root().join("mounts")
}

/// A mount in a namespace of lbuild's own is seen by nobody else, and ends with it.
fn unseen(standing: Standing, image: &str) -> Failure {
    let why = match standing {
        Standing::Bare => "nothing can be mounted here",
        _ => "a mount without root is seen by lbuild alone",
    };
    Failure::new(Exit::Failed, format!("cannot mount {image}: {why}"))
        .help(format!("`lbuild shell {image}` is a shell in its files"))
}

/// A mount would hide what is in the folder.
fn check(target: &Path) -> io::Result<()> {
    match fs::read_dir(target)?.next() {
        None => Ok(()),
        Some(_) => Err(io::ErrorKind::DirectoryNotEmpty.into()),
    }
}
