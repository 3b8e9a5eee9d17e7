//! Makes the snapshots that are missing.

use std::io::{ErrorKind, PipeReader, PipeWriter, Write};
use std::os::fd::AsFd;

use lbuild_archive::{ArchiveError, Reader};
use lbuild_oci::{ChainId, DiffId};

use crate::apply::Application;
use crate::error::OnPath;
use crate::hollow::Depth;
use crate::snapshots::lock;
use crate::staging::Scratch;
use crate::{Store, StoreError, directory};

/// As large as an unprivileged process may make a pipe: fewer changes between the two threads.
const PIPE_BYTES: usize = 1 << 20;

impl Store {
    /// Unpacks those of `layers` that have no snapshot on what lies below them yet.
    pub(crate) fn unpack_missing(&self, layers: &[DiffId]) -> Result<(), StoreError> {
        let chains = self.snapshots.chains(layers);
        let mut missing = Vec::new();
        for (chain, layer) in chains.iter().zip(layers) {
            if !self.has_snapshot(chain)? && !self.has_layer_here(layer)? {
                missing.push(*layer);
            }
        }
        std::thread::scope(|scope| {
            // Layers come at the same time and are unpacked one upon the other.
            self.prefetch(scope, &missing);
            self.unpack_each(layers, &chains)
        })
    }

    fn unpack_each(&self, layers: &[DiffId], chains: &[ChainId]) -> Result<(), StoreError> {
        for (index, chain) in chains.iter().enumerate() {
            if !self.has_snapshot(chain)? {
                self.unpack(&layers[..=index], chain)?;
            }
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
        let tree = self.tree(below, depth)?;
        let scratch = self.staging.directory()?;
        let target = directory::open(scratch.path()).on("open", scratch.path())?;
        self.carry_notes(below, target.as_fd())?;
        let root = self.root_stat(below)?;
        let token = depth.is_hollow().then(|| self.hollow.token());
        piped(diff_id, produce, |mut reader| {
            let application = Application::new(target, &root, tree.as_ref(), self.marks, diff_id)?;
            application.listed_by(token).run(&mut reader, &self.layer_limits())?;
            Ok(reader)
        })?;
        Ok(scratch)
    }

    fn unpack(&self, layers: &[DiffId], chain: &ChainId) -> Result<(), StoreError> {
        let unpacking = self.snapshots.unpacking(chain);
        let _alone = lock(&unpacking);
        if self.has_snapshot(chain)? {
            return Ok(());
        }
        let Some(diff_id) = layers.last() else { return Ok(()) };
        let applied = self.apply(layers, |output| self.write_layer_tar(diff_id, output).map(|_| ()));
        if applied.is_err() && self.known_layer(diff_id).is_ok_and(|layer| !layer.sources.is_empty()) {
            // What cannot be unpacked may not be the layer at all.
            self.write_layer_tar(diff_id, &mut std::io::sink())?;
        }
        let directory = applied?;
        self.hold([chain.digest()])?;
        self.snapshots.stage(&self.layout, *chain, directory);
        Ok(())
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
