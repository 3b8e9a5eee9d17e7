//! Expiry: records that are older than a time are removed.

use std::time::Duration;

use crate::{CacheError, Namespace, Storage, document, namespace};

/// What was removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// Records and claims.
    pub records: u64,
    /// Those that stay.
    pub kept: u64,
    /// Layers, where they are removed here and not by the registry.
    pub blobs: u64,
}

/// Removes the records that were written longer than `age` ago, of one namespace or of all, and then the
/// layers that no record names any more.
///
/// # Errors
/// [`CacheError`]: what was removed before stays removed.
pub fn prune(
    storage: &dyn Storage,
    age: Duration,
    of: Option<&Namespace>,
) -> Result<PruneReport, CacheError> {
    let mut report = PruneReport::default();
    let is_wanted = |name: &str| of.map_or_else(|| namespace::is_ours(name), |of| of.has(name));
    for listed in storage.documents(&is_wanted)? {
        let document_age = match listed.age {
            Some(age) => Some(age),
            None => storage.document(&listed.name)?.and_then(|bytes| document::age(&bytes)),
        };
        // What does not say its age is none of ours.
        if document_age.is_some_and(|document_age| document_age >= age) {
            storage.remove_document(&listed.name)?;
            report.records += 1;
        } else {
            report.kept += 1;
        }
    }
    report.blobs = storage.sweep(age)?;
    Ok(report)
}
