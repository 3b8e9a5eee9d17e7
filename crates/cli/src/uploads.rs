//! Uploads beside the build: layers of the image go to its registries as soon as they are known.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use lbuild_builder::Cancel;
use lbuild_exporter::{EarlyPush, LAYERS_AT_ONCE, PushOptions, Pushed};
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{DiffId, Reference};
use lbuild_registry::Client;

use crate::failure::Failure;
use crate::output::Output;
use crate::registry;

/// Uploads layers that a build makes. What fails is left to the push that follows the build, which tells.
pub struct Uploads<'a> {
    store: &'a Store,
    /// `None` where nothing is to be uploaded.
    client: Option<Client>,
    /// One name of each repository, and how its layers are to be.
    targets: Vec<(Reference, PushOptions)>,
    queue: Mutex<Queue>,
    changed: Condvar,
    early: EarlyPush,
}

#[derive(Default)]
struct Queue {
    layers: VecDeque<DiffId>,
    is_closed: bool,
}

impl<'a> Uploads<'a> {
    /// Nothing is uploaded yet; no registry is asked before there is a layer.
    ///
    /// # Errors
    /// What the user wrote of registries.
    pub fn new(
        store: &'a Store,
        targets: Vec<(Reference, PushOptions)>,
        cancel: &Cancel,
    ) -> Result<Self, Failure> {
        Ok(Self {
            store,
            client: if targets.is_empty() { None } else { Some(registry::client(Some(cancel))?) },
            targets,
            queue: Mutex::default(),
            changed: Condvar::new(),
            early: EarlyPush::default(),
        })
    }

    /// Uploads while `build` runs, and what is left of its layers if it succeeds. Whether it does is not
    /// known to a registry: a name is given by the push alone.
    pub fn beside<'scope, T, E>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        build: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        // The images of several platforms are built one after the other.
        self.lock().is_closed = false;
        let _closing = Closing(self);
        let workers = if self.targets.is_empty() { 0 } else { LAYERS_AT_ONCE };
        for _ in 0..workers {
            scope.spawn(|| self.run());
        }
        let built = build();
        if built.is_err() {
            self.lock().layers.clear();
        }
        built
    }

    /// A layer of the image is in the store.
    pub fn add(&self, layer: DiffId) {
        self.lock().layers.push_back(layer);
        self.changed.notify_one();
    }

    /// Pushes the images that were built to `names`, as `output` says.
    ///
    /// # Errors
    /// As [`registry::push`].
    pub fn push(
        &self,
        images: &[ImageRecord],
        names: &[Reference],
        output: &Output,
    ) -> Result<Pushed, Failure> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => registry::client(None)?,
        };
        registry::push(self.store, images, names, output, &client, &self.early)
    }

    fn run(&self) {
        let Some(client) = &self.client else { return };
        while let Some(layer) = self.next() {
            for (name, options) in &self.targets {
                if self.early.push(self.store, &layer, client, name, options).is_err() {
                    let mut queue = self.lock();
                    queue.layers.clear();
                    queue.is_closed = true;
                    self.changed.notify_all();
                }
            }
        }
    }

    /// The next layer; `None` once no more come.
    fn next(&self) -> Option<DiffId> {
        let mut queue = self.lock();
        loop {
            if let Some(layer) = queue.layers.pop_front() {
                return Some(layer);
            }
            if queue.is_closed {
                return None;
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The queue is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that no more layers come, also where the build panicked.
struct Closing<'a, 'b>(&'a Uploads<'b>);

impl Drop for Closing<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}
