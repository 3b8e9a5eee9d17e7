//! Layers that are elsewhere: fetched when somebody looks into them.

use std::collections::HashSet;
use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lbuild_archive::Limits as ArchiveLimits;
use lbuild_oci::{DiffId, MediaType, lock};

use crate::check::digest_of;
use crate::error::OnPath;
use crate::layer::{FOREIGN_BYTES, FOREIGN_RATIO};
use crate::receive::Incoming;
use crate::rise::Place;
use crate::staging::remove_file;
use crate::{Blob, Layer, Store, StoreError};

/// Layers that are fetched at the same time.
const PARALLEL: usize = 4;

/// Fetches blobs from where a layer's [`sources`](Layer::sources) say that they are.
pub trait Fetcher: fmt::Debug + Send + Sync {
    /// Opens the blob at `source`; `None` if this is no place that it knows. What is read is verified by
    /// whoever asked.
    ///
    /// # Errors
    /// Why it cannot be opened.
    fn open(&self, source: &str, blob: &Blob) -> Option<io::Result<Box<dyn Read>>>;

    /// Whether the user ended what is being done: that a layer did not come then says nothing of it.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Is told that another process unpacks the same layers, and that it is waited for.
    fn waits(&self) {}
}

impl Store {
    /// Sets what fetches layers, once.
    pub fn set_fetcher(&self, fetcher: Arc<dyn Fetcher>) {
        // A second one would come too late for some layers anyway.
        let _ = self.fetcher.set(fetcher);
    }

    /// Whether a layer is here, and not only known: somebody has seen that its blob holds it.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn has_layer_here(&self, diff_id: &DiffId) -> Result<bool, StoreError> {
        match self.layer(diff_id)? {
            Some(layer) => self.is_here(&layer),
            None => Ok(false),
        }
    }

    /// Brings those of `layers` here that are elsewhere, and verifies each of them.
    ///
    /// # Errors
    /// [`StoreError::UnknownLayer`], and [`StoreError::Lost`] for one that cannot be fetched or is not
    /// what it should be.
    pub fn fetch_layers(&self, layers: &[DiffId]) -> Result<(), StoreError> {
        let mut missing: HashSet<DiffId> = HashSet::new();
        for diff_id in layers {
            if !self.is_here(&self.known_layer(diff_id)?)? {
                missing.insert(*diff_id);
            }
        }
        let missing: Vec<DiffId> = missing.into_iter().collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<(), StoreError> {
            while let Some(diff_id) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.write_layer_tar(diff_id, &mut io::sink())?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..PARALLEL.min(missing.len())).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Result<Vec<()>, _>>()
        })?;
        Ok(())
    }

    /// Opens the blob of a layer that came from elsewhere, fetched if it is not here. It holds the layer, and
    /// is as long as was said.
    ///
    /// # Errors
    /// As [`Store::fetch_layers`]; [`StoreError::UnknownLayer`] too for a layer that has no blob.
    pub fn layer_blob(&self, diff_id: &DiffId) -> Result<File, StoreError> {
        let layer = self.known_layer(diff_id)?;
        let is_told = !layer.sources.is_empty();
        if is_told || !self.is_here(&layer)? {
            // Perhaps nobody has read it yet; and one that the disk damaged meanwhile can be had again.
            self.write_layer_tar(diff_id, &mut io::sink())?;
        }
        let blob = layer.blob.as_ref().ok_or(StoreError::UnknownLayer(*diff_id))?;
        self.open_layer_blob(&layer, blob)
    }

    /// Opens the blob of a layer that is here. Whoever finds it damaged may take it away meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Lost`] for one that can be had elsewhere.
    pub(crate) fn open_layer_blob(&self, layer: &Layer, blob: &Blob) -> Result<File, StoreError> {
        let file = match self.open_blob(&blob.digest) {
            Err(error @ StoreError::UnknownBlob(_)) if !layer.sources.is_empty() => {
                return Err(StoreError::Lost { diff_id: layer.diff_id, source: error.into() });
            }
            result => result?,
        };
        let length = file.metadata().on("read", self.layout.blob(&blob.digest))?.len();
        self.check_length(layer, blob, length)?;
        Ok(file)
    }

    /// Forgets a layer that can be had elsewhere if its blob does not have the length that was said.
    fn check_length(&self, layer: &Layer, blob: &Blob, length: u64) -> Result<(), StoreError> {
        if layer.sources.is_empty() || length == blob.size {
            return Ok(());
        }
        let reason = format!("the blob is damaged: it has {length} bytes, expected {}", blob.size);
        Err(self.lose(layer, reason.into()))
    }

    /// A layer whose bytes are here, fetched if they were not; not verified.
    pub(crate) fn fetched(&self, diff_id: &DiffId) -> Result<Layer, StoreError> {
        let layer = self.known_layer(diff_id)?;
        if self.is_here(&layer)? {
            return Ok(layer);
        }
        let Some(blob) = &layer.blob else { return Ok(layer) };
        let fetching = Arc::clone(lock(&self.fetching).entry(blob.digest).or_default());
        let _alone = lock(&fetching);
        if self.has_blob(&blob.digest) {
            return Ok(layer);
        }
        self.fetch(&layer, blob, &mut |reader| self.write_blob(reader, Some(&blob.digest)).map(drop))?;
        Ok(layer)
    }

    /// Has `take` read the blob from each place where it should be, until it is content. A layer that it
    /// has from none is forgotten.
    fn fetch(
        &self,
        layer: &Layer,
        blob: &Blob,
        take: &mut dyn FnMut(&mut dyn Read) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut failure: Box<dyn Error + Send + Sync> = "nothing here can fetch it".into();
        for source in &layer.sources {
            let opened = self.fetcher.get().and_then(|fetcher| fetcher.open(source, blob));
            match opened {
                None => {}
                Some(Err(error)) => failure = error.into(),
                Some(Ok(mut reader)) => match take(&mut reader) {
                    Ok(()) => return Ok(()),
                    Err(error) if !says_of_source(&error) => return Err(error),
                    Err(error) => failure = error.into(),
                },
            }
        }
        match self.is_cancelled() {
            true => Err(StoreError::Lost { diff_id: layer.diff_id, source: failure }),
            false => Err(self.lose(layer, failure)),
        }
    }

    /// Forgets a layer that is not what was said of it, with its blob. The error tells why, and so does the one
    /// of whoever asks for the layer later.
    pub(crate) fn lose(&self, layer: &Layer, source: Box<dyn Error + Send + Sync>) -> StoreError {
        if let Err(error) = self.forget_elsewhere(layer) {
            return error;
        }
        let mut reason: &dyn Error = &*source;
        while let Some(cause) = reason.source() {
            reason = cause;
        }
        lock(&self.lost).insert(layer.diff_id, reason.to_string());
        StoreError::Lost { diff_id: layer.diff_id, source }
    }

    /// Forgets a layer, and its blob if that is damaged: one that is whole may be another layer's, which
    /// whoever told of this one named for it.
    fn forget_elsewhere(&self, layer: &Layer) -> Result<(), StoreError> {
        lock(&self.layers).remove(&layer.diff_id);
        lock(&self.pending).layers.remove(&layer.diff_id);
        let path = self.layout.layer(&layer.diff_id);
        // Another process may have made the layer meanwhile.
        let is_made = self.read_json_record(&path)?.is_some_and(|known: Layer| known.blob != layer.blob);
        if !is_made {
            remove_file(&path)?;
        }
        let Some(blob) = &layer.blob else { return Ok(()) };
        let (staged, named) =
            (lock(&self.pending).blobs.get(&blob.digest).cloned(), self.layout.blob(&blob.digest));
        // In this order: a flush may give the staged one its name meanwhile.
        for path in staged.iter().chain([&named]) {
            if digest_of(path)? == Some(blob.digest) {
                return Ok(());
            }
        }
        lock(&self.pending).blobs.remove(&blob.digest);
        if let Some(staged) = staged {
            remove_file(&staged)?;
        }
        remove_file(&named)
    }
}

impl Place<'_> {
    /// Takes the layer from where it is, and unpacks it while it comes; `false` if its blob came meanwhile,
    /// for somebody else.
    pub(crate) fn fetch(&self, layer: &Layer) -> Result<bool, StoreError> {
        let store = self.store;
        let Some(blob) = &layer.blob else { return Ok(false) };
        let fetching = Arc::clone(lock(&store.fetching).entry(blob.digest).or_default());
        // Not waited for: whoever has it may wait for this very layer, as one further up in the stack that has
        // the same blob does. Both take it then.
        let _alone = fetching.try_lock();
        if store.has_blob(&blob.digest) {
            return Ok(false);
        }
        let incoming = Incoming {
            digest: blob.digest,
            is_tar: blob.media_type == MediaType::Layer,
            max_bytes: if layer.size == 0 { FOREIGN_BYTES } else { layer.size.min(FOREIGN_BYTES) },
            limits: ArchiveLimits { ratio: FOREIGN_RATIO, ..store.layer_limits() },
        };
        let (mut length, mut size) = (0, 0);
        store.fetch(layer, blob, &mut |reader| {
            let received = self.receive(reader, &incoming)?;
            (length, size) = (received.blob_size, received.size);
            Ok(())
        })?;
        store.check_length(layer, blob, length)?;
        if !layer.is_verified {
            store.keep_verified(layer.clone(), size)?;
        }
        Ok(true)
    }
}

/// Whether an error tells that the place does not have the layer; else it would be the same elsewhere.
fn says_of_source(error: &StoreError) -> bool {
    !matches!(error, StoreError::Interrupted | StoreError::BadLayer { .. } | StoreError::Unpack { .. })
}
