//! `lbuild tag`.

use lbuild_layer_store::Store;

use super::find;
use crate::args::TagArgs;
use crate::failure::Failure;

/// Gives an image further names.
pub fn run(store: &Store, args: &TagArgs) -> Result<(), Failure> {
    let image = find(store, &args.source)?;
    for name in &args.names {
        store.tag(name, &image.id)?;
    }
    Ok(())
}
