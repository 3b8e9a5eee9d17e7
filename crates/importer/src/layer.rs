//! Layers, checked against the DiffIDs that a configuration claims.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lbuild_archive::{Bounded, Compression, decompress_within};
use lbuild_layer_store::{Blob, Layer, Store};
use lbuild_oci::{DiffId, Digest, Hasher, MediaType};

use crate::source::Stored;
use crate::{ImportError, Limits};

/// What a configuration and a manifest together say: this blob unpacks to the tar of this DiffID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    pub blob: Stored,
    pub diff_id: DiffId,
}

/// Layers that were verified: images share them, and one image may have a layer twice.
pub(crate) type VerifiedLayers = HashMap<Claim, Layer>;

/// Verifies those of `claims` that are not in `verified`, and returns the layers in their order.
pub(crate) fn verify_all(
    store: &Store,
    claims: &[Claim],
    limits: &Limits,
    verified: &mut VerifiedLayers,
) -> Result<Vec<Layer>, ImportError> {
    let missing: HashSet<Claim> =
        claims.iter().filter(|claim| !verified.contains_key(claim)).copied().collect();
    let missing: Vec<Claim> = missing.into_iter().collect();
    let layers = verify_each(store, &missing, limits)?;
    verified.extend(missing.into_iter().zip(layers));
    Ok(claims.iter().filter_map(|claim| verified.get(claim).cloned()).collect())
}

/// Verifies all claims, several at a time, and returns the layers in their order.
fn verify_each(store: &Store, claims: &[Claim], limits: &Limits) -> Result<Vec<Layer>, ImportError> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, claim)) = take(claims, &next) {
            let result = verify(store, claim, limits);
            let failed = result.is_err();
            done.push((index, result));
            if failed {
                next.store(claims.len(), Ordering::Relaxed);
            }
        }
        done
    };
    let threads = thread::available_parallelism().map_or(1, usize::from).min(claims.len());
    let results = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<HashMap<_, _>>()
    });
    let mut results: Vec<_> = results.into_iter().collect();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

fn take<'a>(claims: &'a [Claim], next: &AtomicUsize) -> Option<(usize, &'a Claim)> {
    let index = next.fetch_add(1, Ordering::Relaxed);
    Some((index, claims.get(index)?))
}

pub(crate) fn verify(store: &Store, claim: &Claim, limits: &Limits) -> Result<Layer, ImportError> {
    let Stored { digest, size } = claim.blob;
    if digest == *claim.diff_id.digest() {
        return Ok(imported(claim.diff_id, size, claim.blob, MediaType::Layer));
    }
    if let Some(known) = known(store, claim)? {
        return Ok(known);
    }
    let unreadable = |source| ImportError::Layer { layer: digest, source };
    let file = store.open_blob(&digest).map_err(|source| keep_error(digest, source))?;
    let ratio = lbuild_archive::Limits { ratio: limits.ratio, ..limits.archive };
    let (compression, tar) = decompress_within(file, &ratio).map_err(unreadable)?;
    let mut tar = Bounded::new(tar, limits.layer);
    let media_type = match compression {
        Compression::Gzip => MediaType::LayerGzip,
        Compression::Zstd => MediaType::LayerZstd,
        Compression::Bzip2 | Compression::Xz => return unpacked(store, claim, &mut tar),
        // An uncompressed layer whose digest is not its DiffID.
        Compression::None => return Err(mismatch(claim, digest)),
    };
    let mut hasher = Hasher::new();
    let size = io::copy(&mut tar, &mut hasher).map_err(unreadable)?;
    let found = hasher.finish();
    if found != *claim.diff_id.digest() {
        return Err(mismatch(claim, found));
    }
    Ok(imported(claim.diff_id, size, claim.blob, media_type))
}

/// What the store knows already of the same layer in the same blob.
fn known(store: &Store, claim: &Claim) -> Result<Option<Layer>, ImportError> {
    let layer = store.layer(&claim.diff_id).map_err(|source| keep_error(claim.blob.digest, source))?;
    Ok(layer.filter(|layer| layer.blob.as_ref().is_some_and(|blob| blob.digest == claim.blob.digest)))
}

/// A layer that is compressed as Docker reads and no image may have: its tar is kept instead.
fn unpacked(store: &Store, claim: &Claim, tar: &mut dyn Read) -> Result<Layer, ImportError> {
    let stored = Stored::keep(store, &format!("layer {}", claim.blob.digest), tar, None)?;
    if stored.digest != *claim.diff_id.digest() {
        return Err(mismatch(claim, stored.digest));
    }
    Ok(imported(claim.diff_id, stored.size, stored, MediaType::Layer))
}

pub(crate) fn imported(diff_id: DiffId, size: u64, blob: Stored, media_type: MediaType) -> Layer {
    Layer::imported(diff_id, size, Blob { digest: blob.digest, size: blob.size, media_type })
}

pub(crate) fn mismatch(claim: &Claim, found: Digest) -> ImportError {
    ImportError::DiffIdMismatch { layer: claim.blob.digest, expected: claim.diff_id, found: DiffId(found) }
}

fn keep_error(blob: Digest, source: lbuild_layer_store::StoreError) -> ImportError {
    ImportError::Store { what: format!("layer {blob}"), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_that_images_share_is_verified_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), lbuild_layer_store::StoreOptions::default()).unwrap();
        let blob = Stored { digest: Digest::of("no such blob"), size: 7 };
        let claim = Claim { blob, diff_id: DiffId(Digest::of("tar")) };
        let limits = Limits::default();
        assert!(verify_all(&store, &[claim], &limits, &mut VerifiedLayers::new()).is_err());
        let layer = imported(claim.diff_id, 9, blob, MediaType::LayerGzip);
        let mut verified = VerifiedLayers::from([(claim, layer.clone())]);
        let layers = verify_all(&store, &[claim, claim], &limits, &mut verified).unwrap();
        assert_eq!(layers, [layer.clone(), layer]);
    }
}
