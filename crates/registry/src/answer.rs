//! What a registry answers.

use std::io::Read;
use std::time::SystemTime;

use jiff::fmt::rfc2822;
use serde::Deserialize;
use ureq::Body;
use ureq::http::HeaderMap;

use crate::RegistryError;
use crate::challenge::Challenge;
use crate::text::single_line;
use crate::url::Url;

/// Bytes of an error that are read.
const MAX_ERROR: u64 = 64 << 10;

/// An answer, whose body is not read yet.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
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
        let mut reader = self.body.as_reader().take(limit.saturating_add(1));
        reader.read_to_end(&mut bytes).map_err(|source| RegistryError::Body {
            host: self.host.clone(),
            what: what.to_owned(),
            source,
        })?;
        if bytes.len() as u64 > limit {
            return Err(RegistryError::Document {
                what: what.to_owned(),
                reason: format!("it is larger than {limit} bytes"),
            });
        }
        Ok(bytes)
    }

    /// What an answer that was not wanted means.
    pub fn into_error(self, what: &str) -> RegistryError {
        let seconds = retry_after(&self.headers);
        let Self { status, host, mut body, is_logged_in, .. } = self;
        let mut text = Vec::new();
        // What it says helps; that it cannot be read is no news.
        let _ = body.as_reader().take(MAX_ERROR).read_to_end(&mut text);
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
