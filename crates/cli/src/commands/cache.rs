//! `lbuild cache`: what `RUN --mount=type=cache` keeps, and what machines share.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::SystemTime;

use lbuild_layer_store::{CacheMount, Store};
use lbuild_runner::Cancel;
use serde_json::json;

use super::cache_prune;
use crate::args::{CacheCommand, CacheExportArgs, CacheImportArgs, CacheLsArgs};
use crate::aside::AsideFile;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::signals::Watch;
use crate::table::Table;
use crate::{diagnostics, units};

/// Lists, exports or imports cache mounts, or removes records that machines share, for which `store` is
/// not opened.
pub fn run(store: &dyn Fn() -> Result<Store, Failure>, command: &CacheCommand) -> Result<(), Failure> {
    match command {
        CacheCommand::Ls(args) => ls(&store()?, args),
        CacheCommand::Export(args) => export(&store()?, args),
        CacheCommand::Import(args) => import(&store()?, args),
        CacheCommand::Prune(args) => cache_prune::run(args),
    }
}

/// Cache mounts, for people.
pub fn table(mounts: &[CacheMount]) -> Table {
    let mut table = Table::new(["CACHE MOUNT", "SIZE", "LAST USED", ""]);
    let now = jiff::Timestamp::now();
    for mount in mounts {
        let last = last_used(mount).to_string();
        let state = if mount.is_in_use { "in use" } else { "" };
        table.row([
            mount.id.clone(),
            units::size(mount.bytes),
            units::age(Some(&last), now),
            state.to_owned(),
        ]);
    }
    table
}

/// A cache mount, for programs.
pub fn json(mount: &CacheMount) -> serde_json::Value {
    let last = last_used(mount).to_string();
    json!({ "id": mount.id, "bytes": mount.bytes, "lastUsed": last, "inUse": mount.is_in_use })
}

fn last_used(mount: &CacheMount) -> jiff::Timestamp {
    let since = mount.last_used.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    jiff::Timestamp::from_second(since.as_secs() as i64).unwrap_or_default()
}

fn ls(store: &Store, args: &CacheLsArgs) -> Result<(), Failure> {
    let mounts = store.cache_mounts()?;
    let mut out = io::stdout().lock();
    if args.json {
        for mount in &mounts {
            writeln!(out, "{}", crate::text::json_line(&json(mount)))?;
        }
        return Ok(());
    }
    Ok(table(&mounts).write(&mut out)?)
}

fn export(store: &Store, args: &CacheExportArgs) -> Result<(), Failure> {
    let watch = Watch::new()?;
    watch.begin()?;
    let (id, path) = (&args.id, &args.output);
    let failed = || Failure::io(format!("cannot write {}", path.display()));
    if path == Path::new("-") {
        return write(store, id, watch.cancel(), false, &mut io::stdout().lock());
    }
    let mut file = BufWriter::new(AsideFile::create(path).map_err(failed())?);
    let is_compressed = path.extension().is_some_and(|extension| extension == "zst");
    write(store, id, watch.cancel(), is_compressed, &mut file)?;
    let file = file.into_inner().map_err(|error| failed()(error.into_error()))?;
    file.commit().map_err(failed())
}

fn write(
    store: &Store,
    id: &str,
    cancel: &Cancel,
    is_compressed: bool,
    output: &mut dyn Write,
) -> Result<(), Failure> {
    if store.export_cache_mount(id, &|| cancel.is_cancelled(), is_compressed, output)? {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, format!("there is no cache mount {id}"))
        .help("`lbuild cache ls` lists what is there"))
}

fn import(store: &Store, args: &CacheImportArgs) -> Result<(), Failure> {
    let watch = Watch::new()?;
    watch.begin()?;
    let file = File::open(&args.file).map_err(Failure::io(format!("cannot read {}", args.file.display())))?;
    let cancel = watch.cancel();
    let entries = store
        .import_cache_mount(&args.id, &|| cancel.is_cancelled(), file)
        .map_err(|error| Failure::from(error).during(format!("cannot import {}", args.file.display())))?;
    let file = args.file.display();
    diagnostics::print(&format!("{file} is now the cache mount {}, entries: {entries}", args.id));
    Ok(())
}
