//! `lbuild pull`.

use std::io::{self, Write};
use std::sync::Arc;

use lbuild_importer::Pulled;
use lbuild_layer_store::Store;
use lbuild_oci::{Platform, Reference};

use crate::args::{GlobalArgs, PullArgs};
use crate::failure::Failure;
use crate::fetch::Fetch;
use crate::signals::Watch;
use crate::size::Size;
use crate::{diagnostics, registry, root};

/// Brings images from their registries into the store, unpacked, and prints them. After a signal nothing
/// of what did not come whole is left.
pub fn run(global: &GlobalArgs, args: &PullArgs) -> Result<(), Failure> {
    let fetch = Arc::new(Fetch::default());
    let store = root::open_with(global, Arc::clone(&fetch))?;
    let watch = Watch::new()?;
    fetch.heed(watch.cancel());
    let interruption = watch.begin()?;
    pull(&store, args, &watch).map_err(|failure| match interruption.exit() {
        Some(exit) => {
            diagnostics::print("error: the pull was interrupted");
            Failure::Reported(exit)
        }
        None => failure,
    })
}

fn pull(store: &Store, args: &PullArgs, watch: &Watch) -> Result<(), Failure> {
    let client = registry::client(Some(watch.cancel()))?;
    let mut out = io::stdout().lock();
    for name in &args.names {
        let (platform, foreign) = (args.platform.as_ref(), args.allow_foreign_layers);
        let pulled = registry::pull(store, &client, name, platform, foreign, false, !args.quiet)?;
        tell_other_platform(name, platform, &pulled.image.platform);
        if args.quiet {
            writeln!(out, "{}", pulled.image.id)?;
        } else {
            writeln!(out, "{}", describe(store, name, &pulled)?)?;
        }
    }
    Ok(())
}

/// Tells that an image without an index is for another platform than was asked for, as Docker does.
fn tell_other_platform(name: &Reference, asked: Option<&Platform>, found: &Platform) {
    let is_other = |asked: &&Platform| (&asked.os, &asked.architecture) != (&found.os, &found.architecture);
    if let Some(asked) = asked.filter(is_other) {
        let name = name.familiar();
        diagnostics::print(&format!("warning: {name} is for {found} alone, and {asked} was asked for"));
    }
}

/// `Pulled debian:12 (sha256:0123456789ab, linux/amd64, 117.4 MB), digest sha256:…`.
fn describe(store: &Store, name: &Reference, pulled: &Pulled) -> Result<String, Failure> {
    Ok(format!(
        "{} {} (sha256:{}, {}, {}), digest {}",
        if pulled.was_here { "Already here:" } else { "Pulled" },
        name.familiar(),
        pulled.image.id.short(),
        pulled.image.platform,
        Size::of_image(store, &pulled.image)?,
        pulled.digest
    ))
}
