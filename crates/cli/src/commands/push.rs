//! `lbuild push`.

use std::io::{self, Write};

use lbuild_exporter::EarlyPush;
use lbuild_layer_store::Store;
use lbuild_oci::Reference;
use serde_json::json;

use super::find;
use crate::args::PushArgs;
use crate::failure::Failure;
use crate::output::{Destination, Form, Output};
use crate::{aside, registry};

/// Brings an image to registries, and prints its digest there.
pub fn run(store: &Store, args: &PushArgs) -> Result<(), Failure> {
    let image = find(store, &args.image)?;
    let names = names(args)?;
    let output = Output {
        compression: args.compression,
        level: args.compression_level,
        force_compression: args.force_compression,
        ..Output::new(Form::Image, Destination::None)
    };
    output.check_compression().map_err(Failure::usage)?;
    if let Some(path) = &args.metadata_file {
        aside::check(path).map_err(Failure::io(format!("cannot write {}", path.display())))?;
    }
    let pushed = registry::push(
        store,
        std::slice::from_ref(&image),
        &names,
        &output,
        &registry::client(None)?,
        &EarlyPush::default(),
    )?;
    if let Some(path) = &args.metadata_file {
        let all: Vec<String> = names.iter().map(Reference::to_string).collect();
        let metadata = json!({
            "containerimage.config.digest": image.id,
            "containerimage.digest": pushed.written.manifest,
            "image.name": all.join(","),
        });
        aside::write(path, format!("{metadata:#}\n").as_bytes())
            .map_err(Failure::io(format!("cannot write {}", path.display())))?;
    }
    let mut out = io::stdout().lock();
    if args.quiet {
        writeln!(out, "{}", pushed.written.manifest)?;
    } else {
        writeln!(out, "{}", registry::describe(&names, &pushed))?;
    }
    Ok(())
}

/// Where the image goes: by default to the name that it is asked for by.
fn names(args: &PushArgs) -> Result<Vec<Reference>, Failure> {
    let names = if args.names.is_empty() {
        let own = args.image.parse().map_err(|_| Failure::usage(format!("{} is no name", args.image)));
        vec![own?]
    } else {
        args.names.clone()
    };
    check(&names)?;
    Ok(names)
}

/// What is pushed gets its digest; nobody can ask for one.
pub fn check(names: &[Reference]) -> Result<(), Failure> {
    match names.iter().find(|name| name.digest().is_some()) {
        Some(name) => Err(Failure::usage(format!("{name} has a digest: write a tag to push to"))),
        None => Ok(()),
    }
}
