//! Instructions that need a real machine: archives, the network, processes. The conformance cases
//! have the others.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;

use lbuild_tests::{Run, TestBed};

#[test]
fn add_unpacks_archives_of_each_compression() {
    let bed = TestBed::with_base("");
    bed.file("tree/sub/f", "content\n");
    let plain = bed.context().join("a.tar");
    let tar = |arguments: &[&str]| {
        Run::of(Command::new("tar").args(arguments).current_dir(bed.context().join("tree"))).success()
    };
    tar(&["-cf", plain.to_str().unwrap(), "sub"]);
    for (program, name) in [("gzip", "a.gz"), ("bzip2", "a.bz2"), ("xz", "a.xz"), ("zstd", "a.zst")] {
        let packed = Run::of(Command::new(program).arg("-c").arg(&plain)).success();
        bed.file(name, packed.stdout);
    }
    // The content tells, not the name.
    for name in ["a.tar", "a.gz", "a.bz2", "a.xz", "a.zst"] {
        bed.dockerfile(&format!("FROM base\nADD {name} /to/\n"));
        assert_eq!(bed.built().top_layer().paths(), ["to/", "to/sub/", "to/sub/f"], "{name}");
        bed.dockerfile(&format!("FROM base\nCOPY {name} /to/\n"));
        assert_eq!(bed.built().top_layer().paths(), ["to/", &format!("to/{name}")], "{name}");
    }
}

#[test]
fn add_downloads_a_file_and_does_not_unpack_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let length = connection.read(&mut request).unwrap();
            let found = request[..length].starts_with(b"GET /folder/file.txt ");
            let (status, body) =
                if found { ("200 OK", "downloaded\n") } else { ("404 Not Found", "no such file\n") };
            let head =
                format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            connection.write_all((head + body).as_bytes()).unwrap();
        }
    });
    let bed = TestBed::with_base(&format!("FROM base\nADD http://{address}/folder/file.txt /to/\n"));
    let image = bed.built();
    let file = image.top_layer().entry("to/file.txt");
    assert_eq!((file.content.as_slice(), file.mode), (b"downloaded\n".as_slice(), 0o600));

    bed.dockerfile(&format!("FROM base\nADD http://{address}/other /to/\n"));
    bed.build([""; 0]).failure(1).says(&["Dockerfile:2", "404"]);
    server.join().unwrap();
}

#[test]
fn output_is_shown_as_it_comes() {
    let bed = TestBed::with_base("");
    bed.dockerfile(&format!("FROM base\nENV BED={}\nRUN echo ear''ly; sleep 1000\n", bed.token()));
    let mut build = bed.start_build([""; 0]);
    build.wait_until_it_says("early");
    build.signal(rustix::process::Signal::INT);
    build.end().failure(130);
}

#[test]
fn output_that_is_no_text_does_not_reach_the_terminal() {
    let bed = TestBed::with_base(
        r#"FROM base
RUN printf 'red\033[31m bell\007 bad\377 long' ; seq 1 20000
"#,
    );
    let build = bed.build([""; 0]).success();
    assert!(!build.stderr.contains(['\u{1b}', '\u{7}']), "control characters");
    assert!(build.stderr.contains("20000"));
}

#[test]
fn a_run_is_alone_in_its_namespaces_with_dockers_capabilities() {
    let bed = TestBed::with_base(
        "FROM base
         RUN grep -E '^(CapInh|CapEff|CapBnd)' /proc/self/status > /caps
         RUN test $$ = 1 && test $(ls -d /proc/[0-9]* | wc -l) -lt 6
         RUN ls /proc/self/fd > /fds
         RUN ls /dev > /devices
         RUN ! mount -t tmpfs none /tmp && ! hostname other
         RUN ! touch /proc/sys/kernel/hostname && ! touch /sys/f
         RUN test \"$(id -u):$(id -g)\" = 0:0 && test \"$(pwd)\" = /
         USER user
         WORKDIR /d
         RUN test \"$(id -u):$(id -g)\" = 1000:1000 && test \"$(pwd)\" = /d && test \"$HOME\" = /home/user",
    );
    let image = bed.built();
    let text = |path: &str| {
        let entries = image.layers.iter().flat_map(|layer| &layer.entries);
        let entry = entries.into_iter().find(|entry| entry.path == path).unwrap();
        String::from_utf8(entry.content.clone()).unwrap()
    };
    // The set that Docker's containers have by default.
    assert_eq!(
        text("caps").split_whitespace().collect::<Vec<_>>(),
        ["CapInh:", "0000000000000000", "CapEff:", "00000000a80425fb", "CapBnd:", "00000000a80425fb"]
    );
    assert_eq!(text("fds").split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"], "3 is the folder's");
    for device in ["full", "null", "random", "tty", "urandom", "zero"] {
        assert!(text("devices").lines().any(|line| line == device), "{device}");
    }
    assert!(!text("devices").contains("vda") && !text("devices").contains("kmsg"), "{}", text("devices"));
}

#[test]
fn a_run_uses_the_machines_network() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().unwrap();
        connection.write_all(b"hello\n").unwrap();
    });
    let bed =
        TestBed::with_base(&format!("FROM base\nRUN timeout 60 nc 127.0.0.1 {port} > /got </dev/null\n"));
    assert_eq!(bed.built().top_layer().entry("got").content, b"hello\n");
    server.join().unwrap();
}

#[test]
fn a_heredoc_that_begins_with_its_interpreter_is_a_program() {
    let bed = TestBed::with_base("FROM base\nRUN <<EOF\n#!/bin/sh -e\necho \"ran as $0\"\nEOF\n");
    bed.build([""; 0]).success().says(&["ran as /dev/pipes/"]);
}

#[test]
fn ignored_files_are_not_copied() {
    let bed = TestBed::with_base("FROM base\nCOPY . /all/\n");
    bed.file(".dockerignore", "**/*.log\n!keep.log\nsecret\nDockerfile\n.dockerignore\n");
    for path in ["a", "a.log", "keep.log", "secret/key", "sub/b", "sub/b.log"] {
        bed.file(path, "");
    }
    assert_eq!(bed.built().top_layer().paths(), ["all/", "all/a", "all/keep.log", "all/sub/", "all/sub/b"]);
}

#[test]
fn a_dockerfile_comes_from_standard_input() {
    let bed = TestBed::with_base("FROM base\nRUN touch /f\n");
    let dockerfile = fs::File::open(bed.context().join("Dockerfile")).unwrap();
    let status = bed.command(["build", "-q", "-t", "image", "-"]).stdin(dockerfile).status().unwrap();
    assert!(status.success());
    assert_eq!(bed.image("image").top_layer().paths(), ["f"]);
}

#[test]
fn build_may_be_left_out() {
    let bed = TestBed::with_base("FROM base\nRUN touch /f\n");
    Run::of(bed.command(["-t", "image", "."]).current_dir(bed.context())).success();
    assert_eq!(bed.image("image").top_layer().paths(), ["f"]);
}
