//! Makes the snapshots that are missing.

use std::io::{ErrorKind, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd};

use lbuild_archive::{ArchiveError, Reader};
use lbuild_confined::Root;
use lbuild_oci::DiffId;
use rustix::fs::Stat;

use crate::apply::Application;
use crate::error::OnPath;
use crate::ground::{Beneath, Ground};
use crate::hollow::Depth;
use crate::rise::Place;
use crate::staging::Scratch;
use crate::step_lock::StepLock;
use crate::{Store, StoreError, directory};

/// As large as an unprivileged process may make a pipe: fewer changes between the two threads.
const PIPE_BYTES: usize = 1 << 20;

/// The layers below one that is unpacked, which are there.
struct Below<'a> {
    store: &'a Store,
    layers: &'a [DiffId],
    depth: Depth,
}

impl Beneath for Below<'_> {
    fn tree(&self) -> Result<Option<Root>, StoreError> {
        self.store.tree(self.layers, self.depth)
    }

    fn root(&self) -> Result<Stat, StoreError> {
        self.store.root_stat(self.layers)
    }

    fn carry_notes(&self, root: BorrowedFd<'_>) -> Result<(), StoreError> {
        self.store.carry_notes(self.layers, root)
    }
}

impl Store {
    /// Unpacks those of `layers`, a stack, that have no snapshot on what lies below them yet; those that
    /// are elsewhere come meanwhile.
    ///
    /// # Errors
    /// [`StoreError::UnknownLayer`], [`StoreError::Lost`], and those of unpacking.
    pub fn unpack_missing(&self, layers: &[DiffId]) -> Result<(), StoreError> {
        let chains = self.snapshots.chains(layers);
        if self.without_snapshot(&chains)?.is_empty() {
            return Ok(());
        }
        let locks = self.unpack_each(layers, &|place| place.unpack())?;
        // A sync of the disk takes long: only for who waits.
        if locks.iter().any(StepLock::is_wanted) {
            self.flush()?;
        }
        Ok(())
    }

    /// A layer's directory, made of the tar that `produce` writes. `layers` is the stack up to that
    /// layer; those below it are unpacked.
    pub(crate) fn apply(
        &self,
        layers: &[DiffId],
        produce: impl FnOnce(&mut dyn Write) -> Result<(), StoreError> + Send,
    ) -> Result<Scratch, StoreError> {
        let Some((diff_id, below)) = layers.split_last() else {
            return self.staging.directory();
        };
        self.apply_on(below, Depth::Whole, diff_id, produce)
    }

    /// The hollow directory of a layer that lies on `below`, as its listing has it.
    pub(crate) fn apply_listing(&self, below: &[DiffId], listing: &DiffId) -> Result<Scratch, StoreError> {
        self.apply_on(below, Depth::Hollow, listing, |output| {
            self.write_layer_tar(listing, output).map(|_| ())
        })
    }

    /// Hands over the layer's tar, entry by entry. It is verified when all is read.
    pub(crate) fn read_layer_tar(
        &self,
        diff_id: &DiffId,
        consume: &mut dyn FnMut(&mut Reader<PipeReader>) -> Result<(), ArchiveError>,
    ) -> Result<(), StoreError> {
        let produce = |output: &mut dyn Write| self.write_layer_tar(diff_id, output).map(|_| ());
        piped(diff_id, produce, |reader| {
            let mut reader = Reader::new(reader, self.layer_limits());
            let failed = |source| StoreError::ReadLayer { diff_id: *diff_id, source };
            consume(&mut reader).map_err(failed)?;
            reader.finish().map_err(failed)
        })
    }

    fn apply_on(
        &self,
        below: &[DiffId],
        depth: Depth,
        diff_id: &DiffId,
        produce: impl FnOnce(&mut dyn Write) -> Result<(), StoreError> + Send,
    ) -> Result<Scratch, StoreError> {
        let below = Below { store: self, layers: below, depth };
        self.apply_to(&below, depth, diff_id, produce)
    }

    fn apply_to(
        &self,
        below: &(dyn Beneath + Sync),
        depth: Depth,
        diff_id: &DiffId,
        produce: impl FnOnce(&mut dyn Write) -> Result<(), StoreError> + Send,
    ) -> Result<Scratch, StoreError> {
        let scratch = self.staging.directory()?;
        let target = directory::open(scratch.path()).on("open", scratch.path())?;
        below.carry_notes(target.as_fd())?;
        let token = depth.is_hollow().then(|| self.hollow.token());
        piped(diff_id, produce, |mut reader| {
            let application = Application::new(target, Ground::new(below), self.marks, diff_id);
            application.listed_by(token).run(&mut reader, &self.layer_limits())?;
            Ok(reader)
        })?;
        Ok(scratch)
    }
}

impl Place<'_> {
    /// Unpacks the layer, unless it is; fetches it if it is elsewhere.
    ///
    /// # Errors
    /// As [`Store::unpack_missing`]; [`StoreError::Interrupted`] if another layer failed.
    pub fn unpack(&self) -> Result<(), StoreError> {
        let store = self.store;
        if store.has_snapshot(self.chain)? {
            return Ok(());
        }
        self.check()?;
        let layer = store.known_layer(self.diff_id())?;
        if !store.is_here(&layer)? && self.fetch(&layer)? {
            return Ok(());
        }
        let diff_id = self.diff_id();
        let produce = |output: &mut dyn Write| store.write_layer_tar(diff_id, output).map(|_| ());
        let applied = store.apply_to(self, Depth::Whole, diff_id, produce);
        if applied.is_err() && !layer.sources.is_empty() {
            self.check()?;
            // What cannot be unpacked may not be the layer at all.
            store.write_layer_tar(diff_id, &mut std::io::sink())?;
        }
        self.stage(applied?)
    }
}

/// Has one thread write what this one reads; `consume` gives back the reader, so that all is taken.
fn piped(
    diff_id: &DiffId,
    produce: impl FnOnce(&mut dyn Write) -> Result<(), StoreError> + Send,
    consume: impl FnOnce(PipeReader) -> Result<PipeReader, StoreError>,
) -> Result<(), StoreError> {
    let (reader, writer) = std::io::pipe().on("create", "a pipe")?;
    // A small pipe works as well.
    let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES);
    std::thread::scope(|scope| {
        let producer = scope.spawn(move || produce_into(writer, produce));
        // The producer ends only when all it writes is taken.
        let consumed = consume(reader).and_then(|mut reader| drain(&mut reader, diff_id));
        let produced = producer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (consumed, produced) {
            // The reason why the tar was cut short says more than that it was.
            (_, Err(error)) if !is_broken_pipe(&error) => Err(error),
            (consumed, _) => consumed,
        }
    })
}

fn produce_into(
    mut writer: PipeWriter,
    produce: impl FnOnce(&mut dyn Write) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    produce(&mut writer)
}

fn drain(reader: &mut impl std::io::Read, diff_id: &DiffId) -> Result<(), StoreError> {
    std::io::copy(reader, &mut std::io::sink())
        .map(|_| ())
        .map_err(|error| StoreError::ReadLayer { diff_id: *diff_id, source: ArchiveError::Read(error) })
}

fn is_broken_pipe(error: &StoreError) -> bool {
    matches!(error, StoreError::Pack(ArchiveError::Write(error)) if error.kind() == ErrorKind::BrokenPipe)
}
