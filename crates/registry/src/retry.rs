//! Which failures pass by themselves, and how long to wait for that.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::time::Duration;

use ureq::Timeout;

use crate::RegistryError;

const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How much a failing registry is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How often something is tried in all.
    attempts: u32,
    /// A registry that wants us to wait for longer is not waited for.
    longest_wait: Duration,
}

impl Patience {
    /// For what has to be done.
    pub const USUAL: Self = Self { attempts: 6, longest_wait: Duration::from_secs(120) };
    /// For what can be done without.
    pub const LITTLE: Self = Self { attempts: 2, longest_wait: Duration::from_secs(5) };
}

/// Counts the failures of one thing in a row.
#[derive(Debug)]
pub(crate) struct Pauses {
    failures: u32,
    patience: Patience,
}

impl Default for Pauses {
    fn default() -> Self {
        Self::of(Patience::USUAL)
    }
}

impl Pauses {
    pub fn of(patience: Patience) -> Self {
        Self { failures: 0, patience }
    }

    /// How long to wait before trying again; `None` if that is of no use.
    pub fn after(&mut self, error: &RegistryError) -> Option<Duration> {
        if !is_transient(error) {
            return None;
        }
        self.failures += 1;
        if self.failures >= self.patience.attempts {
            return None;
        }
        let asked = match error {
            RegistryError::TooManyRequests { seconds, .. } | RegistryError::Status { seconds, .. } => {
                *seconds
            }
            _ => None,
        };
        match asked.map(Duration::from_secs) {
            Some(asked) if asked > self.patience.longest_wait => None,
            Some(asked) => Some(asked + jitter(FIRST_PAUSE)),
            None => Some(jitter(LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(self.failures - 1)))),
        }
    }

    /// What was tried made some progress.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between a half and the whole of `pause`, so that machines that failed together do not come back
/// together.
fn jitter(pause: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 1000;
    pause / 2 + (pause / 2) * u32::try_from(random).unwrap_or(0) / 1000
}

/// Whether the same request may succeed later.
pub(crate) fn is_transient(error: &RegistryError) -> bool {
    match error {
        RegistryError::Connection { source, .. } => is_transient_connection(source),
        RegistryError::Status { status, .. } => matches!(status, 408 | 500 | 502 | 503 | 504),
        RegistryError::TooManyRequests { .. }
        | RegistryError::Body { .. }
        | RegistryError::MissingBlob { .. } => true,
        _ => false,
    }
}

fn is_transient_connection(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => match error.kind() {
            // What rustls says of a certificate or of a server without TLS.
            io::ErrorKind::InvalidData => false,
            _ => !error.to_string().contains("lookup"),
        },
        // It sends, if slowly: what takes so long takes as long the next time.
        ureq::Error::Timeout(Timeout::RecvResponse) => false,
        ureq::Error::Timeout(_)
        | ureq::Error::Protocol(_)
        | ureq::Error::ConnectionFailed
        | ureq::Error::ConnectProxyFailed(_) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, seconds: Option<u64>) -> RegistryError {
        RegistryError::Status {
            host: "a.io".into(),
            what: "x".into(),
            status,
            message: String::new(),
            seconds,
        }
    }

    const ATTEMPTS: u32 = Patience::USUAL.attempts;

    #[test]
    fn what_passes_by_itself_is_tried_again_and_not_for_ever() {
        for (error, expected) in [
            (status(503, None), ATTEMPTS - 1),
            (status(400, None), 0),
            (status(503, Some(3600)), 0),
            (
                RegistryError::MissingBlob { host: "a.io".into(), what: "x".into(), message: String::new() },
                ATTEMPTS - 1,
            ),
            (RegistryError::Interrupted, 0),
            (
                RegistryError::Connection {
                    host: "a.io".into(),
                    is_proxied: false,
                    source: Box::new(ureq::Error::Io(io::ErrorKind::ConnectionReset.into())),
                },
                ATTEMPTS - 1,
            ),
            (
                RegistryError::Connection {
                    host: "a.io".into(),
                    is_proxied: false,
                    source: Box::new(ureq::Error::HostNotFound),
                },
                0,
            ),
        ] {
            let mut pauses = Pauses::default();
            let tried = std::iter::from_fn(|| pauses.after(&error)).count();
            assert_eq!(tried, expected as usize, "{error}");
        }
    }

    #[test]
    fn what_can_be_done_without_is_tried_twice_and_not_waited_for() {
        let mut pauses = Pauses::of(Patience::LITTLE);
        assert!(pauses.after(&status(500, None)).is_some());
        assert_eq!(pauses.after(&status(500, None)), None);
        assert_eq!(Pauses::of(Patience::LITTLE).after(&status(503, Some(60))), None);
    }

    #[test]
    fn the_server_says_how_long_to_wait() {
        let pause = Pauses::default().after(&status(503, Some(7))).unwrap();
        assert!(pause >= Duration::from_secs(7) && pause < Duration::from_secs(8), "{pause:?}");
    }
}
