//! Images come out of a Docker, here one that only answers.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use lbuild_importer::{ImportError, LocalImage};
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Digest, Platform};

use support::{Bed, docker_archive};

/// A fake Docker, and what it was asked for.
struct Docker {
    socket: PathBuf,
    asked: Receiver<String>,
    _folder: tempfile::TempDir,
}

impl Docker {
    /// Has one image, which it calls `id`; its archive comes in chunks.
    fn new(id: Digest, archive: Vec<u8>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (sender, asked) = channel();
        // The thread ends with the test's process.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut stream = connection.unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                let target = line.split(' ').nth(1).unwrap().to_owned();
                let answer = match target.as_str() {
                    "/images/app:1/json" => document(&format!("{{\"Id\":\"{id}\"}}")),
                    target if target == format!("/images/{id}/get") => chunks(&archive),
                    "/images/broken/json" => {
                        b"HTTP/1.1 500 No\r\nContent-Length: 22\r\n\r\n{\"message\":\"no space\"}".to_vec()
                    }
                    _ => b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}".to_vec(),
                };
                sender.send(target).unwrap();
                // A client that has seen enough goes away.
                let _ = stream.write_all(&answer);
            }
        });
        Self { socket, asked, _folder: folder }
    }

    fn archives(&self) -> usize {
        self.asked.try_iter().filter(|target| target.ends_with("/get")).count()
    }
}

fn document(text: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len()).into_bytes()
}

fn chunks(bytes: &[u8]) -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in bytes.chunks(1000) {
        answer.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        answer.extend(chunk);
        answer.extend(b"\r\n");
    }
    answer.extend(b"0\r\n\r\n");
    answer
}

fn import(store: &Store, socket: &Path, name: &str) -> Result<Option<ImageRecord>, ImportError> {
    LocalImage::DockerDaemon(name.to_owned()).import(store, socket, &Platform::host())
}

#[test]
fn an_image_is_brought_in_once_whatever_docker_calls_it() {
    let archive = docker_archive().tar();
    let own = Bed::new().load(&archive).unwrap()[0].id;
    for id in [own, Digest::of("an id that is no configuration's, as containerd's are")] {
        let (bed, docker) = (Bed::new(), Docker::new(id, archive.clone()));
        for _ in 0..2 {
            let image = import(&bed.store, &docker.socket, "app:1").unwrap().unwrap();
            assert_eq!(image.id, own);
        }
        assert_eq!(docker.archives(), 1, "{id}");
        assert!(bed.store.images().unwrap().iter().all(|(_, names)| names.is_empty()));
    }
}

#[test]
fn what_docker_does_not_have_is_no_image_and_what_it_refuses_an_error() {
    let (bed, docker) = (Bed::new(), Docker::new(Digest::of("x"), Vec::new()));
    for name in ["app:2", "a b", "x\r\nHost: other", "../containers/json", ""] {
        assert_eq!(import(&bed.store, &docker.socket, name).unwrap(), None, "{name:?}");
    }
    match import(&bed.store, &docker.socket, "broken") {
        Err(ImportError::DockerRefused { message }) => assert_eq!(message, "no space"),
        other => panic!("{other:?}"),
    }
    let gone = docker.socket.with_extension("gone");
    assert!(matches!(import(&bed.store, &gone, "app:1"), Err(ImportError::DockerUnreachable { .. })));
    assert!(import(&bed.store, &docker.socket, "app:1").is_err(), "its archive is empty");
}
