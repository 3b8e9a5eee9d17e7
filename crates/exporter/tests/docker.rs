//! Images go into a Docker, here one that only listens and answers.

#![allow(clippy::unwrap_used)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use lbuild_exporter::{DockerLoad, ExportError, docker_load};
use lbuild_oci::{DiffId, Digest};
use serde_json::{Value, json};

use support::{Bed, files};

/// What a fake Docker has and does.
#[derive(Clone, Default)]
struct Behaviour {
    driver_type: &'static str,
    images: Vec<Vec<DiffId>>,
    /// Answers to loads, the first one first; "loaded" after that.
    answers: Vec<(u16, &'static str)>,
    /// Whether it answers before it has read the body.
    is_impatient: bool,
}

/// A fake Docker, and the bodies that were loaded into it.
struct Docker {
    socket: PathBuf,
    bodies: Receiver<Vec<u8>>,
}

impl Docker {
    fn new(bed: &Bed, behaviour: Behaviour) -> Self {
        let socket = bed.path("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let (sender, bodies) = channel();
        let mut answers = behaviour.answers.clone().into_iter();
        // The thread ends with the test's process.
        thread::spawn(move || {
            for connection in listener.incoming() {
                let mut stream = connection.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let target = read_head(&mut reader);
                if !target.starts_with("/images/load") {
                    answer(&mut stream, 200, &behaviour.document(&target).to_string());
                    continue;
                }
                let (status, text) = answers.next().unwrap_or((200, r#"{"stream":"Loaded image: app:1\n"}"#));
                if !behaviour.is_impatient {
                    sender.send(read_chunks(&mut reader)).unwrap();
                }
                answer(&mut stream, status, text);
            }
        });
        Self { socket, bodies }
    }

    fn load(&self, bed: &Bed) -> Result<DockerLoad, ExportError> {
        docker_load(&bed.store, &bed.image, &self.socket, &["app:1".parse().unwrap()])
    }
}

impl Behaviour {
    fn document(&self, target: &str) -> Value {
        match target {
            "/info" => json!({"DriverStatus": [["driver-type", self.driver_type]]}),
            "/images/json" => (0..self.images.len()).map(|index| json!({"Id": id(index)})).collect(),
            _ => {
                let asked = target.split('/').nth(2).unwrap();
                let index = (0..self.images.len()).find(|index| id(*index).to_string() == asked);
                json!({"RootFS": {"Layers": index.map(|index| self.images[index].clone())}})
            }
        }
    }
}

/// What the fake Docker calls an image of its list.
fn id(index: usize) -> Digest {
    Digest::of(index.to_string())
}

/// Reads a request's head and returns its target.
fn read_head(reader: &mut impl BufRead) -> String {
    let mut lines = reader.lines().map(Result::unwrap).take_while(|line| !line.is_empty());
    let first = lines.next().unwrap();
    lines.for_each(drop);
    first.split(' ').nth(1).unwrap().to_owned()
}

fn read_chunks(reader: &mut impl BufRead) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let length = u64::from_str_radix(line.trim(), 16).unwrap();
        reader.by_ref().take(length).read_to_end(&mut body).unwrap();
        reader.read_line(&mut String::new()).unwrap();
        if length == 0 {
            return body;
        }
    }
}

fn answer(stream: &mut UnixStream, status: u16, body: &str) {
    write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
}

fn layer_paths(bed: &Bed, archive: &[u8]) -> Vec<bool> {
    let files = files(archive);
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(manifest[0]["RepoTags"], json!(["app:1"]));
    let layers = manifest[0]["Layers"].as_array().unwrap();
    assert_eq!(layers.len(), bed.image.layers.len());
    layers.iter().map(|layer| files.contains_key(layer.as_str().unwrap())).collect()
}

#[test]
fn layers_that_docker_has_are_left_out() {
    let bed = Bed::new();
    let layers = bed.image.layers.clone();
    let strange = DiffId(Digest::of("strange"));
    for (images, driver_type, expected) in [
        (vec![], "", [true, true]),
        (vec![vec![strange]], "", [true, true]),
        (vec![vec![strange, layers[0]]], "", [true, true]),
        (vec![vec![strange], vec![layers[0], strange]], "", [false, true]),
        (vec![layers.clone()], "", [false, false]),
        (vec![layers.clone()], "io.containerd.snapshotter.v1", [true, true]),
    ] {
        let docker = Docker::new(&bed, Behaviour { images, driver_type, ..Behaviour::default() });
        let loaded = docker.load(&bed).unwrap();
        assert_eq!(layer_paths(&bed, &docker.bodies.recv().unwrap()), expected);
        assert_eq!(loaded.sent_layers, expected.iter().filter(|is_sent| **is_sent).count());
        assert_eq!(loaded.known_layers + loaded.sent_layers, 2);
        std::fs::remove_file(docker.socket).unwrap();
    }
}

#[test]
fn all_layers_follow_if_docker_lost_one_meanwhile() {
    let bed = Bed::new();
    let images = vec![bed.image.layers.clone()];
    let answers = vec![(500, r#"{"message":"no such file or directory"}"#)];
    let docker = Docker::new(&bed, Behaviour { images, answers, ..Behaviour::default() });
    assert_eq!(docker.load(&bed).unwrap(), DockerLoad { known_layers: 0, sent_layers: 2 });
    assert_eq!(layer_paths(&bed, &docker.bodies.recv().unwrap()), [false, false]);
    assert_eq!(layer_paths(&bed, &docker.bodies.recv().unwrap()), [true, true]);
}

#[test]
fn what_docker_says_is_in_the_error() {
    let bed = Bed::new();
    for (answer, is_impatient) in [
        ((500, r#"{"message":"no space left"}"#), false),
        ((200, "{\"status\":\"x\"}\n{\"errorDetail\":{},\"error\":\"no space left\"}\n"), false),
        ((500, r#"{"message":"no space left"}"#), true),
    ] {
        let answers = vec![answer];
        let docker = Docker::new(&bed, Behaviour { answers, is_impatient, ..Behaviour::default() });
        let error = docker.load(&bed).unwrap_err().to_string();
        assert_eq!(error, "Docker refused the image: no space left");
        std::fs::remove_file(docker.socket).unwrap();
    }
}

#[test]
fn no_docker_is_a_clear_error() {
    let bed = Bed::new();
    let error = docker_load(&bed.store, &bed.image, &bed.path("none"), &[]).unwrap_err();
    assert!(matches!(error, ExportError::DockerUnreachable { .. }), "{error}");
}
