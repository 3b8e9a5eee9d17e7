//! `lbuild pull`.

use std::io::{self, Write};

use lbuild_importer::Pulled;
use lbuild_layer_store::Store;
use lbuild_oci::Reference;

use super::size;
use crate::args::PullArgs;
use crate::failure::Failure;
use crate::{registry, units};

/// Brings images from their registries into the store, and prints them.
pub fn run(store: &Store, args: &PullArgs) -> Result<(), Failure> {
    let client = registry::client(None)?;
    let mut out = io::stdout().lock();
    for name in &args.names {
        let (platform, foreign) = (args.platform.as_ref(), args.allow_foreign_layers);
        let pulled = registry::pull(store, &client, name, platform, foreign, false, !args.quiet)?;
        if args.quiet {
            writeln!(out, "{}", pulled.image.id)?;
        } else {
            writeln!(out, "{}", describe(store, name, &pulled)?)?;
        }
    }
    Ok(())
}

/// `Pulled debian:12 (sha256:0123456789ab, linux/amd64, 117.4 MB), digest sha256:…`.
fn describe(store: &Store, name: &Reference, pulled: &Pulled) -> Result<String, Failure> {
    Ok(format!(
        "{} {} (sha256:{}, {}, {}), digest {}",
        if pulled.was_here { "Already here:" } else { "Pulled" },
        name.familiar(),
        pulled.image.id.short(),
        pulled.image.platform,
        units::size(size(store, &pulled.image)?),
        pulled.digest
    ))
}
