//! Layers by their listings: a COPY fetches no base to find out where its destination is.
//!
//! A step that reads no file below itself gives the same layer on a tree that is made of listings, and
//! falls back to the whole tree where a content decides after all. Listings come from the shared caches,
//! which get them from the first machine that copies onto layers that it has.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use lbuild_layer_store::{ActiveSnapshot, Layer, PrepareOptions, StoreError, View};
use lbuild_oci::DiffId;

use crate::key::{Key, Record, RecordedLayer};
use crate::shared;
use crate::solve::{Executed, Solver, Step};
use crate::state::StageState;
use crate::user::is_numeric_owner;
use crate::{BuildError, time};

/// A layer of at most so many bytes is fetched and not listed: its listing would be no smaller.
const SMALL: u64 = 32 << 10;

/// What the names of owners are looked up in.
const OWNER_FILES: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// Layers that are to be listed for other machines.
pub(crate) struct Listings {
    wanted: Mutex<Wanted>,
    queue: Mutex<Option<Receiver<DiffId>>>,
}

struct Wanted {
    known: BTreeSet<DiffId>,
    /// `None` once no more are taken.
    sender: Option<Sender<DiffId>>,
}

impl Listings {
    /// None yet.
    pub fn new() -> Self {
        let (sender, queue) = channel();
        let wanted = Mutex::new(Wanted { known: BTreeSet::new(), sender: Some(sender) });
        Self { wanted, queue: Mutex::new(Some(queue)) }
    }

    /// Takes no more.
    pub fn close(&self) {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner).sender = None;
    }

    fn add(&self, layers: &[DiffId]) {
        let mut wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in layers {
            if wanted.known.insert(*layer)
                && let Some(sender) = &wanted.sender
            {
                // Nobody takes them where nothing is shared.
                let _ = sender.send(*layer);
            }
        }
    }
}

impl Solver<'_> {
    /// A [`Solver::step`] that reads no file that is below it: `execute` gets the tree, on listings where
    /// that will do.
    ///
    /// # Errors
    /// As [`Solver::step`].
    pub fn shallow_step<'s>(
        &self,
        state: &mut StageState,
        step: &dyn Fn() -> Step<'s>,
        execute: &dyn Fn(ActiveSnapshot) -> Result<Executed, BuildError>,
    ) -> Result<(), BuildError> {
        let listed = self.step(state, step(), |state| match self.hollow_tree(&state.layers)? {
            Some(active) => execute(active),
            None => execute(self.whole_tree(&state.layers)?),
        });
        match listed {
            Err(error) if shared::is_hollow(&error) => {
                self.step(state, step(), |state| execute(self.whole_tree(&state.layers)?))
            }
            result => result,
        }
    }

    /// A tree of `layers`, of which some are elsewhere, from their listings; `None` where it takes the
    /// layers themselves.
    ///
    /// # Errors
    /// [`BuildError::Store`].
    pub fn hollow_tree(&self, layers: &[DiffId]) -> Result<Option<ActiveSnapshot>, BuildError> {
        let store = self.build.store;
        let listings = self.listings_of(&store.lacking(layers)?);
        // A listing that cannot be used is as good as none.
        Ok(listings.and_then(|listings| store.prepare_hollow(layers, &listings).ok()))
    }

    /// A tree of `layers` to be written to, with all that their files hold.
    ///
    /// # Errors
    /// As [`lbuild_layer_store::Store::prepare`].
    pub fn whole_tree(&self, layers: &[DiffId]) -> Result<ActiveSnapshot, BuildError> {
        self.list(layers);
        Ok(self.build.store.prepare(layers, &PrepareOptions::default())?)
    }

    /// The same to be read alone.
    ///
    /// # Errors
    /// As [`lbuild_layer_store::Store::view`].
    pub fn whole_view(&self, layers: &[DiffId]) -> Result<View, BuildError> {
        self.list(layers);
        Ok(self.build.store.view(layers)?)
    }

    /// Makes the listings of layers that a copy was made on, for the shared caches, until no more come.
    pub fn run_listings(&self) {
        let queue = self.listings.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        for layer in queue.into_iter().flatten() {
            if self.build.cancel.is_cancelled() {
                return;
            }
            // Without it the next machine fetches the layer.
            if let Ok(Some(record)) = self.make_listing(&layer) {
                self.share_listing(&record);
            }
        }
    }

    /// Has `layers`, on which something is copied, listed for other machines.
    fn list(&self, layers: &[DiffId]) {
        if self.shares_listings() {
            self.listings.add(layers);
        }
    }

    /// The listing of each of the layers; `None` if one has none, or if there are no layers.
    fn listings_of(&self, layers: &[DiffId]) -> Option<HashMap<DiffId, DiffId>> {
        if layers.is_empty() {
            return None;
        }
        layers.iter().map(|layer| Some((*layer, self.listing(layer)?))).collect()
    }

    fn listing(&self, layer: &DiffId) -> Option<DiffId> {
        let store = self.build.store;
        let known = store.layer(layer).ok()??;
        // The layer itself is the best of listings.
        if store.has_layer_here(layer).ok()? || known.blob.is_some_and(|blob| blob.size <= SMALL) {
            return Some(*layer);
        }
        let key = key(layer);
        let here = store.cache_get(&key.digest()).as_deref().and_then(Record::from_bytes);
        let record = here.or_else(|| self.look_up_elsewhere(&key, &[]))?;
        record.layer.map(|listing| listing.diff_id)
    }

    /// The record of a layer's listing; `None` for a layer that needs none.
    fn make_listing(&self, diff_id: &DiffId) -> Result<Option<Record>, StoreError> {
        let store = self.build.store;
        let key = key(diff_id);
        if let Some(record) = store.cache_get(&key.digest()).as_deref().and_then(Record::from_bytes) {
            return Ok(Some(record));
        }
        if store.layer(diff_id)?.is_none_or(|layer| length(&layer) <= SMALL) {
            return Ok(None);
        }
        let listing = store.make_listing(diff_id)?;
        let layer = RecordedLayer { diff_id: listing.diff_id, size: listing.size, entries: listing.entries };
        let record = Record { key, layer: Some(layer), created: time::now(), seconds: 0.0, files: None };
        store.cache_put(&record.key.digest(), record.to_bytes(), &[listing.diff_id]);
        Ok(Some(record))
    }
}

/// What `--chown` or a user's name needs to know of the image must be known.
///
/// # Errors
/// [`StoreError::Hollow`].
pub(crate) fn check_owner_files(active: &ActiveSnapshot, owner: &str) -> Result<(), BuildError> {
    if is_numeric_owner(owner) {
        return Ok(());
    }
    for path in OWNER_FILES.map(Path::new) {
        let is_known =
            active.has_content(path).map_err(BuildError::io(format!("cannot read {}", path.display())))?;
        if !is_known {
            return Err(StoreError::Hollow { path: path.to_owned() }.into());
        }
    }
    Ok(())
}

fn key(layer: &DiffId) -> Key {
    Key::new("listing", &[]).with("layer", layer)
}

/// Bytes of a layer as it would be fetched, or more.
fn length(layer: &Layer) -> u64 {
    layer.blob.as_ref().map_or(layer.size, |blob| blob.size)
}
