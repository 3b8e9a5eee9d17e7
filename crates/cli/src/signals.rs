//! Ctrl-C and its like.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use lbuild_builder::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;

/// What signals asked for.
#[derive(Debug, Clone, Default)]
pub struct Interruption {
    /// The first signal; 0 before.
    signal: Arc<AtomicI32>,
    /// The build is over: there is nothing to cancel.
    over: Arc<AtomicBool>,
}

impl Interruption {
    /// How the process exits after a signal; `None` if there was none.
    pub fn exit(&self) -> Option<Exit> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(Exit::Signal(signal)),
        }
    }

    /// From now on a signal ends the process at once.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// From now on the first SIGINT, SIGTERM or SIGHUP cancels the build, which then ends its steps; the
/// second ends the process at once. The kernel ends the steps with it.
///
/// # Errors
/// That of the system: no descriptors or threads left.
pub fn cancel_on_signal(cancel: Cancel) -> io::Result<Interruption> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    let interruption = Interruption::default();
    let noted = interruption.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if noted.exit().is_some() || noted.over.load(Ordering::SeqCst) {
                std::process::exit(Exit::Signal(signal).code().into());
            }
            noted.signal.store(signal, Ordering::SeqCst);
            cancel.cancel();
        }
    })?;
    Ok(interruption)
}
