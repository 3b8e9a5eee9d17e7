//! As much HTTP/1.1 as it takes to talk to Docker over its socket: one request a connection, a body
//! of unknown length on the way there or back.
//!
//! A client library would bring its pools, TLS and name resolution for two kinds of requests to one
//! local process.
//!
//! Source: RFC 9112

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::body::{BodyReader, Framing};

/// Bytes of a chunk of a request's body.
const CHUNK: usize = 256 << 10;
/// Bytes of a response's head, and of its body, that are read at most.
const MAX_HEAD: u64 = 64 << 10;
const MAX_BODY: u64 = 16 << 20;
/// Bytes of the line that tells a chunk's length.
pub(crate) const MAX_CHUNK_LINE: u64 = 1 << 10;
/// Interim answers before the real one.
const MAX_INTERIM: usize = 16;

/// How long Docker may be silent when it is asked for what it knows.
const SILENCE: Duration = Duration::from_secs(60);
/// How long it may be silent while it packs or unpacks an image, which it does without a word.
const SILENCE_AT_WORK: Duration = Duration::from_secs(30 * 60);

/// What the server answered.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// All of the body.
    pub body: Vec<u8>,
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: BodyReader<BufReader<UnixStream>>,
}

/// A connection for one request.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
}

impl Connection {
    /// Connects to `socket`.
    ///
    /// # Errors
    /// As connect(2).
    pub fn open(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(SILENCE_AT_WORK))?;
        stream.set_write_timeout(Some(SILENCE_AT_WORK))?;
        Ok(Self { stream })
    }

    /// Asks for `target`, whose answer is a document of at most 16 MiB.
    ///
    /// # Errors
    /// Of the connection, or an answer that is no HTTP.
    pub fn get(self, target: &str) -> io::Result<Response> {
        self.get_within(target, SILENCE)
    }

    fn get_within(mut self, target: &str, silence: Duration) -> io::Result<Response> {
        self.stream.set_read_timeout(Some(silence))?;
        self.ask(target)?;
        self.response()
    }

    /// Asks for `target`, whose answer may have any length.
    ///
    /// # Errors
    /// As [`Connection::get`].
    pub fn stream(mut self, target: &str) -> io::Result<Answer> {
        self.ask(target)?;
        let mut reader = BufReader::with_capacity(CHUNK, self.stream);
        let (status, framing) = read_head(&mut reader).map_err(silent)?;
        Ok(Answer { status, body: BodyReader::new(reader, framing) })
    }

    /// Begins to send a body to `target`.
    ///
    /// # Errors
    /// Of the connection.
    pub fn post(mut self, target: &str, content_type: &str) -> io::Result<Body> {
        write!(
            self.stream,
            "POST {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\
             Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )?;
        Ok(Body { connection: self, chunk: Vec::with_capacity(CHUNK), is_broken: false })
    }

    fn ask(&mut self, target: &str) -> io::Result<()> {
        write!(self.stream, "GET {target} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
    }

    fn response(self) -> io::Result<Response> {
        read_response(&mut BufReader::new(self.stream))
    }
}

/// The body of a request, to be written and ended.
#[derive(Debug)]
pub struct Body {
    connection: Connection,
    chunk: Vec<u8>,
    is_broken: bool,
}

impl Body {
    /// Whether the server stopped reading: then it may have answered already.
    pub fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Ends the body and waits for the answer.
    ///
    /// # Errors
    /// Of the connection, or an answer that is no HTTP.
    pub fn finish(mut self) -> io::Result<Response> {
        if !self.is_broken {
            // If this fails the answer is what tells why.
            let _ = self.send_chunk().and_then(|()| self.connection.stream.write_all(b"0\r\n\r\n"));
        }
        self.connection.response()
    }

    fn send_chunk(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let stream = &mut self.connection.stream;
        let result = write!(stream, "{:x}\r\n", self.chunk.len())
            .and_then(|()| stream.write_all(&self.chunk))
            .and_then(|()| stream.write_all(b"\r\n"));
        self.chunk.clear();
        self.is_broken = result.is_err();
        result
    }
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.send_chunk()?;
        }
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_chunk()
    }
}

fn read_response(reader: &mut impl BufRead) -> io::Result<Response> {
    let (status, framing) = read_head(reader).map_err(silent)?;
    let mut body = Vec::new();
    BodyReader::new(reader, framing).take(MAX_BODY + 1).read_to_end(&mut body)?;
    if body.len() as u64 > MAX_BODY {
        return Err(too_long());
    }
    Ok(Response { status, body })
}

/// The status, and how long the body is.
fn read_head(reader: &mut impl BufRead) -> io::Result<(u16, Framing)> {
    for _ in 0..=MAX_INTERIM {
        let (status, framing) = read_one_head(reader)?;
        if !(100..200).contains(&status) {
            return Ok((status, framing));
        }
    }
    Err(malformed("only interim answers come"))
}

fn read_one_head(reader: &mut impl BufRead) -> io::Result<(u16, Framing)> {
    let mut head = reader.by_ref().take(MAX_HEAD);
    let line = read_line(&mut head)?;
    let status =
        line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| malformed("its first line is no status line"))?;
    let mut framing = Framing::ToTheEnd;
    loop {
        let line = read_line(&mut head)?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            return Err(malformed("a header has no colon"));
        };
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            framing = Framing::Chunked;
        } else if name.eq_ignore_ascii_case("content-length") && framing != Framing::Chunked {
            framing = Framing::Length(value.parse().map_err(|_| malformed("its length is no number"))?);
        }
    }
    Ok((status, framing))
}

pub(crate) fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.take(MAX_HEAD).read_line(&mut line)?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.strip_suffix('\r').unwrap_or(line).to_owned()),
        None => Err(ErrorKind::UnexpectedEof.into()),
    }
}

/// Says what the end of a time means, for which the kernel has only "try again".
pub(crate) fn silent(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => io::Error::new(ErrorKind::TimedOut, "it does not answer"),
        _ => error,
    }
}

pub(crate) fn malformed(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("the answer is no HTTP: {what}"))
}

fn too_long() -> io::Error {
    io::Error::new(ErrorKind::FileTooLarge, format!("the answer has more than {MAX_BODY} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_read_in_every_form() {
        let long_chunk_line = format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;{}\r\na\r\n0\r\n\r\n",
            "x".repeat(60_000)
        );
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef", Some((200, "abc"))),
            (
                "HTTP/1.1 500 Internal Server Error\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
                Some((500, "abcde")),
            ),
            ("HTTP/1.0 404 Not Found\r\n\r\nto the end", Some((404, "to the end"))),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
                Some((204, "")),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\n", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", None),
            ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", None),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc\r\n0\r\n\r\n", None),
            (&long_chunk_line, None),
            (&"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100_000), None),
            ("SSH-2.0-OpenSSH\r\n", None),
            ("", None),
        ] {
            let response = read_response(&mut text.as_bytes()).ok();
            let found = response.map(|response| (response.status, String::from_utf8(response.body).unwrap()));
            assert_eq!(found, expected.map(|(status, body)| (status, body.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn a_docker_that_does_not_answer_is_told() {
        let (stream, _silent) = UnixStream::pair().unwrap();
        let error = Connection { stream }.get_within("/info", Duration::from_millis(1)).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::TimedOut, "it does not answer"));
    }
}
