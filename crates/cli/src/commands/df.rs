//! `lbuild df`.

use std::io::{self, Write};

use lbuild_layer_store::{DiskUsage, ImageUsage, Store};
use lbuild_oci::Reference;
use serde_json::json;

use crate::args::DfArgs;
use crate::failure::Failure;
use crate::table::Table;
use crate::units;

/// Shows what takes the store's disk space, and what a prune would free.
pub fn run(store: &Store, args: &DfArgs) -> Result<(), Failure> {
    let usage = store.disk_usage()?;
    let mut out = io::stdout().lock();
    if args.json {
        writeln!(out, "{}", crate::text::json_line(&json(&usage)))?;
        return Ok(());
    }
    summary(&usage).write(&mut out)?;
    let (prunable, all) = (units::size(usage.prunable), units::size(usage.prunable_all));
    writeln!(out, "\n`lbuild prune` would free {prunable}, `lbuild prune --all` {all}")?;
    if args.verbose {
        writeln!(out)?;
        images(&usage).write(&mut out)?;
        writeln!(out)?;
        super::cache::table(&usage.cache_mounts).write(&mut out)?;
    }
    Ok(())
}

fn summary(usage: &DiskUsage) -> Table {
    let mounts: u64 = usage.cache_mounts.iter().map(|mount| mount.bytes).sum();
    let mut table = Table::new(["", "COUNT", "SIZE"]);
    let mut row = |what: &str, count: u64, bytes: u64| {
        table.row([what.to_owned(), count.to_string(), units::size(bytes)]);
    };
    row("images", usage.image_parts.count, usage.image_parts.bytes);
    row("cached steps", usage.steps.count, usage.steps.bytes);
    row("cache mounts", usage.cache_mounts.len() as u64, mounts);
    row("unused", usage.unused.count, usage.unused.bytes);
    row("builds", usage.builds.count, usage.builds.bytes);
    row("quarantine", usage.quarantine.count, usage.quarantine.bytes);
    table.row(["total".to_owned(), String::new(), units::size(usage.total())]);
    table
}

fn images(usage: &DiskUsage) -> Table {
    let mut table = Table::new(["IMAGE", "ID", "SIZE", "SHARED", "UNIQUE"]);
    for one @ ImageUsage { image, bytes, shared, .. } in &usage.images {
        let (names, unique) = (names(one), bytes - shared);
        let shown = if names.is_empty() { "<none>".to_owned() } else { names.join(", ") };
        table.row([shown, image.id.short(), units::size(*bytes), units::size(*shared), units::size(unique)]);
    }
    table
}

fn names(usage: &ImageUsage) -> Vec<String> {
    usage.names.iter().map(Reference::familiar).collect()
}

fn json(usage: &DiskUsage) -> serde_json::Value {
    let images: Vec<_> = usage.images.iter().map(|one| {
        let ImageUsage { image, bytes, shared, .. } = one;
        json!({ "id": image.id, "names": names(one), "bytes": bytes, "shared": shared, "unique": bytes - shared })
    }).collect();
    let mounts: Vec<_> = usage.cache_mounts.iter().map(super::cache::json).collect();
    json!({
        "total": usage.total(),
        "images": { "bytes": usage.image_parts.bytes, "list": images },
        "cachedSteps": { "count": usage.steps.count, "bytes": usage.steps.bytes },
        "cacheMounts": mounts,
        "unused": { "count": usage.unused.count, "bytes": usage.unused.bytes },
        "builds": { "count": usage.builds.count, "bytes": usage.builds.bytes },
        "quarantine": { "count": usage.quarantine.count, "bytes": usage.quarantine.bytes },
        "prunable": usage.prunable,
        "prunableAll": usage.prunable_all,
    })
}
