//! Blobs: read as a stream that is verified, and goes on where a connection broke.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-blobs>

use std::io::{self, ErrorKind, Read};

use lbuild_oci::{Digest, Hasher};
use ureq::BodyReader;
use ureq::http::{Method, Request};

use crate::RegistryError;
use crate::agent::document_time;
use crate::answer::Answer;
use crate::call::{Call, agent_for_foreign};
use crate::client::Client;
use crate::repository::Repository;
use crate::retry::Pauses;
use crate::token::Scope;
use crate::url::Url;

const MAX_REDIRECTS: usize = 10;
const SKIP_BYTES: usize = 64 << 10;

impl Repository {
    /// A blob of `size` bytes. Nothing is asked for before the first byte is read.
    pub fn blob(&self, digest: &Digest, size: u64) -> BlobReader {
        BlobReader::new(Origin::Repository(self.clone()), digest, size)
    }

    /// A blob that the manifest says is found at `urls`, such as a layer that may not be distributed.
    /// No credentials are sent there.
    pub fn foreign_blob(&self, urls: &[String], digest: &Digest, size: u64) -> BlobReader {
        BlobReader::new(Origin::Urls(self.client.clone(), urls.to_vec()), digest, size)
    }

    /// All of a small blob, whose size may be unknown.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError::Digest`]; [`RegistryError::Document`] if it has
    /// more than `limit` bytes.
    pub fn small_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let what = blob_name(self.name(), digest);
        self.at_each(|endpoint| {
            let host = self.client.host(endpoint)?;
            let bytes = self.client.patiently(|| {
                let url = host.url(&format!("{}/blobs/{digest}", endpoint.repository));
                let scope = Scope::pull(&endpoint.repository);
                let call = Call::new(Method::GET, url, &endpoint.repository, scope);
                call.send(&self.client, &host)?.expect(&what, &[200])?.read(&what, limit)
            })?;
            match Digest::of(&bytes) {
                found if found == *digest => Ok(bytes),
                found => Err(RegistryError::Digest { host: host.name.clone(), what: what.clone(), found }),
            }
        })
    }

    /// Whether the registry itself has a blob; mirrors are not asked.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, RegistryError> {
        Ok(self.find_blob(digest)?.is_some())
    }

    /// What the registry itself says of a blob; `None` if it has none, mirrors are not asked.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn find_blob(&self, digest: &Digest) -> Result<Option<FoundBlob>, RegistryError> {
        let home = self.home();
        let host = self.client.host(home)?;
        let what = blob_name(self.name(), digest);
        let found = self.client.patiently(|| {
            let url = host.url(&format!("{}/blobs/{digest}", home.repository));
            // What is asked for before a push needs no token of its own.
            let call = Call::new(Method::HEAD, url, &home.repository, Scope::push(&home.repository));
            call.send(&self.client, &host)?.expect(&what, &[200])
        });
        match found {
            Ok(answer) => {
                let size = answer.header("content-length").and_then(|length| length.parse().ok());
                Ok(Some(FoundBlob { size }))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// A blob that a registry has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundBlob {
    /// Its length in bytes, if the registry tells.
    pub size: Option<u64>,
}

/// Reads a blob. The last bytes are given only if the whole has its digest.
///
/// An [`io::Error`] of it holds a [`RegistryError`]: [`RegistryError::of_read`] takes it out.
pub struct BlobReader {
    origin: Origin,
    digest: Digest,
    size: u64,
    /// Bytes that were given.
    offset: u64,
    hasher: Hasher,
    source: Option<BodyReader<'static>>,
    /// The endpoint or URL that is read from.
    place: usize,
    pauses: Pauses,
}

enum Origin {
    Repository(Repository),
    Urls(Client, Vec<String>),
}

impl BlobReader {
    fn new(origin: Origin, digest: &Digest, size: u64) -> Self {
        Self {
            origin,
            digest: *digest,
            size,
            offset: 0,
            hasher: Hasher::new(),
            source: None,
            place: 0,
            pauses: Pauses::default(),
        }
    }

    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, RegistryError> {
        loop {
            self.client().check()?;
            if self.source.is_none() {
                match self.open() {
                    Ok(source) => self.source = Some(source),
                    Err(error) => {
                        self.recover(error)?;
                        continue;
                    }
                }
            }
            let Some(source) = &mut self.source else { continue };
            match source.read(buffer) {
                Ok(0) if self.offset == self.size => return Ok(0),
                Ok(0) => self.broken(ErrorKind::UnexpectedEof.into())?,
                Ok(count) => return self.take(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.broken(error)?,
            }
        }
    }

    /// Accounts for bytes that came.
    fn take(&mut self, bytes: &[u8]) -> Result<usize, RegistryError> {
        self.offset += bytes.len() as u64;
        if self.offset > self.size {
            self.source = None;
            let (expected, found) = (self.size, self.offset);
            return Err(RegistryError::Size { host: self.host(), what: self.what(), expected, found });
        }
        self.pauses.reset();
        self.hasher.update(bytes);
        if self.offset == self.size {
            self.verify()?;
        }
        Ok(bytes.len())
    }

    fn verify(&mut self) -> Result<(), RegistryError> {
        let found = self.hasher.clone().finish();
        if found == self.digest {
            return Ok(());
        }
        if let Origin::Repository(repository) = &self.origin {
            repository.distrust(self.place, &self.digest);
        }
        Err(RegistryError::Digest { host: self.host(), what: self.what(), found })
    }

    fn broken(&mut self, source: io::Error) -> Result<(), RegistryError> {
        let error = RegistryError::Body { host: self.host(), what: self.what(), source };
        self.recover(error)
    }

    /// Waits until there is sense in trying again, here or at the next place.
    fn recover(&mut self, error: RegistryError) -> Result<(), RegistryError> {
        self.source = None;
        if matches!(error, RegistryError::Interrupted) {
            return Err(error);
        }
        if let Some(pause) = self.pauses.after(&error) {
            return self.client().pause(pause);
        }
        let next = match &self.origin {
            Origin::Repository(repository) => {
                repository.note(self.place, &error);
                (self.place + 1 < repository.endpoints.len()).then_some(self.place + 1)
            }
            Origin::Urls(_, urls) => (self.place + 1 < urls.len()).then_some(self.place + 1),
        };
        self.place = next.ok_or(error)?;
        self.pauses.reset();
        Ok(())
    }

    /// Asks for the rest of the blob.
    fn open(&mut self) -> Result<BodyReader<'static>, RegistryError> {
        let answer = match &self.origin {
            Origin::Repository(repository) => {
                let place = repository.candidate(self.place, &self.digest);
                self.place = place.unwrap_or(self.place);
                let endpoint = &repository.endpoints[self.place];
                let host = repository.client.host(endpoint)?;
                let url = host.url(&format!("{}/blobs/{}", endpoint.repository, self.digest));
                let scope = Scope::pull(&endpoint.repository);
                let mut call = Call::new(Method::GET, url, &endpoint.repository, scope);
                if self.offset > 0 {
                    call = call.header("range", format!("bytes={}-", self.offset));
                }
                call.send(&repository.client, &host)?
            }
            Origin::Urls(client, urls) => self.get_foreign(client, &urls[self.place])?,
        };
        let answer = answer.expect(&self.what(), &[200, 206])?;
        self.positioned(answer)
    }

    /// The answer's body from the offset on.
    fn positioned(&self, answer: Answer) -> Result<BodyReader<'static>, RegistryError> {
        let start = match answer.status {
            206 => range_start(answer.header("content-range")),
            _ => Some(0),
        };
        let skip = start.and_then(|start| self.offset.checked_sub(start));
        let (Some(start), Some(mut skip)) = (start, skip) else {
            let reason = "it gives another part of the blob than it was asked for".to_owned();
            return Err(RegistryError::Protocol { host: answer.host, reason });
        };
        let length = answer.header("content-length").and_then(|length| length.parse::<u64>().ok());
        if let Some(length) = length
            && start.saturating_add(length) != self.size
        {
            let (expected, found) = (self.size, start.saturating_add(length));
            return Err(RegistryError::Size { host: answer.host, what: self.what(), expected, found });
        }
        let mut body = answer.body.into_reader();
        // A server that knows no ranges begins anew.
        let mut buffer = vec![0; if skip > 0 { SKIP_BYTES } else { 0 }];
        while skip > 0 {
            let count = buffer.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
            let read = body.read(&mut buffer[..count]);
            let failed =
                |source| RegistryError::Body { host: answer.host.clone(), what: self.what(), source };
            match read.map_err(failed)? {
                0 => return Err(failed(ErrorKind::UnexpectedEof.into())),
                count => skip -= count as u64,
            }
        }
        Ok(body)
    }

    fn get_foreign(&self, client: &Client, address: &str) -> Result<Answer, RegistryError> {
        let invalid = |reason: &str| RegistryError::Document { what: self.what(), reason: reason.to_owned() };
        let mut url = Url::parse(address).ok_or_else(|| invalid("its manifest names no address of HTTPS"))?;
        for _ in 0..=MAX_REDIRECTS {
            let agent = agent_for_foreign(client, &url)?;
            let mut request = Request::builder().method(Method::GET).uri(url.to_string());
            if self.offset > 0 {
                request = request.header("range", format!("bytes={}-", self.offset));
            }
            let sent = request.body(()).map_err(ureq::Error::Http).and_then(|request| agent.run(request));
            let (parts, body) = sent
                .map_err(|source| RegistryError::connection(&agent, &url.authority, source))?
                .into_parts();
            let (status, headers, host) = (parts.status.as_u16(), parts.headers, url.authority.clone());
            let time = document_time(&agent);
            let answer = Answer { status, headers, body, time, url, host, is_logged_in: false };
            if !matches!(status, 301..=303 | 307 | 308) {
                return Ok(answer);
            }
            url = answer.location().ok_or_else(|| invalid("its address leads nowhere"))?;
        }
        Err(invalid("its address leads round in circles"))
    }

    fn client(&self) -> &Client {
        match &self.origin {
            Origin::Repository(repository) => &repository.client,
            Origin::Urls(client, _) => client,
        }
    }

    fn host(&self) -> String {
        match &self.origin {
            Origin::Repository(repository) => repository.endpoints[self.place].host.clone(),
            Origin::Urls(_, urls) => crate::text::single_line(&urls[self.place]),
        }
    }

    fn what(&self) -> String {
        match &self.origin {
            Origin::Repository(repository) => blob_name(repository.name(), &self.digest),
            Origin::Urls(..) => format!("layer {}", self.digest),
        }
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.offset == self.size && self.size > 0 || buffer.is_empty() {
            return Ok(0);
        }
        let count = self.next(buffer).map_err(io::Error::other)?;
        if count == 0 {
            self.verify().map_err(io::Error::other)?;
        }
        Ok(count)
    }
}

impl RegistryError {
    /// The error that a [`BlobReader`] gave as an [`io::Error`].
    ///
    /// # Errors
    /// `error` itself if it is none of its.
    pub fn of_read(error: io::Error) -> Result<Self, io::Error> {
        match error.downcast::<Self>() {
            Ok(own) => Ok(own),
            Err(other) => Err(other),
        }
    }
}

fn blob_name(repository: &str, digest: &Digest) -> String {
    format!("blob {digest} of {repository}")
}

/// The first byte that `Content-Range: bytes 5-9/10` gives.
fn range_start(header: Option<&str>) -> Option<u64> {
    let range = header?.trim().strip_prefix("bytes")?.trim_start();
    range.split('-').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_range_that_is_given_is_read() {
        for (header, expected) in [
            (Some("bytes 5-9/10"), Some(5)),
            (Some("bytes 0-9/*"), Some(0)),
            (Some("bytes */10"), None),
            (Some("pages 1-2/3"), None),
            (None, None),
        ] {
            assert_eq!(range_start(header), expected, "{header:?}");
        }
    }
}
