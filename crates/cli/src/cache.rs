//! Shared caches, as the command line names them.

use std::sync::Arc;

use lbuild_registry::Client;
use lbuild_shared_cache::{Folder, RegistryStorage, SharedCache, Source, Storage, Target};

use crate::args::{CachePlace, CacheSpec};
use crate::failure::Failure;

/// The caches that a build reads, by `reader`, and writes, by `writer`; `None` if there are none.
pub fn of_build(
    from: &[CacheSpec],
    to: &[CacheSpec],
    reader: &dyn Fn() -> Result<Client, Failure>,
    writer: &dyn Fn() -> Result<Client, Failure>,
) -> Result<Option<Arc<SharedCache>>, Failure> {
    if from.is_empty() && to.is_empty() {
        return Ok(None);
    }
    // A build does without records that do not come soon.
    let impatient = || reader().map(|client| client.impatient());
    let mut sources = from
        .iter()
        .map(|spec| {
            let storage = open(&spec.place, &impatient)?;
            Ok(Source { name: name(spec), storage, namespace: spec.namespace.clone() })
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let targets = to
        .iter()
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
    // Who waits for another machine's record has to see it.
    let waited_for = targets.iter().filter(|target| target.claims).map(|target| Source {
        name: target.name.clone(),
        storage: Arc::clone(&target.storage),
        namespace: target.namespace.clone(),
    });
    sources.extend(waited_for);
    Ok(Some(Arc::new(SharedCache::new(sources, targets))))
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
