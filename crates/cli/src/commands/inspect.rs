//! `lbuild inspect`.

use std::io::{self, Write};

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::Reference;
use serde_json::{Value, json};

use super::find;
use crate::args::InspectArgs;
use crate::failure::Failure;
use crate::size::Size;

/// Prints a JSON array of the images, each with the fields of `docker image inspect`.
pub fn run(store: &Store, args: &InspectArgs) -> Result<(), Failure> {
    let mut found = Vec::new();
    let mut missing = None;
    for name in &args.images {
        match find(store, name) {
            Ok(image) => found.push(inspect(store, &image)?),
            Err(failure) => missing = Some(missing.unwrap_or(failure)),
        }
    }
    // As Docker does: what is there is printed, and the status tells that something is not.
    let mut out = io::stdout().lock();
    writeln!(out, "{}", crate::text::json_lines(&Value::Array(found)))?;
    missing.map_or(Ok(()), Err)
}

fn inspect(store: &Store, image: &ImageRecord) -> Result<Value, Failure> {
    let (config, _) = store.image_config(&image.id)?;
    let names = names(store, image)?;
    let digests: Vec<String> = image
        .manifest
        .iter()
        .flat_map(|digest| names.iter().map(move |name| format!("{}@{digest}", name.familiar_repository())))
        .collect();
    let history: Vec<Value> = config
        .history
        .iter()
        .map(|entry| {
            json!({
                "Created": entry.created,
                "CreatedBy": entry.created_by,
                "Comment": entry.comment.clone().unwrap_or_default(),
                "EmptyLayer": entry.empty_layer,
            })
        })
        .collect();
    // Layers that it fetches have a size afterwards.
    let folders = folders(store, image)?;
    let size = Size::of_image(store, image)?;
    Ok(json!({
        "Id": image.id,
        "RepoTags": names.iter().map(Reference::familiar).collect::<Vec<_>>(),
        "RepoDigests": digests,
        "Created": config.created,
        "Author": config.author.clone().unwrap_or_default(),
        "Architecture": config.architecture,
        "Variant": config.variant.clone().unwrap_or_default(),
        "Os": config.os,
        "Size": size.total(),
        "CompressedSize": size.compressed(),
        "Config": config.config,
        "RootFS": { "Type": "layers", "Layers": image.layers },
        "GraphDriver": { "Name": "overlay2", "Data": folders },
        "History": history,
        "Annotations": image.annotations,
    }))
}

/// The image's folders, as overlayfs is given them: what the layers below the top hold, topmost first,
/// what the top layer changed, and where `lbuild mount` shows all of them merged.
///
/// A finished layer is read-only and has no work folder; `WorkDir` is where the next step's is made.
fn folders(store: &Store, image: &ImageRecord) -> Result<Value, Failure> {
    // Layers that were never looked at are unpacked now, and get their lasting place with the flush.
    store.layer_directories(&image.layers)?;
    store.flush()?;
    let mut folders = store.layer_directories(&image.layers)?;
    let upper = folders.pop();
    folders.reverse();
    let lower: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
    let mut data = json!({
        "MergedDir": super::mount::default_target(store, &image.id),
        "WorkDir": store.root().join("tmp"),
    });
    // As Docker does: the lowest layer has nothing below it.
    if !lower.is_empty() {
        data["LowerDir"] = lower.join(":").into();
    }
    if let Some(upper) = upper {
        data["UpperDir"] = upper.display().to_string().into();
    }
    Ok(data)
}

fn names(store: &Store, image: &ImageRecord) -> Result<Vec<Reference>, Failure> {
    let all = store.images()?;
    Ok(all.into_iter().find(|(found, _)| found.id == image.id).map(|(_, names)| names).unwrap_or_default())
}
