//! The target stage becomes an image.

use std::collections::BTreeMap;

use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Digest, ImageConfig, json};
use lbuild_shared_cache::{INLINE_FIELD, InlineStep, inline_field};

use crate::key::{Key, Record};
use crate::request::{BuildRequest, CacheUse};
use crate::state::StageState;
use crate::{BuildError, shared, time};

/// Completes the configuration and puts the image into the store. `other_steps` are those of stages that the
/// image is not made of, for an image that carries its cache.
///
/// # Errors
/// The store's.
pub(crate) fn finish(
    store: &Store,
    request: &BuildRequest,
    state: StageState,
    other_steps: Vec<InlineStep>,
) -> Result<(ImageRecord, ImageConfig), BuildError> {
    let (mut config, mut steps) = (state.image, state.steps);
    config.config.labels.extend(request.labels.clone());
    if let Some(platform) = &request.platform {
        config.os.clone_from(&platform.os);
        config.architecture.clone_from(&platform.architecture);
        config.variant.clone_from(&platform.variant);
    }
    let created = match request.source_date_epoch {
        Some(epoch) => time::rfc3339(epoch),
        // All machines that have the steps' records make the same image, and need not ask for its time.
        None => state.last_step.unwrap_or_else(|| {
            let record = dated(store, request, &config, &state.layers);
            steps.push(record.carried(vec![record.key.digest()]));
            record.created
        }),
    };
    date(&mut config, &created);
    if request.carries_cache {
        let others = other_steps.into_iter().filter(|step| !steps.contains(step)).collect::<Vec<_>>();
        steps.extend(others);
        config.extra.insert(INLINE_FIELD.to_owned(), inline_field(&steps));
    }
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

/// The record of when an image of this configuration, whose steps have no times, was made first: so that the
/// same build gives the same image again.
fn dated(
    store: &Store,
    request: &BuildRequest,
    config: &ImageConfig,
    layers: &[lbuild_oci::DiffId],
) -> Record {
    let undated = ImageConfig { created: None, ..config.clone() };
    let key = Key::new("image", layers).with("configuration", Digest::of(json::canonical(&undated)));
    let is_allowed = request.cache != CacheUse::None;
    let shared = request.shared_cache.as_deref();
    let known = store.cache_get(&key.digest()).as_deref().and_then(Record::from_bytes);
    let known = known.or_else(|| shared::find(store, shared?, &key, layers).ok().flatten());
    let record = match known.filter(|_| is_allowed) {
        Some(record) => record,
        None => {
            let record = Record { key, layer: None, created: time::now(), seconds: 0.0, files: None };
            store.cache_put(&record.key.digest(), record.to_bytes(), layers);
            record
        }
    };
    if let Some(shared) = shared {
        // Another machine that has all the steps from here then makes the same image.
        shared.write_now(store, &shared::entry(&record, true, !is_allowed, None));
    }
    record
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

#[cfg(test)]
mod tests {
    use lbuild_oci::Platform;

    use super::*;
    use crate::testing::Bed;

    fn state() -> StageState {
        let mut state = StageState::scratch(&Platform::host());
        state.record("ENV a=b".into(), None, None);
        state.record("RUN x".into(), Some("2020-01-01T00:00:00Z".into()), None);
        state.record("CMD y".into(), None, None);
        state
    }

    fn finished(bed: &Bed) -> (ImageRecord, ImageConfig) {
        finish(&bed.store, &bed.request, state(), Vec::new()).unwrap()
    }

    #[test]
    fn the_image_is_in_the_store() {
        let bed = Bed::new("");
        let (image, config) = finished(&bed);
        assert_eq!(bed.store.image(&image.id).unwrap().as_ref(), Some(&image));
        assert_eq!(bed.store.image_config(&image.id).unwrap().0, config);
    }

    #[test]
    fn labels_and_the_platform_of_the_command_line_are_the_images() {
        let mut bed = Bed::new("");
        bed.request.labels.insert("a".into(), "b".into());
        bed.request.platform = Some("linux/arm/v7".parse().unwrap());
        let (image, config) = finished(&bed);
        assert_eq!(config.config.labels.get("a").map(String::as_str), Some("b"));
        assert_eq!(image.platform.to_string(), "linux/arm/v7");
    }

    #[test]
    fn what_no_step_dated_has_the_time_of_the_next_step() {
        let mut bed = Bed::new("");
        bed.request.source_date_epoch = Some(1_700_000_000);
        let (_, config) = finished(&bed);
        let times: Vec<_> = config.history.iter().map(|entry| entry.created.as_deref().unwrap()).collect();
        assert_eq!(times, ["2020-01-01T00:00:00Z", "2020-01-01T00:00:00Z", "2023-11-14T22:13:20Z"]);
        assert_eq!(config.created.as_deref(), Some("2023-11-14T22:13:20Z"));
    }

    #[test]
    fn an_image_has_the_time_of_its_last_step_that_has_one() {
        let (_, config) = finished(&Bed::new(""));
        assert_eq!(config.created.as_deref(), Some("2020-01-01T00:00:00Z"));
        assert_eq!(config.history.last().unwrap().created, config.created);
    }

    #[test]
    fn an_image_without_steps_keeps_its_time_unless_the_cache_is_not_used() {
        fn state() -> StageState {
            let mut state = StageState::scratch(&Platform::host());
            state.record("CMD y".into(), None, None);
            state
        }
        let finished = |bed: &Bed| finish(&bed.store, &bed.request, state(), Vec::new()).unwrap();
        let mut bed = Bed::new("");
        let (first, _) = finished(&bed);
        let key = {
            let undated = ImageConfig { created: None, ..state().image };
            Key::new("image", &[]).with("configuration", Digest::of(json::canonical(&undated)))
        };
        let old = "2001-02-03T04:05:06Z".to_owned();
        let record =
            Record { key: key.clone(), layer: None, created: old.clone(), seconds: 0.0, files: None };
        bed.store.cache_put(&key.digest(), record.to_bytes(), &[]);
        let (again, config) = finished(&bed);
        assert_eq!(config.created, Some(old.clone()));
        assert_ne!(again.id, first.id);
        bed.request.cache = CacheUse::None;
        assert_ne!(finished(&bed).1.created, Some(old));
    }
}
