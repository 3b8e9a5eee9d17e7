//! `lbuild rmi`.

use std::io::{self, Write};

use lbuild_layer_store::Store;
use lbuild_oci::{Digest, Reference};

use super::find;
use crate::args::RmiArgs;
use crate::exit::Exit;
use crate::failure::Failure;

/// Removes names; an image goes with its last one. What could not be removed does not stop the rest.
pub fn run(store: &Store, args: &RmiArgs) -> Result<(), Failure> {
    let mut failed = None;
    for image in &args.images {
        match remove(store, image, args.force) {
            Ok(()) => {}
            Err(Failure::ClosedOutput) => return Err(Failure::ClosedOutput),
            Err(failure) => failed = Some(failure.report()),
        }
    }
    failed.map_or(Ok(()), |exit| Err(Failure::Reported(exit)))
}

fn remove(store: &Store, text: &str, force: bool) -> Result<(), Failure> {
    let image = match find(store, text) {
        Err(Failure::Error { exit: Exit::Failed, .. }) if force => return Ok(()),
        image => image?,
    };
    let names = names(store, &image.id)?;
    let mut out = io::stdout().lock();
    match text.parse::<Reference>() {
        Ok(name) if names.contains(&name) && names.len() > 1 => {
            store.untag(&name)?;
            writeln!(out, "Untagged: {}", name.familiar())?;
            return Ok(());
        }
        // Its last name goes with it, and stays where it must stay.
        Ok(name) if names.contains(&name) => {}
        _ if names.len() > 1 && !force => {
            let names: Vec<String> = names.iter().map(Reference::familiar).collect();
            return Err(Failure::new(
                Exit::Failed,
                format!("image {text} has several names: {}", names.join(", ")),
            )
            .help("remove them by name, or all of them with --force"));
        }
        _ => {}
    }
    store.remove_image(&image.id)?;
    for name in &names {
        writeln!(out, "Untagged: {}", name.familiar())?;
    }
    writeln!(out, "Removed: {}", image.id)?;
    Ok(())
}

fn names(store: &Store, id: &Digest) -> Result<Vec<Reference>, Failure> {
    let all = store.images()?;
    Ok(all.into_iter().find(|(image, _)| image.id == *id).map(|(_, names)| names).unwrap_or_default())
}
