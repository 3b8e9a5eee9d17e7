//! Ctrl-C and its like.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use lbuild_builder::Cancel;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::failure::Failure;

const UNPREPARED: &str = "cannot prepare for signals";

/// What signals asked for.
#[derive(Debug, Clone, Default)]
pub struct Interruption {
    /// The first signal; 0 before.
    signal: Arc<AtomicI32>,
    /// The build is over: there is nothing to cancel.
    over: Arc<AtomicBool>,
    /// A shell has the keyboard: what is typed there is for it.
    shell: Arc<AtomicBool>,
}

impl Interruption {
    /// How the process exits after a signal; `None` if there was none.
    pub fn exit(&self) -> Option<Exit> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(Exit::Signal(signal)),
        }
    }

    /// From now on SIGINT is left to the shell that has the terminal.
    pub fn give_keyboard_to_shell(&self) {
        self.shell.store(true, Ordering::SeqCst);
    }

    /// From now on a signal ends the process at once.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

/// Something to cancel, and signals that do so once there is anything to cancel: until then they end
/// the process as ever.
#[derive(Debug)]
pub struct Watch {
    cancel: Cancel,
    interruption: Arc<OnceLock<Interruption>>,
}

impl Watch {
    /// Nothing is watched yet.
    pub fn new() -> Result<Self, Failure> {
        let cancel = Cancel::new().map_err(Failure::io(UNPREPARED))?;
        Ok(Self { cancel, interruption: Arc::default() })
    }

    /// What signals cancel.
    pub fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    /// Watches for signals from now on. Not to be called by two threads.
    pub fn begin(&self) -> Result<&Interruption, Failure> {
        if let Some(interruption) = self.interruption.get() {
            return Ok(interruption);
        }
        let interruption = cancel_on_signal(self.cancel.clone()).map_err(Failure::io(UNPREPARED))?;
        Ok(self.interruption.get_or_init(|| interruption))
    }

    /// How the process exits after a signal; `None` if there was none.
    pub fn exit(&self) -> Option<Exit> {
        self.interruption.get().and_then(Interruption::exit)
    }

    /// Tells, at any time, whether there was a signal: a build that fails cancels all that is its own,
    /// which is something else.
    pub fn was_interrupted(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let interruption = Arc::clone(&self.interruption);
        move || interruption.get().is_some_and(|interruption| interruption.exit().is_some())
    }
}

/// From now on the first SIGINT, SIGTERM or SIGHUP cancels the build, which then ends its steps; the
/// second ends the process at once. The kernel ends the steps with it.
///
/// Signals that whoever started lbuild had ignored stay so: SIGHUP behind `nohup`, SIGINT where a script
/// puts a build into the background.
///
/// # Errors
/// That of the system: no descriptors or threads left.
fn cancel_on_signal(cancel: Cancel) -> io::Result<Interruption> {
    let ignored = ignored();
    let heeded = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| !is_in(ignored, *signal));
    let mut signals = Signals::new(heeded)?;
    let interruption = Interruption::default();
    let noted = interruption.clone();
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGINT && noted.shell.load(Ordering::SeqCst) {
                continue;
            }
            if noted.exit().is_some() || noted.over.load(Ordering::SeqCst) {
                std::process::exit(Exit::Signal(signal).code().into());
            }
            noted.signal.store(signal, Ordering::SeqCst);
            cancel.cancel();
        }
    })?;
    Ok(interruption)
}

/// The signals that this process ignores, the bit of the first one lowest. None where the kernel does
/// not tell.
///
/// Source: proc_pid_status(5), `SigIgn`
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn is_in(mask: u64, signal: i32) -> bool {
    signal > 0 && mask.checked_shr(signal.unsigned_abs() - 1).is_some_and(|rest| rest & 1 == 1)
}
