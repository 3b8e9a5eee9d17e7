//! `lbuild save`.

use std::slice;

use lbuild_layer_store::Store;
use lbuild_oci::Reference;

use super::find;
use crate::args::SaveArgs;
use crate::dockerfile::is_stdin;
use crate::export::{self, Export};
use crate::failure::Failure;
use crate::output::{Destination, Form, Output};

/// Writes an image's archive.
pub fn run(store: &Store, args: &SaveArgs) -> Result<(), Failure> {
    let to_stdout = is_stdin(&args.output);
    let destination = if to_stdout { Destination::Stdout } else { Destination::Path(args.output.clone()) };
    let output = Output::new(Form::Archive, destination);
    export::check(slice::from_ref(&output), 1)?;

    let image = find(store, &args.image)?;
    let names = names(store, &image.id, &args.image)?;
    Export { store, images: slice::from_ref(&image), names: &names, epoch: None }.write(&output)?;
    Ok(())
}

/// The name that the image was asked for by; all its names if that was its id.
fn names(store: &Store, id: &lbuild_oci::Digest, asked: &str) -> Result<Vec<Reference>, Failure> {
    let all = store
        .images()?
        .into_iter()
        .find(|(image, _)| image.id == *id)
        .map(|(_, names)| names)
        .unwrap_or_default();
    Ok(match asked.parse::<Reference>() {
        Ok(name) if all.contains(&name) => vec![name],
        _ => all,
    })
}
