//! A layer's exact tar, made again of its unpacked files and of what containers-storage keeps of it.
//!
//! The file is JSON lines: what stood between the files' contents, and where those belong.
//!
//! Source: <https://github.com/vbatts/tar-split/blob/main/tar/storage/entry.go>

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lbuild_confined::Root;
use rustix::fs::{Mode, OFlags};
use serde::Deserialize;

/// Bytes of a line: headers of one entry, or a padding; PAX headers can be long.
const MAX_LINE: u64 = 16 << 20;

const FILE: u32 = 1;
const SEGMENT: u32 = 2;

#[derive(Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: u32,
    #[serde(default)]
    name: Option<String>,
    /// The name in Base64, where it is no UTF-8.
    #[serde(default)]
    name_raw: Option<String>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    payload: Option<String>,
}

/// Reads the tar. What is read may be anything: its digest tells.
pub(crate) struct TarSplit<R> {
    lines: R,
    files: Root,
    part: Part,
}

enum Part {
    Bytes(io::Cursor<Vec<u8>>),
    /// A file and the bytes that are still to come.
    File(File, u64),
}

impl<R: BufRead> TarSplit<R> {
    /// `lines` is the decompressed file, `files` the folder of the layer's files.
    pub fn new(lines: R, files: Root) -> Self {
        Self { lines, files, part: Part::Bytes(io::Cursor::default()) }
    }

    /// The next part; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Part>> {
        loop {
            let mut text = Vec::new();
            self.lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut text)?;
            if text.is_empty() {
                return Ok(None);
            }
            let line: Line = serde_json::from_slice(&text)?;
            match line.kind {
                SEGMENT => {
                    let bytes = decoded(line.payload.as_deref().unwrap_or_default())?;
                    return Ok(Some(Part::Bytes(io::Cursor::new(bytes))));
                }
                FILE => match line.size.unwrap_or(0) {
                    0 => {}
                    size => return Ok(Some(Part::File(self.open(&line)?, size))),
                },
                kind => return Err(invalid(format!("a line of the unknown type {kind}"))),
            }
        }
    }

    fn open(&self, line: &Line) -> io::Result<File> {
        let name: PathBuf = match (&line.name, &line.name_raw) {
            (_, Some(raw)) => OsStr::from_bytes(&decoded(raw)?).into(),
            (Some(name), None) => name.into(),
            (None, None) => return Err(invalid("a file without a name".to_owned())),
        };
        // A FIFO must not stop us, and a link in the last place is no file of the layer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        let file = File::from(self.files.open_at(&name, flags, Mode::empty())?);
        if !file.metadata()?.is_file() {
            return Err(invalid(format!("{} is no file", name.display())));
        }
        Ok(file)
    }
}

impl<R: BufRead> Read for TarSplit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = match &mut self.part {
                Part::Bytes(bytes) => bytes.read(buffer)?,
                Part::File(file, left) => {
                    let count = file.take(*left).read(buffer)?;
                    if count == 0 && *left > 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *left -= count as u64;
                    count
                }
            };
            if count > 0 {
                return Ok(count);
            }
            match self.next()? {
                Some(part) => self.part = part,
                None => return Ok(0),
            }
        }
    }
}

fn decoded(text: &str) -> io::Result<Vec<u8>> {
    STANDARD.decode(text).map_err(|error| invalid(error.to_string()))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &str) -> io::Result<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), "content").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
        let mut text = String::new();
        TarSplit::new(lines.as_bytes(), Root::open(folder.path()).unwrap())
            .read_to_string(&mut text)
            .map(|_| text)
    }

    #[test]
    fn contents_stand_between_segments() {
        let lines = r#"{"type":2,"payload":"PA=="}
{"type":1,"name":"d/","payload":null}
{"type":1,"name":"f","size":7,"payload":"AAAA"}
{"type":2,"payload":"Pg=="}
{"type":1,"name_raw":"Zg==","size":3}
"#;
        assert_eq!(read(lines).unwrap(), "<content>con");
    }

    #[test]
    fn what_fits_no_layer_is_an_error() {
        for lines in [
            "{",
            r#"{"type":3}"#,
            r#"{"type":2,"payload":"*"}"#,
            r#"{"type":1,"size":1}"#,
            r#"{"type":1,"name":"gone","size":1}"#,
            r#"{"type":1,"name":"f","size":8}"#,
            r#"{"type":1,"name":"link","size":1}"#,
            r#"{"type":1,"name":".","size":1}"#,
        ] {
            assert!(read(lines).is_err(), "{lines}");
        }
    }
}
