//! Uploads of blobs: in one piece where all is known, else in chunks, and resumed where they break.
//!
//! Source: <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs>

use std::io::{self, Read, Write};
use std::sync::Arc;

use lbuild_oci::{Digest, Hasher};
use ureq::http::Method;

use crate::RegistryError;
use crate::answer::Answer;
use crate::call::{Call, Payload};
use crate::host::Host;
use crate::repository::Repository;
use crate::retry::Pauses;
use crate::token::Scope;
use crate::url::Url;

/// Bytes of a chunk, which is kept in memory until the registry has it.
const CHUNK: usize = 8 << 20;
/// A registry that wants larger chunks than this wants all at once.
const MAX_CHUNK: u64 = 256 << 20;
/// How often one blob, or one chunk of one, is sent anew, however much of it the registry takes each time.
const MAX_ATTEMPTS: u32 = 100;
const OCTETS: &str = "application/octet-stream";

const OTHER_BYTES: &str = "it has other bytes than it was sent";
const ENDLESS: &str = "it never takes all of a blob";

/// What became of a request to take a blob from another repository.
pub enum Mounted {
    /// It is there.
    Done,
    /// It must be uploaded, for which the registry made everything ready.
    Upload(Box<Upload>),
}

/// An upload that has begun. What is written goes to the registry; one that is dropped before
/// [`Upload::finish`] leaves nothing.
///
/// An [`io::Error`] of it holds a [`RegistryError`]: [`RegistryError::of_read`] takes it out.
pub struct Upload {
    session: Session,
    chunk: Vec<u8>,
    chunk_size: usize,
    hasher: Hasher,
}

/// The registry's side of an upload.
struct Session {
    repository: Repository,
    host: Arc<Host>,
    scope: Scope,
    /// Where the next bytes go.
    url: Url,
    /// Bytes that the registry has.
    offset: u64,
    is_over: bool,
}

impl Repository {
    /// Takes a blob from the repository `from` of the same registry, if the registry can.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn mount(&self, digest: &Digest, from: &str) -> Result<Mounted, RegistryError> {
        let home = self.home();
        let scope = Scope::push(&home.repository).and_pull(from);
        let url = |host: &Host| {
            host.url(&format!("{}/blobs/uploads/", home.repository))
                .with_query("mount", &digest.to_string())
                .with_query("from", from)
        };
        let answer = match self.start(&scope, url) {
            // The other repository may be a secret to us: that is no reason not to upload.
            Err(RegistryError::Unauthorized { .. } | RegistryError::NotFound { .. }) => {
                return self.upload().map(|upload| Mounted::Upload(Box::new(upload)));
            }
            answer => answer?,
        };
        match answer {
            (_, answer) if answer.status == 201 => Ok(Mounted::Done),
            (host, answer) => Upload::begin(self, host, Scope::push(&home.repository), &answer)
                .map(|upload| Mounted::Upload(Box::new(upload))),
        }
    }

    /// Begins to upload a blob whose digest need not be known yet.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn upload(&self) -> Result<Upload, RegistryError> {
        let home = self.home();
        let scope = Scope::push(&home.repository);
        let url = |host: &Host| host.url(&format!("{}/blobs/uploads/", home.repository));
        let (host, answer) = self.start(&scope, url)?;
        Upload::begin(self, host, scope, &answer)
    }

    /// Uploads a blob of `size` bytes which `open` gives from its beginning, as often as it is asked.
    ///
    /// # Errors
    /// [`RegistryError::Source`] if `open` or what it gives fails.
    pub fn upload_blob(
        &self,
        digest: &Digest,
        size: u64,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read>>,
    ) -> Result<(), RegistryError> {
        self.upload()?.send(digest, size, open)
    }

    fn start(&self, scope: &Scope, url: impl Fn(&Host) -> Url) -> Result<(Arc<Host>, Answer), RegistryError> {
        let home = self.home();
        let host = self.client.host(home)?;
        let answer = self.client.patiently(|| {
            let call = Call::new(Method::POST, url(&host), &home.repository, scope.clone());
            call.send(&self.client, &host)?.expect(&format!("a push to {}", self.name()), &[201, 202])
        })?;
        Ok((host, answer))
    }
}

impl Upload {
    fn begin(
        repository: &Repository,
        host: Arc<Host>,
        scope: Scope,
        answer: &Answer,
    ) -> Result<Self, RegistryError> {
        let url = answer.location().ok_or_else(|| no_location(&host))?;
        let least = answer.header("oci-chunk-min-length").and_then(|least| least.parse::<u64>().ok());
        let chunk_size = usize::try_from(least.unwrap_or(0).min(MAX_CHUNK)).unwrap_or(CHUNK).max(CHUNK);
        let session = Session { repository: repository.clone(), host, scope, url, offset: 0, is_over: false };
        Ok(Self { session, chunk: Vec::new(), chunk_size, hasher: Hasher::new() })
    }

    /// Ends the upload: the blob is what was written.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn finish(mut self) -> Result<(Digest, u64), RegistryError> {
        let hasher = std::mem::take(&mut self.hasher);
        let size = hasher.written();
        let digest = hasher.finish();
        if self.session.offset == 0 {
            // All of it fits into one request.
            let bytes: Arc<[u8]> = std::mem::take(&mut self.chunk).into();
            let mut open = || Ok(Box::new(io::Cursor::new(Arc::clone(&bytes))) as Box<dyn Read>);
            self.send(&digest, size, &mut open)?;
            return Ok((digest, size));
        }
        self.send_chunk()?;
        self.session.complete(&digest)?;
        Ok((digest, size))
    }

    /// Sends a blob that is known as a whole, with as few requests as can be.
    ///
    /// # Errors
    /// As [`Repository::upload_blob`].
    pub fn send(
        mut self,
        digest: &Digest,
        size: u64,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read>>,
    ) -> Result<(), RegistryError> {
        let mut pauses = Pauses::default();
        let mut most = 0;
        for _ in 0..MAX_ATTEMPTS {
            self.session.repository.client.check()?;
            let error = match self.session.put_rest(digest, size, open) {
                Ok(()) => return Ok(()),
                Err(error @ RegistryError::Source { .. }) => return Err(error),
                Err(error) => error,
            };
            // What it had before and lost is no progress.
            if self.session.offset > most {
                most = self.session.offset;
                pauses.reset();
            }
            let pause =
                pauses.after(&error).or_else(|| self.session.begins_anew(&error).then(Default::default));
            let client = self.session.repository.client.clone();
            client.pause(pause.ok_or(error)?)?;
            if self.session.resume().is_err() {
                // The registry forgot what it had.
                self = self.session.repository.clone().upload()?;
            }
        }
        Err(self.session.protocol(ENDLESS))
    }

    fn send_chunk(&mut self) -> Result<(), RegistryError> {
        let chunk = std::mem::take(&mut self.chunk);
        self.session.send_all(&chunk)?;
        self.chunk = chunk;
        self.chunk.clear();
        Ok(())
    }
}

impl Write for Upload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() >= self.chunk_size {
            self.send_chunk().map_err(io::Error::other)?;
        }
        let count = bytes.len().min(self.chunk_size - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        self.hasher.update(&bytes[..count]);
        Ok(count)
    }

    /// Does nothing: chunks are sent when they are full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Session {
    /// Sends a chunk, what the registry lost of it once more.
    fn send_all(&mut self, chunk: &[u8]) -> Result<(), RegistryError> {
        let start = self.offset;
        let end = start + chunk.len() as u64;
        let mut pauses = Pauses::default();
        for _ in 0..MAX_ATTEMPTS {
            if self.offset >= end {
                return Ok(());
            }
            let before = self.offset;
            let rest = usize::try_from(self.offset - start).unwrap_or(usize::MAX);
            match self.patch(chunk.get(rest..).unwrap_or_default()) {
                Ok(()) => {}
                Err(error) => {
                    let pause = pauses.after(&error).ok_or(error)?;
                    self.repository.client.clone().pause(pause)?;
                    self.resume()?;
                }
            }
            if self.offset > before {
                pauses.reset();
            }
            if self.offset < start || self.offset > end {
                return Err(self.protocol(OTHER_BYTES));
            }
        }
        Err(self.protocol(ENDLESS))
    }

    fn patch(&mut self, bytes: &[u8]) -> Result<(), RegistryError> {
        let end = self.offset + bytes.len() as u64;
        let range = format!("{}-{}", self.offset, end.saturating_sub(1));
        let call = self.call(Method::PATCH, self.url.clone());
        let call = call.header("content-type", OCTETS).header("content-range", range);
        let answer = call.payload(Payload::Bytes(bytes)).send(&self.repository.client, &self.host)?;
        let answer = answer.expect(&self.what(), &[202, 204])?;
        self.advance(&answer, Some(end))
    }

    /// Sends all that the registry has not, and ends the upload.
    fn put_rest(
        &mut self,
        digest: &Digest,
        size: u64,
        open: &mut dyn FnMut() -> io::Result<Box<dyn Read>>,
    ) -> Result<(), RegistryError> {
        let what = self.what();
        let unreadable = |source| RegistryError::Source { what: what.clone(), source };
        if self.offset > size {
            return Err(self.protocol(OTHER_BYTES));
        }
        let mut source = open().map_err(unreadable)?;
        io::copy(&mut source.by_ref().take(self.offset), &mut io::sink()).map_err(unreadable)?;
        let (rest, is_first) = (size - self.offset, self.offset == 0);
        let mut watched = Watched { source, error: None };
        let mut call = if is_first {
            let url = self.url.clone().with_query("digest", &digest.to_string());
            self.call(Method::PUT, url).slow()
        } else {
            // The middle of a blob is a chunk; not every registry takes it with the PUT.
            let range = format!("{}-{}", self.offset, size.saturating_sub(1));
            self.call(Method::PATCH, self.url.clone()).header("content-range", range)
        };
        call = call.header("content-type", OCTETS).payload(Payload::Stream(&mut watched, rest));
        let result = call.send(&self.repository.client, &self.host);
        if let Some(source) = watched.error {
            return Err(unreadable(source));
        }
        let answer = result?;
        if answer.status == 401 {
            // The token ended meanwhile: the next request gets another.
            return Err(RegistryError::Status {
                host: answer.host,
                what,
                status: 503,
                message: String::new(),
                seconds: None,
            });
        }
        if is_first {
            answer.expect(&what, &[200, 201, 204])?;
            self.is_over = true;
            return Ok(());
        }
        let answer = answer.expect(&what, &[202, 204])?;
        self.advance(&answer, Some(size))?;
        self.complete(digest)
    }

    /// Says which blob it was.
    fn complete(&mut self, digest: &Digest) -> Result<(), RegistryError> {
        let client = self.repository.client.clone();
        let mut lost_answer = false;
        let result = client.patiently(|| {
            let url = self.url.clone().with_query("digest", &digest.to_string());
            let call = self.call(Method::PUT, url).slow().header("content-type", OCTETS);
            let result = call
                .send(&client, &self.host)
                .and_then(|answer| answer.expect(&self.what(), &[200, 201, 204]));
            // The blob may be there although the answer got lost.
            if lost_answer && result.is_err() && self.repository.has_blob(digest)? {
                return Ok(());
            }
            lost_answer = true;
            result.map(drop)
        });
        self.is_over = result.is_ok();
        result
    }

    /// Asks how much the registry has.
    fn resume(&mut self) -> Result<(), RegistryError> {
        let client = self.repository.client.clone();
        let answer = client.patiently(|| {
            let call = self.call(Method::GET, self.url.clone());
            call.send(&client, &self.host)?.expect(&self.what(), &[200, 202, 204])
        })?;
        self.advance(&answer, None)
    }

    /// Takes over what an answer says of the upload.
    fn advance(&mut self, answer: &Answer, sent: Option<u64>) -> Result<(), RegistryError> {
        if let Some(url) = answer.location() {
            self.url = url;
        }
        let told = answer.header("range").and_then(range_end);
        self.offset = match (told, sent) {
            // `0-0` is one byte or none.
            (Some(0), Some(sent)) if sent <= 1 => sent,
            (Some(0), _) => 0,
            (Some(last), _) => last.saturating_add(1),
            (None, Some(sent)) => sent,
            (None, None) => return Err(self.protocol("it does not say how much it has")),
        };
        Ok(())
    }

    /// Whether the registry lost the upload, so that only a new one helps.
    fn begins_anew(&self, error: &RegistryError) -> bool {
        matches!(error, RegistryError::NotFound { .. } | RegistryError::Status { status: 416, .. })
            && self.offset > 0
    }

    fn call<'a>(&'a self, method: Method, url: Url) -> Call<'a> {
        Call::new(method, url, &self.repository.home().repository, self.scope.clone())
    }

    fn what(&self) -> String {
        format!("an upload to {}", self.repository.name())
    }

    fn protocol(&self, reason: &str) -> RegistryError {
        RegistryError::Protocol { host: self.host.name.clone(), reason: reason.to_owned() }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_over {
            // The registry clears up by itself where this does not reach it.
            let _ = self.call(Method::DELETE, self.url.clone()).send(&self.repository.client, &self.host);
        }
    }
}

/// Remembers an error of the reader, which is no failure of the connection.
struct Watched {
    source: Box<dyn Read>,
    error: Option<io::Error>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.source.read(buffer).map_err(|error| {
            let kind = error.kind();
            if kind != io::ErrorKind::Interrupted {
                self.error = Some(error);
            }
            kind.into()
        })
    }
}

fn no_location(host: &Host) -> RegistryError {
    RegistryError::Protocol { host: host.name.clone(), reason: "it does not say where to upload".to_owned() }
}

/// The last byte of `0-99` or `bytes=0-99`.
fn range_end(header: &str) -> Option<u64> {
    header.rsplit_once('-')?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_registry_has_is_read() {
        for (header, expected) in
            [("0-99", Some(99)), ("bytes=0-99", Some(99)), ("0-0", Some(0)), ("", None), ("x", None)]
        {
            assert_eq!(range_end(header), expected, "{header}");
        }
    }
}
