//! A run where neither namespaces nor mounts can be had, as in a container by default.
//!
//! The root is a directory that holds nothing but this run's copy of the image. What would be mounted
//! is put into it and taken out again; the program is kept there by chroot(2), without the
//! capabilities that lead out of it, and all that it started ends with it. Beyond that it is kept
//! apart by the container alone, whose processes it shares.

mod furniture;
mod offspring;
mod turn;

use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::Pid;
use rustix::process::{Signal, chdir, chroot, fchdir, set_child_subreaper, set_parent_process_death_signal};

use self::furniture::Furniture;
pub(crate) use self::turn::Turn;
use crate::spec::Network;
use crate::wire::{Failure, Order};
use crate::{init, program};

/// A run that is ready to start.
#[derive(Debug)]
pub(crate) struct BareRun {
    order: Order,
    root: OwnedFd,
    furniture: Furniture,
}

impl BareRun {
    /// Furnishes `root`. `trees` are the order's trees, in its order.
    ///
    /// # Errors
    /// Says what is not possible here, or failed; then the root is as it was.
    pub(crate) fn prepare(order: Order, root: OwnedFd, trees: Vec<OwnedFd>) -> Result<Self, Failure> {
        if order.network != Network::Host {
            let error = rustix::io::Errno::PERM;
            return Err(Failure::setup("take the network away: that needs a network namespace", error));
        }
        set_child_subreaper(Some(rustix::process::Pid::INIT))
            .map_err(|error| Failure::setup("look after the run's processes", error))?;
        let furniture = Furniture::bring(&order, root.as_fd(), trees)?;
        Ok(Self { order, root, furniture })
    }

    /// Becomes the program. Returns only if that fails.
    pub(crate) fn become_program(self) -> Failure {
        // The supervisor takes the furniture out.
        let Self { order, root, furniture: _ } = self;
        let prepare = || {
            set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(|error| Failure::setup("tie the program to lbuild", error))?;
            fchdir(&root)
                .and_then(|()| chroot("."))
                .and_then(|()| chdir("/"))
                .map_err(|error| Failure::setup("change to the root file system", error))?;
            drop(root);
            init::settle(&order, &[])
        };
        match prepare() {
            Ok(()) => program::execute(&order.args, &order.env),
            Err(failure) => failure,
        }
    }

    /// Ends what the program left running, after it ended itself, and takes the furniture out.
    ///
    /// # Errors
    /// Says what could not be brought back to its place.
    pub(crate) fn clear(self) -> Result<(), Failure> {
        offspring::end(Pid::this()).map_err(|error| Failure::setup("end the run's processes", error))?;
        self.furniture.take_out()
    }
}
