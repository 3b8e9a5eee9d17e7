//! A Docker that lies, or never ends what it says.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

use lbuild_tests::Run;
use serde_json::json;

use crate::row::Mode;
use crate::scene::{Scene, base};

const HEAD: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\n";

/// A socket that answers by `answer`, which is given a request's first line; returns the lines that come.
fn listen(
    scene: &Scene,
    name: &str,
    answer: impl Fn(&str, &mut UnixStream) -> std::io::Result<()> + Send + Sync + 'static,
) -> (String, Arc<Mutex<Vec<String>>>) {
    let path = scene.folder().join(name);
    let listener = UnixListener::bind(&path).unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let (seen, answer) = (Arc::clone(&lines), Arc::new(answer));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
            std::thread::spawn(move || {
                let (mut head, mut byte) = (Vec::new(), [0]);
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                    head.push(byte[0]);
                }
                let line = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                seen.lock().unwrap().push(line.clone());
                // That it was left is what is hoped for.
                let _ = answer(&line, &mut stream);
            });
        }
    });
    (format!("unix://{}", path.display()), lines)
}

fn document(stream: &mut UnixStream, body: &[u8]) -> std::io::Result<()> {
    stream.write_all(format!("{HEAD}Content-Length: {}\r\n\r\n", body.len()).as_bytes())?;
    stream.write_all(body)
}

fn for_ever(stream: &mut UnixStream, bytes: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(bytes)?;
    }
}

/// Builds from an image of that Docker; it must fail, and not by a crash.
#[track_caller]
fn refused(scene: &Scene, host: &str) -> Run {
    scene.dockerfile("FROM docker-daemon:evil:1\nCOPY Dockerfile /\n");
    let run = Run::of(scene.build_command([""; 0]).env("DOCKER_HOST", host));
    assert!(run.status.code().is_some_and(|code| (1..100).contains(&code)), "{run}");
    assert!(!run.stderr.contains("panicked"), "{run}");
    scene.unseen(run)
}

pub fn answers_without_an_end(mode: Mode) {
    let scene = Scene::new(mode);
    for (name, head, rest) in [
        ("interim", "", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000)),
        ("headers", HEAD, "X: y\r\n".repeat(1000)),
        ("spaces", "HTTP/1.1 200 OK\r\n\r\n", " ".repeat(1 << 16)),
        ("chunks", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", "x".repeat(1 << 16)),
        ("lists", "HTTP/1.1 200 OK\r\n\r\n{\"Id\":", "[".repeat(1 << 16)),
    ] {
        let (host, _) = listen(&scene, name, move |_, stream| {
            stream.write_all(head.as_bytes())?;
            for_ever(stream, rest.as_bytes())
        });
        refused(&scene, &host);
    }
}

/// An archive of an image that goes on after its end, and one whose files are links to outside.
pub fn archives_that_lie(mode: Mode) {
    let scene = Scene::new(mode);
    let id = json!({"Id": format!("sha256:{}", "0".repeat(64))}).to_string();
    let archive = scene.folder().join("archive.tar");
    base().write("evil:1", &archive);
    let honest = fs::read(&archive).unwrap();
    let victim = format!("{}/victim", scene.outside_text());
    let manifest = json!([{"Config": victim, "RepoTags": null, "Layers": [victim]}]).to_string();
    let paths = crate::raw_tar::RawTar::default().file("manifest.json", &manifest).end();
    for (name, content, goes_on) in [("on", honest, true), ("paths", paths, false)] {
        let id = id.clone();
        let (host, _) = listen(&scene, name, move |line, stream| {
            if !line.contains("/get ") {
                return document(stream, id.as_bytes());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
            stream.write_all(&content)?;
            if goes_on { for_ever(stream, &[0; 1 << 18]) } else { Ok(()) }
        });
        refused(&scene, &host);
    }
}

/// Ids that would be other requests, and lists that would take much memory.
pub fn lists_of_images(mode: Mode) {
    let scene = Scene::new(mode);
    let request = "../../containers/create HTTP/1.1\r\n\r\nDELETE /images/all";
    let long = format!("[{}{{}}]", "{},".repeat(8 << 20));
    for (name, list) in [("ids", json!([{"Id": request}]).to_string()), ("long", long)] {
        let (host, lines) = listen(&scene, name, move |line, stream| match line {
            line if line.starts_with("GET /info ") => document(stream, b"{}"),
            line if line.starts_with("GET /images/json ") => document(stream, list.as_bytes()),
            _ => stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        });
        scene.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
        let run = Run::of(scene.build_command(["--load"]).env("DOCKER_HOST", host));
        assert!(run.status.code().is_some_and(|code| (1..100).contains(&code)), "{name}: {run}");
        let lines = lines.lock().unwrap();
        assert!(!lines.iter().any(|line| line.contains("containers")), "{name}: {lines:?}");
    }
}
