//! `lbuild load`.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use lbuild_importer::{LoadOptions, Loaded};
use lbuild_layer_store::Store;

use crate::args::LoadArgs;
use crate::dockerfile::{is_stdin, stdin};
use crate::failure::Failure;
use crate::units;

/// Brings an archive's or a layout's images into the store, and prints them.
pub fn run(store: &Store, args: LoadArgs) -> Result<(), Failure> {
    let options = LoadOptions { names: args.tags, platform: args.platform, ..LoadOptions::default() };
    let loaded = match args.input.as_deref() {
        Some(path) if !is_stdin(path) => load_path(store, path, &options)
            .map_err(|failure| failure.during(format!("cannot load {}", path.display())))?,
        _ => lbuild_importer::load(store, stdin("an image archive")?, &options)?,
    };
    let mut out = io::stdout().lock();
    for image in &loaded {
        if args.quiet {
            writeln!(out, "{}", image.id)?;
        } else {
            writeln!(out, "{}", describe(image))?;
        }
    }
    Ok(())
}

fn load_path(store: &Store, path: &Path, options: &LoadOptions) -> Result<Vec<Loaded>, Failure> {
    if path.is_dir() {
        return Ok(lbuild_importer::load_layout(store, path, options)?);
    }
    let file = File::open(path).map_err(Failure::io("cannot open the file"))?;
    Ok(lbuild_importer::load(store, file, options)?)
}

/// `Loaded debian:12 (sha256:0123456789ab, linux/amd64, 1 layer, 117.4 MB)`.
fn describe(image: &Loaded) -> String {
    let names: Vec<String> = image.names.iter().map(|name| name.familiar()).collect();
    let names = if names.is_empty() { "an image without a name".to_owned() } else { names.join(", ") };
    let layers = image.layers.len();
    format!(
        "Loaded {names} (sha256:{}, {}, {layers} {}, {})",
        image.id.short(),
        image.platform,
        if layers == 1 { "layer" } else { "layers" },
        units::size(image.size)
    )
}
