//! Directories that are read before a walk comes to them.
//!
//! Most of a walk's time is the kernel's, which looks up one name after the other. So a walk asks for the
//! directories that come next, and a few threads list them and look up what they hold. Nothing is decided
//! here: what is not there in time, or cannot be read, the walk reads by itself.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::vec;

use lbuild_confined::Descent;
use rustix::fs::{self, AtFlags, Stat};
use rustix::io::Errno;

use crate::names::Names;

/// Threads that read ahead.
const MAX_THREADS: usize = 8;

/// Names of a directory that are looked up ahead; the walk looks up what is beyond.
const MAX_STATS: usize = 1024;

/// Which directory: the number of the one that holds it, in the order of the walk, and its own there.
pub(crate) type Place = (usize, usize);

/// Threads that read directories. They end with it.
#[derive(Default)]
pub(crate) struct Ahead {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// A directory that was read.
pub(crate) struct Listed {
    pub(crate) directory: OwnedFd,
    pub(crate) names: Names,
    /// What lstat(2) says of the first names.
    pub(crate) stats: Stats,
}

/// In the order of the names; there may be fewer.
pub(crate) type Stats = vec::IntoIter<Result<Stat, Errno>>;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    has_changed: Condvar,
}

#[derive(Default)]
struct State {
    wanted: BTreeMap<Place, Wanted>,
    is_closed: bool,
}

enum Wanted {
    Asked { parent: Arc<OwnedFd>, name: OsString },
    InWork,
    Done(Option<Listed>),
}

impl Ahead {
    /// Asks for the directory `name` in `parent`.
    pub(crate) fn ask(&mut self, place: Place, parent: Arc<OwnedFd>, name: OsString) {
        self.shared.state().wanted.insert(place, Wanted::Asked { parent, name });
        self.shared.has_changed.notify_all();
        if self.threads.is_empty() {
            let count = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
            let start = |_| {
                let shared = Arc::clone(&self.shared);
                thread::Builder::new().name("read-ahead".into()).spawn(move || shared.work()).ok()
            };
            self.threads.extend((0..count).filter_map(start));
        }
    }

    /// What was read of a directory, which is forgotten; waits if it is being read. `None` if it was not asked
    /// for, could not be read, or is not begun: the walk is as quick then.
    pub(crate) fn take(&self, place: Place) -> Option<Listed> {
        let mut state = self.shared.state();
        while let Some(Wanted::InWork) = state.wanted.get(&place) {
            state = self.shared.wait(state);
        }
        match state.wanted.remove(&place)? {
            Wanted::Done(listed) => listed,
            Wanted::Asked { .. } | Wanted::InWork => None,
        }
    }

    /// Forgets what was asked for in a directory.
    pub(crate) fn forget(&self, parent: usize) {
        let mut state = self.shared.state();
        let places: Vec<_> =
            state.wanted.range((parent, 0)..(parent + 1, 0)).map(|(place, _)| *place).collect();
        for place in places {
            state.wanted.remove(&place);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.state().is_closed = true;
        self.shared.has_changed.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has done no harm: the walk read by itself.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Reads what is asked for until there is no more to be asked.
    fn work(&self) {
        let mut state = self.state();
        while !state.is_closed {
            let Some((place, parent, name)) = state.next() else {
                state = self.wait(state);
                continue;
            };
            drop(state);
            let listed = read(&parent, &name).ok();
            state = self.state();
            // Nobody waits for what was forgotten.
            if let Some(wanted) = state.wanted.get_mut(&place) {
                *wanted = Wanted::Done(listed);
            }
            self.has_changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.has_changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Takes what the walk comes to next: the first in the directory that it came to last.
    fn next(&mut self) -> Option<(Place, Arc<OwnedFd>, OsString)> {
        let is_asked = |(place, wanted): (&Place, &Wanted)| match wanted {
            Wanted::Asked { .. } => Some(*place),
            _ => None,
        };
        let asked = self.wanted.iter().filter_map(is_asked);
        let place = asked.min_by_key(|(parent, index)| (usize::MAX - parent, *index))?;
        match self.wanted.insert(place, Wanted::InWork) {
            Some(Wanted::Asked { parent, name }) => Some((place, parent, name)),
            _ => None,
        }
    }
}

fn read(parent: &OwnedFd, name: &OsString) -> io::Result<Listed> {
    let directory = Descent::open_in(parent, name)?;
    let names = Names::sorted(&directory)?;
    let stat = |name| fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW);
    let stats: Vec<_> =
        (0..names.len().min(MAX_STATS)).filter_map(|index| names.get(index)).map(stat).collect();
    Ok(Listed { directory, names, stats: stats.into_iter() })
}
