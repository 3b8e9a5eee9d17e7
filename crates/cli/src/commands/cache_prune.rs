//! `lbuild cache prune`.

use std::fs;
use std::io::{self, Write};

use lbuild_registry::Client;
use lbuild_shared_cache::{PruneReport, prune};

use crate::args::{CachePlace, CachePruneArgs};
use crate::cache;
use crate::failure::Failure;

/// Removes old records, and prints how many.
pub fn run(args: &CachePruneArgs) -> Result<(), Failure> {
    let place = args.place().ok_or_else(|| Failure::usage("give --ref or --dest"))?;
    if let CachePlace::Folder(folder) = &place {
        fs::read_dir(folder).map_err(Failure::io(format!("cannot read {}", folder.display())))?;
    }
    let storage = cache::open(&place, &|| Ok(Client::new(|| false)?))?;
    let PruneReport { records, kept, blobs } = prune(&*storage, args.older_than, args.namespace.as_ref())?;
    let mut out = io::stdout().lock();
    writeln!(out, "Removed {records} records and {blobs} layers; {kept} records stay")?;
    Ok(())
}
