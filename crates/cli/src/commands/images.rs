//! `lbuild images`.

use std::collections::BTreeSet;
use std::io::{self, Write};

use jiff::Timestamp;
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Digest, Reference};
use serde_json::json;

use crate::args::{ImagesArgs, TableFormat};
use crate::failure::Failure;
use crate::size::Size;
use crate::table::Table;
use crate::units;

/// One name of an image, or an image without one.
struct Row {
    image: ImageRecord,
    name: Option<Reference>,
}

/// Lists the images, the newest first.
pub fn run(store: &Store, args: &ImagesArgs) -> Result<(), Failure> {
    let rows = rows(store, args.name.as_deref())?;
    let mut out = io::stdout().lock();
    if args.quiet {
        let mut seen = BTreeSet::new();
        for row in rows.iter().filter(|row| seen.insert(row.image.id)) {
            writeln!(out, "{}", id(&row.image.id, args.no_trunc))?;
        }
        return Ok(());
    }
    match args.format {
        TableFormat::Table => table(store, &rows, args.no_trunc)?.write(&mut out)?,
        TableFormat::Json => {
            for row in &rows {
                writeln!(out, "{}", crate::text::json_line(&object(store, row)?))?;
            }
        }
    }
    Ok(())
}

fn rows(store: &Store, prefix: Option<&str>) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (image, names) in store.images()? {
        if names.is_empty() {
            rows.push(Row { image, name: None });
        } else {
            rows.extend(names.into_iter().map(|name| Row { image: image.clone(), name: Some(name) }));
        }
    }
    if let Some(prefix) = prefix {
        rows.retain(|row| row.name.as_ref().is_some_and(|name| name.familiar().starts_with(prefix)));
    }
    rows.sort_by(|a, b| {
        let time = |row: &Row| row.image.created.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
        time(b).cmp(&time(a)).then_with(|| a.name.cmp(&b.name)).then_with(|| a.image.id.cmp(&b.image.id))
    });
    Ok(rows)
}

fn table(store: &Store, rows: &[Row], whole: bool) -> Result<Table, Failure> {
    let now = Timestamp::now();
    let mut table = Table::new(["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]);
    for row in rows {
        let (repository, tag) = split(row.name.as_ref());
        table.row([
            repository,
            tag,
            id(&row.image.id, whole),
            units::age(row.image.created.as_deref(), now),
            Size::of_image(store, &row.image)?.to_string(),
        ]);
    }
    Ok(table)
}

fn object(store: &Store, Row { image, name }: &Row) -> Result<serde_json::Value, Failure> {
    let (repository, tag) = split(name.as_ref());
    let size = Size::of_image(store, image)?;
    Ok(json!({
        "ID": image.id,
        "Repository": repository,
        "Tag": tag,
        "Platform": image.platform.to_string(),
        "CreatedAt": image.created,
        "Size": size.total(),
        "CompressedSize": size.compressed(),
        "Layers": image.layers.len(),
    }))
}

/// Repository and tag, `<none>` as Docker says where there is none.
fn split(name: Option<&Reference>) -> (String, String) {
    let none = || "<none>".to_owned();
    match name {
        Some(name) => (name.familiar_repository(), name.tag().map_or_else(none, str::to_owned)),
        None => (none(), none()),
    }
}

fn id(id: &Digest, whole: bool) -> String {
    if whole { id.to_string() } else { id.short() }
}
