//! Shared caches, as the command line names them.

use std::sync::Arc;

use lbuild_registry::Client;
use lbuild_shared_cache::{
    self as shared_cache, Folder, RegistryStorage, SharedCache, Source, SourcePlace, Storage, Target,
};

use crate::args::{CacheOrigin, CachePlace, CacheSpec, CacheTarget, CarryingImage};
use crate::failure::Failure;

/// The caches that a build reads, by `reader`, and writes, by `writer`; `None` if there are none.
pub fn of_build(
    from: &[CacheOrigin],
    to: &[CacheTarget],
    reader: &dyn Fn() -> Result<Client, Failure>,
    writer: &dyn Fn() -> Result<Client, Failure>,
) -> Result<Option<Arc<SharedCache>>, Failure> {
    // A build does without records that do not come soon.
    let impatient = || reader().map(|client| client.impatient());
    let mut sources = Vec::new();
    for origin in from {
        sources.extend(self::sources(origin, &impatient)?);
    }
    let specs = to.iter().filter_map(|target| match target {
        CacheTarget::Cache(spec) => Some(spec),
        CacheTarget::Inline { .. } => None,
    });
    let targets = specs
        .map(|spec| {
            let storage = open(&spec.place, writer)?;
            Ok(Target {
                name: name(spec),
                storage,
                namespace: spec.namespace.clone(),
                is_min: spec.is_min,
                ignores_errors: spec.ignores_errors,
                claims: spec.claims,
            })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    if sources.is_empty() && targets.is_empty() {
        return Ok(None);
    }
    // Who waits for another machine's record has to see it.
    let waited_for = targets.iter().filter(|target| target.claims).map(|target| Source {
        name: target.name.clone(),
        place: SourcePlace::Cache {
            storage: Arc::clone(&target.storage),
            namespace: target.namespace.clone(),
        },
    });
    sources.extend(waited_for);
    Ok(Some(Arc::new(SharedCache::new(sources, targets))))
}

/// What a build is told to look records up in. An image that is named has most of them, and costs no request
/// for each; one that is not is looked at after the records.
fn sources(
    origin: &CacheOrigin,
    client: &dyn Fn() -> Result<Client, Failure>,
) -> Result<Vec<Source>, Failure> {
    let spec = &origin.cache;
    let storage = open(&spec.place, client)?;
    let namespace = spec.namespace.clone();
    let mut sources = vec![Source { name: name(spec), place: SourcePlace::Cache { storage, namespace } }];
    if let (Some(image), CachePlace::Registry(name)) = (origin.image, &spec.place) {
        let is_expected = image == CarryingImage::Written;
        let carrying = shared_cache::CarryingImage::new(client()?.repository(name)?, name.clone());
        let place = SourcePlace::Image { image: Arc::new(carrying), is_expected };
        let source = Source { name: name.familiar(), place };
        sources.insert(if is_expected { 0 } else { 1 }, source);
    }
    Ok(sources)
}

/// The cache at a place.
pub fn open(
    place: &CachePlace,
    client: &dyn Fn() -> Result<Client, Failure>,
) -> Result<Arc<dyn Storage>, Failure> {
    Ok(match place {
        CachePlace::Folder(path) => Arc::new(Folder::new(path)?),
        CachePlace::Registry(name) => Arc::new(RegistryStorage::new(client()?.repository(name)?)),
    })
}

/// What people call a cache.
fn name(spec: &CacheSpec) -> String {
    let place = match &spec.place {
        CachePlace::Folder(path) => path.display().to_string(),
        CachePlace::Registry(name) => name.familiar_repository(),
    };
    format!("{place} ({})", spec.namespace)
}
