//! Files that are fetched by URL.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::fmt::rfc2822;
use lbuild_oci::{Digest, Hasher};
use ureq::http::{HeaderMap, StatusCode};

use super::Interrupted;
use super::base64::base64;
use super::error::RemoteError;
use super::url::{Url, decoded, redacted};
use super::url_memo::{Known, UrlMemo, Validator};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: u32 = 10;
const BUFFER_BYTES: usize = 128 << 10;

/// A file may change again within the second that `Last-Modified` names: only an answer so much later,
/// in seconds, makes it tell the same content again (RFC 9110, 8.8.2.2).
const SETTLED: i64 = 60;

/// Fetches files.
pub struct Http<'a> {
    agent: ureq::Agent,
    memo: &'a UrlMemo,
    interrupted: Interrupted<'a>,
}

/// What a URL holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpFile {
    /// Of its content.
    pub digest: Digest,
    /// When the server says that it changed, in seconds since the Unix epoch.
    pub mtime: Option<i64>,
    /// Where the content is, if it was fetched.
    pub file: Option<PathBuf>,
}

impl<'a> Http<'a> {
    /// A client that ends as soon as `interrupted` says so.
    pub fn new(memo: &'a UrlMemo, interrupted: Interrupted<'a>) -> Self {
        let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build();
        let agent = ureq::Agent::config_builder()
            .tls_config(tls)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .max_redirects(MAX_REDIRECTS)
            .http_status_as_error(false)
            .user_agent(concat!("lbuild/", env!("CARGO_PKG_VERSION")))
            .build()
            .into();
        Self { agent, memo, interrupted }
    }

    /// Finds out what `url` holds. If the server says that it is what is known already, nothing is
    /// fetched; otherwise the content is in `folder` afterwards.
    ///
    /// # Errors
    /// As [`Http::fetch`].
    pub fn look(&self, url: &str, folder: &Path) -> Result<HttpFile, RemoteError> {
        self.get(url, folder, self.memo.get(url))
    }

    /// Fetches `url` into `folder`.
    ///
    /// # Errors
    /// [`RemoteError::Status`], [`RemoteError::Request`], [`RemoteError::Body`], [`RemoteError::Io`] or
    /// [`RemoteError::Interrupted`].
    pub fn fetch(&self, url: &str, folder: &Path) -> Result<HttpFile, RemoteError> {
        self.get(url, folder, None)
    }

    fn get(&self, url: &str, folder: &Path, known: Option<Known>) -> Result<HttpFile, RemoteError> {
        let (address, authorization) = address(url);
        let mut request = self.agent.get(address);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        if let Some(known) = &known {
            request = match &known.validator {
                Validator::Etag(tag) => request.header("if-none-match", tag),
                Validator::LastModified(date) => request.header("if-modified-since", date),
            };
        }
        let failed = |error| RemoteError::Request { url: redacted(url), source: Box::new(error) };
        let mut response = request.call().map_err(failed)?;
        match (response.status(), known) {
            (StatusCode::NOT_MODIFIED, Some(Known { digest, mtime, .. })) => {
                return Ok(HttpFile { digest, mtime, file: None });
            }
            (status, _) if status.is_success() => {}
            (status, _) => return Err(RemoteError::Status { url: redacted(url), status: status.as_u16() }),
        }
        let headers = response.headers().clone();
        let file = folder.join("download");
        let digest = self.save(url, &mut response.body_mut().as_reader(), &file)?;
        let mtime = date(&headers, "last-modified");
        self.memo.set(url, validator(&headers).map(|validator| Known::new(digest, mtime, validator)));
        Ok(HttpFile { digest, mtime, file: Some(file) })
    }

    fn save(&self, url: &str, body: &mut impl Read, path: &Path) -> Result<Digest, RemoteError> {
        let unwritten = |source| RemoteError::Io { what: format!("write {}", path.display()), source };
        let mut file = File::create(path).map_err(unwritten)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            if (self.interrupted)() {
                return Err(RemoteError::Interrupted);
            }
            let read = body.read(&mut buffer);
            match read.map_err(|source| RemoteError::Body { url: redacted(url), source })? {
                0 => return Ok(hasher.finish()),
                count => {
                    hasher.update(&buffer[..count]);
                    file.write_all(&buffer[..count]).map_err(unwritten)?;
                }
            }
        }
    }
}

/// The name that a downloaded file gets: the last part of the URL's path.
pub fn file_name(url: &str) -> String {
    let path = Url::parse(url).and_then(|url| decoded(&url.path)).unwrap_or_default();
    match path.split('/').rfind(|part| !part.is_empty()) {
        Some(name) if name != "." && name != ".." && !name.contains('\0') => name.to_owned(),
        _ => "__unnamed__".to_owned(),
    }
}

/// What to ask for, and the credentials that the URL holds.
fn address(url: &str) -> (String, Option<String>) {
    let parsed = Url::parse(url).and_then(|parsed| Some((parsed.user.clone()?, parsed)));
    let Some((user, parsed)) = parsed else { return (url.to_owned(), None) };
    let query = if parsed.query.is_empty() { String::new() } else { format!("?{}", parsed.query) };
    let address = format!("{}://{}{}{query}", parsed.scheme, parsed.host, parsed.path);
    let (name, password) = user.split_once(':').unwrap_or((&user, ""));
    let plain = |text: &str| decoded(text).unwrap_or_else(|| text.to_owned());
    let pair = format!("{}:{}", plain(name), plain(password));
    (address, Some(format!("Basic {}", base64(pair.as_bytes()))))
}

fn validator(headers: &HeaderMap) -> Option<Validator> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(tag) = header("etag") {
        return Some(Validator::Etag(tag.to_owned()));
    }
    let is_settled = date(headers, "date")? - date(headers, "last-modified")? >= SETTLED;
    header("last-modified").filter(|_| is_settled).map(|date| Validator::LastModified(date.to_owned()))
}

/// A header's date, in seconds since the Unix epoch.
fn date(headers: &HeaderMap, name: &str) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    Some(rfc2822::parse(text).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests;
