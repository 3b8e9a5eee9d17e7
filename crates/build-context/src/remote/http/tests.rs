use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use super::*;

/// A server that gives one answer after another, and then the requests that it saw.
struct Server {
    url: String,
    thread: JoinHandle<Vec<String>>,
}

impl Server {
    fn start(answers: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/folder/file.txt", listener.local_addr().unwrap());
        let answers: Vec<String> = answers.iter().map(|answer| answer.to_string()).collect();
        let answer = move |answer: String| {
            let (mut stream, _) = listener.accept().unwrap();
            let request = read_request(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            request
        };
        Self { url, thread: std::thread::spawn(move || answers.into_iter().map(answer).collect()) }
    }

    fn requests(self) -> Vec<String> {
        self.thread.join().unwrap()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap().to_lowercase()
}

fn found(headers: &str, content: &str) -> String {
    let length = content.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{content}")
}

fn status(line: &str, headers: &str) -> String {
    format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n")
}

const MODIFIED: &str = "Last-Modified: Thu, 26 Jan 2017 16:59:13 GMT\r\n";
const MTIME: Option<i64> = Some(1_485_449_953);

struct Bed {
    folder: tempfile::TempDir,
    memo: UrlMemo,
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let memo = UrlMemo::open(folder.path().join("memo"));
        Self { folder, memo }
    }

    fn http(&self) -> Http<'_> {
        Http::new(&self.memo, &|| false)
    }

    fn look(&self, url: &str) -> Result<HttpFile, RemoteError> {
        self.http().look(url, self.folder.path())
    }
}

#[test]
fn a_file_comes_with_its_digest_and_time() {
    let (bed, server) = (Bed::new(), Server::start(&[&found(MODIFIED, "hello")]));
    let file = bed.http().fetch(&server.url, bed.folder.path()).unwrap();
    assert_eq!((file.digest, file.mtime), (Digest::of("hello"), MTIME));
    assert_eq!(std::fs::read(file.file.unwrap()).unwrap(), b"hello");
    assert!(server.requests()[0].starts_with("get /folder/file.txt http/1.1\r\n"));
}

#[test]
fn a_known_content_is_not_fetched_again() {
    for (headers, condition) in [
        (format!("ETag: \"v1\"\r\n{MODIFIED}"), "if-none-match: \"v1\""),
        (format!("{MODIFIED}Date: Thu, 26 Jan 2017 17:10:00 GMT\r\n"), "if-modified-since: thu, 26 jan 2017"),
    ] {
        let answers = [found(&headers, "hello"), status("304 Not Modified", ""), found("", "other")];
        let (bed, server) = (Bed::new(), Server::start(&answers.each_ref().map(String::as_str)));
        let first = bed.look(&server.url).unwrap();
        let second = bed.look(&server.url).unwrap();
        assert_eq!(second, HttpFile { file: None, ..first });
        assert_eq!(bed.look(&server.url).unwrap().digest, Digest::of("other"));
        let requests = server.requests();
        assert!(!requests[0].contains("\r\nif-"), "{}", requests[0]);
        assert!(requests[1].contains(condition) && requests[2].contains(condition), "{requests:?}");
    }
}

#[test]
fn a_content_is_fetched_again_where_the_server_cannot_tell_whether_it_changed() {
    for headers in [MODIFIED.to_owned(), format!("{MODIFIED}Date: Thu, 26 Jan 2017 16:59:20 GMT\r\n")] {
        let answers = [found(&headers, "hello"), found("", "other")];
        let (bed, server) = (Bed::new(), Server::start(&answers.each_ref().map(String::as_str)));
        bed.look(&server.url).unwrap();
        bed.look(&server.url).unwrap();
        assert!(!server.requests()[1].contains("\r\nif-"));
    }
}

#[test]
fn a_refusal_names_the_status_and_not_the_password() {
    for (line, expected) in [("404 Not Found", 404), ("500 Oops", 500), ("304 Not Modified", 304)] {
        let (bed, server) = (Bed::new(), Server::start(&[&status(line, "")]));
        let url = server.url.replace("http://", "http://user:secret@");
        let error = bed.look(&url).unwrap_err();
        assert!(matches!(error, RemoteError::Status { status, .. } if status == expected), "{error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(server.requests()[0].contains("authorization: basic dxnlcjpzzwnyzxq="));
    }
}

#[test]
fn redirects_are_followed_but_not_for_ever() {
    let bed = Bed::new();
    let target = Server::start(&[&found("", "there")]);
    let redirect = status("302 Found", &format!("Location: {}\r\n", target.url));
    let server = Server::start(&[&redirect]);
    let url = server.url.replace("http://", "http://user:secret@");
    assert_eq!(bed.look(&url).unwrap().digest, Digest::of("there"));
    assert!(server.requests()[0].contains("authorization:"));
    assert!(!target.requests()[0].contains("authorization:"), "credentials are for one server");

    let circle = status("302 Found", "Location: /again\r\n");
    let server = Server::start(&vec![circle.as_str(); MAX_REDIRECTS as usize + 1]);
    let error = bed.look(&server.url).unwrap_err();
    assert_eq!(error.help(), Some("the server sends it round in circles"), "{error:?}");
    server.requests();
}

#[test]
fn a_content_that_breaks_off_is_an_error_and_is_not_remembered() {
    let broken = "HTTP/1.1 200 OK\r\nContent-Length: 50\r\nETag: \"v1\"\r\nConnection: close\r\n\r\nhello";
    let (bed, server) = (Bed::new(), Server::start(&[broken]));
    let error = bed.look(&server.url).unwrap_err();
    assert!(matches!(error, RemoteError::Body { .. }), "{error:?}");
    assert_eq!(bed.memo.get(&server.url), None);
    server.requests();
}

#[test]
fn what_cannot_be_reached_says_so() {
    let bed = Bed::new();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = bed.look(&format!("http://{closed}/x")).unwrap_err();
    assert_eq!(error.help(), Some("check the address and the network"), "{error:?}");
    let error = bed.look("http://no-such-host.invalid/x").unwrap_err();
    assert!(error.help().unwrap().starts_with("the name of the server is not known"), "{error:?}");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/x", silent.local_addr().unwrap());
    let closing = std::thread::spawn(move || drop(silent.accept().unwrap()));
    let error = bed.look(&url).unwrap_err();
    assert!(matches!(error, RemoteError::Request { .. }), "{error:?}");
    closing.join().unwrap();
}

#[test]
fn an_interruption_ends_a_fetch() {
    let (bed, server) = (Bed::new(), Server::start(&[&found("", "hello")]));
    let http = Http::new(&bed.memo, &|| true);
    let ended = http.fetch(&server.url, bed.folder.path());
    assert!(matches!(ended, Err(RemoteError::Interrupted)), "{ended:?}");
    server.requests();
}

#[test]
fn names_are_the_last_part_of_the_path() {
    for (url, name) in [
        ("http://a.b/c/d.tar.gz", "d.tar.gz"),
        ("http://a.b/c/?q=/x", "c"),
        ("http://a.b/", "__unnamed__"),
        ("http://a.b", "__unnamed__"),
        ("http://a.b/x%20y?z#w", "x y"),
        ("http://a.b/c/..", "__unnamed__"),
        ("http://a.b/..%2fx", "x"),
        ("http://a.b/%00", "__unnamed__"),
        ("http://a.b/%zz", "__unnamed__"),
    ] {
        assert_eq!(file_name(url), name, "{url}");
    }
}
