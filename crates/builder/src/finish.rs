//! The target stage becomes an image.

use std::collections::BTreeMap;

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Digest, ImageConfig, json};

use crate::key::{Key, Record};
use crate::request::{BuildRequest, CacheUse};
use crate::state::StageState;
use crate::{BuildError, time};

/// Completes the configuration and puts the image into the store.
///
/// # Errors
/// The store's.
pub(crate) fn finish(
    store: &Store,
    request: &BuildRequest,
    state: StageState,
) -> Result<(ImageRecord, ImageConfig), BuildError> {
    let mut config = state.image;
    config.config.labels.extend(request.labels.clone());
    if let Some(platform) = &request.platform {
        config.os.clone_from(&platform.os);
        config.architecture.clone_from(&platform.architecture);
        config.variant.clone_from(&platform.variant);
    }
    let created = match request.source_date_epoch {
        Some(epoch) => time::rfc3339(epoch),
        None => created(store, request, &config, &state.layers),
    };
    date(&mut config, &created);
    let bytes = json::canonical(&config);
    let image = ImageRecord {
        id: Digest::of(&bytes),
        layers: state.layers,
        platform: config.platform(),
        created: config.created.clone(),
        manifest: None,
        annotations: BTreeMap::new(),
    };
    store.put_image(&image, &bytes)?;
    store.flush()?;
    Ok((image, config))
}

/// When an image of this configuration was made first: so that the same build, all of it cached,
/// gives the same image.
fn created(
    store: &Store,
    request: &BuildRequest,
    config: &ImageConfig,
    layers: &[lbuild_oci::DiffId],
) -> String {
    let undated = ImageConfig { created: None, ..config.clone() };
    let key = Key::new("image", layers).with("configuration", Digest::of(json::canonical(&undated)));
    let known = store.cache_get(&key.digest()).as_deref().and_then(Record::from_bytes);
    if let (Some(record), true) = (known, request.cache != CacheUse::None) {
        return record.created;
    }
    let created = time::now();
    let record = Record { key, layer: None, created: created.clone(), seconds: 0.0 };
    store.cache_put(&record.key.digest(), record.to_bytes(), layers);
    created
}

/// Dates the image, and those of our entries in its history that no step dated: instructions
/// without a layer have the time of the next step, or of the image.
fn date(config: &mut ImageConfig, created: &str) {
    config.created = Some(created.to_owned());
    let mut next = created.to_owned();
    for entry in config.history.iter_mut().rev() {
        match &entry.created {
            Some(time) => next.clone_from(time),
            None => entry.created = Some(next.clone()),
        }
    }
}
