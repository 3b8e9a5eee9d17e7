//! Files that ADD fetches from the network.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use jiff::fmt::rfc2822;
use lbuild_confined::Root;
use lbuild_oci::{Digest, Hasher};
use lbuild_runner::Cancel;

use crate::problem::Problem;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may be silent.
const SILENCE: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: u32 = 10;

/// A source of an ADD that was fetched.
#[derive(Debug)]
pub(crate) struct Download {
    /// As it is written.
    pub url: String,
    /// Where the file is; it goes when the process ends.
    pub file: PathBuf,
    /// The name that the URL ends in.
    pub name: String,
    /// When the server says that it changed, in seconds since the Unix epoch.
    pub mtime: Option<i64>,
    /// The files of a git repository; then there is no single file.
    pub tree: Option<Root>,
}

/// Whether a source is fetched from the network.
pub(crate) fn is_remote(source: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| source.starts_with(scheme))
}

/// Fetches `url` into `folder`.
///
/// # Errors
/// The server's answer, a broken connection, or a content that is not the one that `checksum` names.
pub(crate) fn fetch(
    url: &str,
    folder: PathBuf,
    checksum: Option<&str>,
    cancel: &Cancel,
) -> Result<Download, Problem> {
    let expected = checksum.map(parse_checksum).transpose()?;
    let failed = |error: ureq::Error| {
        Problem::because(format!("cannot fetch {url}"), error).help("check the address and the network")
    };
    let mut response = agent().get(url).call().map_err(failed)?;
    let modified = response.headers().get("last-modified").and_then(|value| value.to_str().ok());
    let mtime = modified.and_then(|text| rfc2822::parse(text).ok()).map(|time| time.timestamp().as_second());
    let file = folder.join("download");
    let digest = save(&mut response.body_mut().as_reader(), &file, cancel)
        .map_err(|error| Problem::because(format!("cannot fetch {url}"), error))?;
    match expected {
        Some(expected) if expected != digest => {
            Err(Problem::new(format!("{url} has digest {digest}, not {expected} as --checksum says"))
                .help("the file on the server changed, or the checksum is that of another file"))
        }
        _ => Ok(Download { url: url.to_owned(), file, name: file_name(url), mtime, tree: None }),
    }
}

fn agent() -> ureq::Agent {
    let tls = ureq::tls::TlsConfig::builder().root_certs(ureq::tls::RootCerts::PlatformVerifier).build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_recv_response(Some(SILENCE))
        .max_redirects(MAX_REDIRECTS)
        .user_agent(concat!("lbuild/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

fn parse_checksum(text: &str) -> Result<Digest, Problem> {
    text.parse()
        .map_err(|error: lbuild_oci::DigestError| Problem::from(error).help("write --checksum=sha256:DIGITS"))
}

fn save(body: &mut impl Read, path: &PathBuf, cancel: &Cancel) -> io::Result<Digest> {
    let mut file = File::create(path)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        if cancel.is_cancelled() {
            return Err(io::Error::other("the build was interrupted"));
        }
        match body.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => {
                hasher.update(&buffer[..count]);
                file.write_all(&buffer[..count])?;
            }
        }
    }
}

/// The last part of the URL's path.
fn file_name(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let name = path.split_once('/').map_or("", |(_, path)| path.trim_end_matches('/'));
    match name.rsplit('/').next() {
        Some(name) if !name.is_empty() && name != "." && name != ".." => percent_decoded(name),
        _ => "__unnamed__".to_owned(),
    }
}

/// The name with `%XX` replaced, unless that gives no plain file name.
fn percent_decoded(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = |digit: u8| char::from(digit).to_digit(16);
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                bytes.push((hex(*high).unwrap_or(0) * 16 + hex(*low).unwrap_or(0)) as u8);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    let is_plain = |decoded: &String| !decoded.contains(['/', '\0']) && decoded != "." && decoded != "..";
    String::from_utf8(bytes).ok().filter(is_plain).unwrap_or_else(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that answers one request.
    fn server(answer: &'static str) -> (String, std::thread::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/folder/file.txt?x=1", listener.local_addr().unwrap());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        (url, thread)
    }

    const FOUND: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLast-Modified: Thu, 26 Jan 2017 16:59:13 \
                         GMT\r\nConnection: close\r\n\r\nhello";

    #[test]
    fn a_file_keeps_its_name_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let (url, thread) = server(FOUND);
        let checksum = Digest::of("hello").to_string();
        let download =
            fetch(&url, folder.path().to_owned(), Some(&checksum), &Cancel::new().unwrap()).unwrap();
        thread.join().unwrap();
        assert_eq!(std::fs::read(&download.file).unwrap(), b"hello");
        assert_eq!((download.name.as_str(), download.mtime), ("file.txt", Some(1_485_449_953)));
    }

    #[test]
    fn another_content_and_an_error_status_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let fetch = |url: &str, checksum: Option<&str>| {
            fetch(url, folder.path().to_owned(), checksum, &Cancel::new().unwrap())
        };
        let (url, thread) = server(FOUND);
        assert!(fetch(&url, Some(&Digest::of("other").to_string())).is_err());
        thread.join().unwrap();
        let (url, thread) =
            server("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        assert!(fetch(&url, None).is_err());
        thread.join().unwrap();
        assert!(fetch(&url, Some("md5:x")).is_err());
    }

    #[test]
    fn names_are_the_last_part_of_the_path() {
        for (url, name) in [
            ("http://a.b/c/d.tar.gz", "d.tar.gz"),
            ("http://a.b/c/", "c"),
            ("http://a.b/", "__unnamed__"),
            ("http://a.b", "__unnamed__"),
            ("http://a.b/x%20y?z#w", "x y"),
            ("http://a.b/..%2fx", "..%2fx"),
        ] {
            assert_eq!(file_name(url), name, "{url}");
        }
    }
}
