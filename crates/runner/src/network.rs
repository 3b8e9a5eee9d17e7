//! A network of a run's own that a helper program connects: pasta or slirp4netns.
//!
//! Whoever is not root can make a network namespace and no interface in it that leads out. The helper
//! stays outside, makes one inside, and passes on what comes through as connections of its own. Nothing
//! that listens on the machine's loopback addresses is reached through it.
//!
//! Source: pasta(1), slirp4netns(1)

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, pause};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::set_parent_process_death_signal;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use serde::{Deserialize, Serialize};

use crate::helper;
use crate::launch::memory_file;
use crate::sys;
use crate::wire::{Failure, reason};

/// How long a helper may take to make its interface.
const PATIENCE: Duration = Duration::from_secs(20);
/// By what an interface is made.
const DEVICE: &str = "/dev/net/tun";
/// How often it is looked whether it has ended instead, in milliseconds.
const LOOK: u16 = 50;

/// Which program connects a network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkHelperKind {
    /// pasta, of passt.
    Pasta,
    /// slirp4netns.
    Slirp4netns,
}

/// A program that connects a network namespace, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkHelper {
    kind: NetworkHelperKind,
    program: String,
}

/// A helper is not installed.
#[derive(Debug, thiserror::Error)]
#[error("--network={name}: there is no {name} in PATH")]
pub struct NoNetworkHelper {
    name: &'static str,
    /// The Debian package that has it.
    pub package: &'static str,
}

impl NetworkHelperKind {
    fn name(self) -> &'static str {
        match self {
            Self::Pasta => "pasta",
            Self::Slirp4netns => "slirp4netns",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Pasta => "passt",
            Self::Slirp4netns => "slirp4netns",
        }
    }
}

impl NetworkHelper {
    /// Looks for the program in `PATH`.
    ///
    /// # Errors
    /// [`NoNetworkHelper`].
    pub fn find(kind: NetworkHelperKind) -> Result<Self, NoNetworkHelper> {
        let found = helper::find(kind.name()).and_then(|program| program.into_os_string().into_string().ok());
        let program = found.ok_or(NoNetworkHelper { name: kind.name(), package: kind.package() })?;
        Ok(Self { kind, program })
    }

    /// The address at which it answers what the machine's own resolver would.
    pub fn resolver(&self) -> &'static str {
        match self.kind {
            NetworkHelperKind::Pasta => "169.254.1.1",
            NetworkHelperKind::Slirp4netns => "10.0.2.3",
        }
    }

    /// The arguments: to connect the network of the process `holder`, and to tell by `ready` when it is, a
    /// descriptor that both have.
    fn arguments(&self, holder: i32, ready: i32) -> Vec<String> {
        let namespace = format!("/proc/{holder}/ns/net");
        let words: Vec<String> = match self.kind {
            // The holder's descriptor: pasta may close those that it was started with.
            NetworkHelperKind::Pasta => vec![
                "--foreground --quiet --stderr --config-net --no-map-gw".to_owned(),
                "--tcp-ports none --udp-ports none --tcp-ns none --udp-ns none".to_owned(),
                format!("--dns-forward {}", self.resolver()),
                format!("--pid /proc/{holder}/fd/{ready} --netns {namespace}"),
            ],
            NetworkHelperKind::Slirp4netns => vec![
                "--configure --mtu=65520 --disable-host-loopback".to_owned(),
                format!("--ready-fd={ready} --netns-type=path {namespace} tap0"),
            ],
        };
        words.iter().flat_map(|words| words.split(' ')).map(str::to_owned).collect()
    }
}

/// A helper in the network outside, which waits for the one to connect.
pub(crate) struct WaitingHelper {
    helper: NetworkHelper,
    process: Child,
    start: PipeWriter,
    ready: PipeReader,
    /// For the holder, by whom the helper opens it.
    _tell: PipeWriter,
    /// What it printed.
    log: OwnedFd,
}

/// A helper that connects a network, up to the end of this value.
pub(crate) struct RunningHelper {
    _process: Child,
}

/// A child process, which ends with this value.
struct Child(Pid);

impl WaitingHelper {
    /// To be called before this process enters the network namespace.
    ///
    /// # Errors
    /// As pipe(2) and fork(2).
    pub(crate) fn fork(helper: NetworkHelper) -> io::Result<Self> {
        let (mut started, start) = io::pipe()?;
        let (ready, tell) = io::pipe()?;
        let log = memory_file("network helper", b"")?;
        let Some(process) = sys::fork()? else {
            drop((start, ready));
            // Ended without a word, if the supervisor was.
            let mut holder = [0; 4];
            let error = match started.read_exact(&mut holder) {
                Ok(()) => become_helper(&helper, i32::from_ne_bytes(holder), &tell, &log),
                Err(error) => error,
            };
            let _ = File::from(log).write_all(error.to_string().as_bytes());
            std::process::exit(127);
        };
        let process = Child(process);
        Ok(Self { helper, process, start, ready, _tell: tell, log })
    }

    /// Has the helper connect the network namespace that this process is in by now.
    ///
    /// # Errors
    /// What the helper said, if it ended.
    pub(crate) fn connect(mut self) -> Result<RunningHelper, Failure> {
        let name = self.helper.kind.name();
        let failed = |error: io::Error| Failure::setup(format!("start {name} for the network"), error);
        let holder = hold_network().map_err(failed)?;
        self.start.write_all(&holder.0.as_raw().to_ne_bytes()).map_err(failed)?;
        let start = Instant::now();
        loop {
            // Readable once it has told.
            let mut events = [PollFd::new(self.ready.as_fd(), PollFlags::POLLIN)];
            if poll(&mut events, LOOK).map_err(|error| failed(error.into()))? > 0 {
                return Ok(RunningHelper { _process: self.process });
            }
            if self.process.has_ended() || start.elapsed() > PATIENCE {
                let what =
                    format!("connect the network: {name} says {:?}{}", self.last_words(), missing_device());
                return Err(Failure::setup(what, rustix::io::Errno::NETUNREACH));
            }
        }
    }

    fn last_words(&self) -> String {
        let mut text = vec![0; 1 << 12];
        let log = self.log.try_clone().map(File::from);
        let length = log.and_then(|log| log.read_at(&mut text, 0)).unwrap_or(0);
        let text = String::from_utf8_lossy(&text[..length]);
        text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("nothing").trim().to_owned()
    }
}

impl Child {
    fn has_ended(&self) -> bool {
        // It stays to be waited for, so that its number is no other's.
        let id = Id::Pid(self.0);
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        waitid(id, flags) != Ok(WaitStatus::StillAlive)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGKILL);
        let _ = waitpid(self.0, None);
    }
}

/// What most often keeps a helper from its work.
fn missing_device() -> String {
    match File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => String::new(),
        Err(error) => {
            format!(", and {DEVICE} cannot be opened ({}): sudo chmod 666 {DEVICE}", reason(&error))
        }
    }
}

/// A process in the network namespace that has no capabilities: by it, the helper may open the namespace
/// when it has given up its own.
fn hold_network() -> io::Result<Child> {
    let (mut given_up, mut give_up) = io::pipe()?;
    let Some(holder) = sys::fork()? else {
        let none = CapabilitySets {
            effective: CapabilitySet::empty(),
            permitted: CapabilitySet::empty(),
            inheritable: CapabilitySet::empty(),
        };
        let is_bare = set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).is_ok()
            && set_capabilities(None, none).is_ok()
            && give_up.write_all(&[1]).is_ok();
        if is_bare {
            // Every signal but the one that ends it is blocked.
            pause();
        }
        std::process::exit(1);
    };
    drop(give_up);
    let holder = Child(holder);
    given_up.read_exact(&mut [0])?;
    Ok(holder)
}

/// Becomes the helper. Returns only if that fails.
fn become_helper(helper: &NetworkHelper, holder: i32, tell: &PipeWriter, log: &OwnedFd) -> io::Error {
    let prepare = || {
        set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        SigSet::empty().thread_set_mask()?;
        fcntl_setfd(tell, FdFlags::empty())?;
        Ok((log.try_clone()?, log.try_clone()?))
    };
    match prepare() {
        Ok((output, errors)) => Command::new(&helper.program)
            .args(helper.arguments(holder, tell.as_raw_fd()))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .exec(),
        Err(error) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_on_the_machines_loopback_is_let_in() {
        for (kind, needed) in [
            (NetworkHelperKind::Pasta, &["--no-map-gw", "--tcp-ns", "--udp-ns"][..]),
            (NetworkHelperKind::Slirp4netns, &["--disable-host-loopback"]),
        ] {
            let helper = NetworkHelper { kind, program: "/bin/helper".to_owned() };
            let arguments = helper.arguments(7, 9);
            for word in needed {
                assert!(arguments.iter().any(|argument| argument == word), "{word}: {arguments:?}");
            }
            assert!(arguments.contains(&"/proc/7/ns/net".to_owned()), "{arguments:?}");
        }
    }

    #[test]
    fn a_helper_that_ends_is_told_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let [script, program] = ["script", "helper"].map(|name| folder.path().join(name));
        std::fs::write(&script, "#!/bin/sh\necho one\necho no such thing\necho\nexit 1\n").unwrap();
        // Not written by this process: what another thread's test forks meanwhile would have it open for
        // writing, and nothing could execute it.
        let installed = Command::new("install").arg("--mode=755").args([&script, &program]).status();
        assert!(installed.unwrap().success());
        let program = program.to_str().unwrap().to_owned();
        let helper = NetworkHelper { kind: NetworkHelperKind::Slirp4netns, program };
        let waiting = WaitingHelper::fork(helper).unwrap();
        let Err(Failure::Setup { what, .. }) = waiting.connect() else { panic!("it connected") };
        assert!(what.starts_with(r#"connect the network: slirp4netns says "no such thing""#), "{what}");
    }
}
