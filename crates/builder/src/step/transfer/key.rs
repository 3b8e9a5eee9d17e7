//! What a COPY or ADD is known by in the cache.

use lbuild_build_context::remote::redacted;
use lbuild_oci::{ChainId, Digest};
use serde_json::{Value, json};

use super::failure::failed;
use super::{Item, Remotes, Spot, Transfer, prepared};
use crate::BuildError;
use crate::copy::ModeChange;
use crate::key::Key;
use crate::solve::{Solver, StepPlace};
use crate::state::StageState;

/// A key that needs no look into the sources: for those that come from layers or from elsewhere.
pub(super) fn quick_key(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &StageState,
    transfer: &Transfer,
) -> Result<Option<Key>, BuildError> {
    let has_paths = transfer.sources.iter().any(|item| matches!(item, Item::Path(_)));
    let from = match &transfer.layers {
        Some(layers) => json!(ChainId::of(layers).map(|chain| chain.to_string())),
        None if !transfer.has_remote() => return Ok(None),
        None if !has_paths => Value::Null,
        None => {
            let tree = solver.build.contexts.open(&transfer.origin, None)?;
            let spot = Spot { destination: &transfer.destination, workdir: &state.workdir(), owner: None };
            let files = prepared(solver, transfer, Some(&tree), &spot, Remotes::LeftOut)
                .and_then(|prepared| {
                    prepared.digest(solver.build.contexts.memo(), &|| solver.build.cancel.is_cancelled())
                })
                .map_err(|error| failed(error, transfer, place.span))?;
            json!(files)
        }
    };
    let source = |item: &Item| match item {
        Item::Path(path) => json!({ "path": path }),
        Item::Remote(download) => json!({ "remote": download.identity() }),
    };
    let key = base_key(solver, state, transfer)
        .with("from", from)
        .with("sources", transfer.sources.iter().map(source).collect::<Vec<_>>())
        .with("inline", &transfer.inline)
        .with("exclude", &transfer.exclude)
        .with("parents", transfer.parents)
        .with("destination", &transfer.destination)
        .with("working directory", state.workdir())
        .with("mode", transfer.mode.as_ref().map(ModeChange::as_str))
        .with("unpack", format!("{:?}", transfer.unpack));
    Ok(Some(key))
}

/// The digests of the keys that a copy is known by, in the order in which they are looked up.
pub(super) fn keys(quick: Option<&Key>, by_files: Option<&Key>) -> Vec<Digest> {
    quick.into_iter().chain(by_files).map(Key::digest).collect()
}

pub(super) fn base_key(solver: &Solver<'_>, state: &StageState, transfer: &Transfer) -> Key {
    Key::new("copy", &state.layers)
        .with("owner", &transfer.owner)
        .with("link", transfer.is_linked())
        .with("source date epoch", solver.build.request.source_date_epoch)
}

/// The key with what people know the copy by.
pub(super) fn noted(key: Key, state: &StageState, transfer: &Transfer) -> Key {
    let source = |item: &Item| match item {
        Item::Path(path) => json!(path),
        Item::Remote(download) => json!(redacted(&download.url)),
    };
    let mut key = key
        .noting("its sources", transfer.sources.iter().map(source).collect::<Vec<_>>())
        .noting("its destination", &transfer.destination)
        .noting("working directory", state.workdir())
        .noting("--chmod", transfer.mode.as_ref().map(ModeChange::as_str))
        .noting("--exclude", &transfer.exclude);
    for (name, content) in &transfer.inline {
        key = key.noting(&format!("the text of <<{name}"), content);
    }
    for item in &transfer.sources {
        if let Item::Remote(download) = item {
            let name = format!("what is at {}", redacted(&download.url));
            key = key.noting(&name, Digest::of(download.identity()));
        }
    }
    key
}
