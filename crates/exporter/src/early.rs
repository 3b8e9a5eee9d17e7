//! Layers that go into a registry while their image is still being built.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use lbuild_layer_store::Store;
use lbuild_oci::{DiffId, Reference};
use lbuild_registry::Client;

use crate::layer_push::{LayerPush, Way};
use crate::push::PushOptions;
use crate::{ExportError, ExportOptions};

/// What was pushed early: the image's own [`push`](crate::push()) finds it there, and counts it by this.
#[derive(Debug, Default)]
pub struct EarlyPush(Mutex<State>);

/// Layers by their repositories.
#[derive(Debug, Default)]
struct State {
    begun: HashSet<(String, DiffId)>,
    ways: HashMap<(String, DiffId), Way>,
}

impl EarlyPush {
    /// Brings one layer to the repository of `name`, once.
    ///
    /// # Errors
    /// As [`push`](crate::push()), which tries again.
    pub fn push(
        &self,
        store: &Store,
        layer: &DiffId,
        client: &Client,
        name: &Reference,
        options: &PushOptions,
    ) -> Result<(), ExportError> {
        let repository = client.repository(name)?;
        let key = (repository.name().to_owned(), *layer);
        if !self.lock().begun.insert(key.clone()) {
            return Ok(());
        }
        let options: &ExportOptions = &options.export;
        // There is no image yet: errors name the layer.
        let push = LayerPush { store, repository: &repository, image: *layer.digest(), options };
        let pushed = push.push(layer)?;
        self.lock().ways.insert(key, pushed.way);
        Ok(())
    }

    /// How a layer came into a repository early.
    pub(crate) fn way(&self, repository: &str, layer: &DiffId) -> Option<Way> {
        self.lock().ways.get(&(repository.to_owned(), *layer)).copied()
    }

    /// The state is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
