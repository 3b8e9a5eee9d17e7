//! What a registry answers.

use std::io::{self, Read};
use std::time::{Duration, Instant, SystemTime};

use jiff::fmt::rfc2822;
use serde::Deserialize;
use ureq::Body;
use ureq::http::HeaderMap;

use crate::RegistryError;
use crate::challenge::Challenge;
use crate::environment::TIMEOUT;
use crate::text::single_line;
use crate::url::Url;

/// Bytes of an error that are read.
const MAX_ERROR: u64 = 64 << 10;
/// Bytes that are read at once.
const BUFFER: usize = 64 << 10;

/// An answer, whose body is not read yet.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
    /// How long a document may take as its body.
    pub time: Duration,
    /// Who answered: the registry, or the last server that it sent us to.
    pub url: Url,
    /// The registry's name, for messages.
    pub host: String,
    /// Whether the registry knew who asks.
    pub is_logged_in: bool,
}

/// What a registry says to a manifest one of whose blobs it does not know.
const MISSING_BLOB: &str = "MANIFEST_BLOB_UNKNOWN";

/// `{"errors": […]}`, as the distribution spec has it.
#[derive(Deserialize)]
struct Errors {
    errors: Vec<ErrorItem>,
}

#[derive(Deserialize)]
struct ErrorItem {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Answer {
    /// The answer itself if its status is one of `wanted`; otherwise what it means for `what`.
    pub fn expect(self, what: &str, wanted: &[u16]) -> Result<Self, RegistryError> {
        if wanted.contains(&self.status) { Ok(self) } else { Err(self.into_error(what)) }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The address in `Location`.
    pub fn location(&self) -> Option<Url> {
        self.header("location").and_then(|location| self.url.join(location))
    }

    /// At most `limit` bytes of the body.
    pub fn read(mut self, what: &str, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut bytes = Vec::new();
        let invalid = |reason| RegistryError::Document { what: what.to_owned(), reason };
        match read_within(&mut self.body, limit.saturating_add(1), self.time, &mut bytes) {
            Ok(()) if bytes.len() as u64 > limit => Err(invalid(format!("it is larger than {limit} bytes"))),
            Ok(()) => Ok(bytes),
            Err(Slow::Late) => Err(invalid(format!(
                "{} did not send all of it within {} seconds; {TIMEOUT} changes that",
                self.host,
                self.time.as_secs()
            ))),
            Err(Slow::Broken(source)) => {
                Err(RegistryError::Body { host: self.host, what: what.to_owned(), source })
            }
        }
    }

    /// What an answer that was not wanted means.
    pub fn into_error(self, what: &str) -> RegistryError {
        let seconds = retry_after(&self.headers);
        let Self { status, host, mut body, is_logged_in, time, .. } = self;
        let mut text = Vec::new();
        // What it says helps; that it cannot be read is no news.
        let _ = read_within(&mut body, MAX_ERROR, time, &mut text);
        let errors = errors(&text);
        let message = message(&errors);
        let what = what.to_owned();
        match status {
            400 | 404 if errors.iter().any(|error| error.code == MISSING_BLOB) => {
                RegistryError::MissingBlob { host, what, message }
            }
            401 | 403 => RegistryError::Unauthorized { host, what, message, is_logged_in },
            404 => RegistryError::NotFound { what, host },
            429 => RegistryError::TooManyRequests { host, message, seconds },
            _ => RegistryError::Status { host, what, status, message, seconds },
        }
    }
}

/// Why a body was not read.
enum Slow {
    /// It was never silent for long, but did not end.
    Late,
    Broken(io::Error),
}

/// Reads at most `limit` bytes of `body`.
fn read_within(body: &mut Body, limit: u64, time: Duration, bytes: &mut Vec<u8>) -> Result<(), Slow> {
    let end = Instant::now().checked_add(time);
    let mut reader = body.as_reader().take(limit);
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Slow::Broken(error)),
        }
        if end.is_some_and(|end| Instant::now() > end) {
            return Err(Slow::Late);
        }
    }
}

/// The challenge of an answer.
pub(crate) fn challenge_in(headers: &HeaderMap) -> Option<Challenge> {
    let values = headers.get_all("www-authenticate").into_iter();
    Challenge::choose(values.filter_map(|value| value.to_str().ok()))
}

/// What the registry says; nothing if it is in no form that we know.
fn errors(body: &[u8]) -> Vec<ErrorItem> {
    serde_json::from_slice(body).map_or_else(|_| Vec::new(), |Errors { errors }| errors)
}

/// `: ` and what the registry says; empty if it says nothing.
fn message(errors: &[ErrorItem]) -> String {
    let said: Vec<&str> = errors
        .iter()
        .map(|error| if error.message.is_empty() { error.code.as_str() } else { &error.message })
        .filter(|text| !text.is_empty())
        .collect();
    if said.is_empty() { String::new() } else { format!(": {}", single_line(&said.join("; "))) }
}

/// Seconds to wait, which `Retry-After` gives as a number or as a date.
fn retry_after(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get("retry-after")?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(seconds);
    }
    let until = rfc2822::parse(value).ok()?.timestamp();
    let now = jiff::Timestamp::try_from(SystemTime::now()).ok()?;
    u64::try_from(until.as_second() - now.as_second()).ok().or(Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_says_is_told() {
        for (body, expected) in [
            (r#"{"errors":[{"code":"DENIED","message":"no access"}]}"#, ": no access"),
            (r#"{"errors":[{"code":"DENIED"},{"message":"b\nc"}]}"#, ": DENIED; b c"),
            (r#"{"errors":[]}"#, ""),
            ("<html>", ""),
        ] {
            assert_eq!(message(&errors(body.as_bytes())), expected, "{body}");
        }
    }

    #[test]
    fn the_time_to_wait_is_a_number_or_a_date() {
        let seconds = |value: &str| {
            retry_after(&HeaderMap::from_iter([("retry-after".parse().unwrap(), value.parse().unwrap())]))
        };
        assert_eq!(seconds("12"), Some(12));
        assert_eq!(seconds("Wed, 21 Oct 2015 07:28:00 GMT"), Some(0));
        assert!(seconds("Wed, 21 Oct 2150 07:28:00 GMT").unwrap() > 1_000_000);
        assert_eq!(seconds("soon"), None);
    }
}
