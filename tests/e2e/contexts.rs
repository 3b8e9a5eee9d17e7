//! Contexts that are no plain folder, remote sources of ADD, and `lbuild context ls`.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::{Arc, Mutex};

use lbuild_tests::{GitServer, Run, TestBed, commit};
use serde_json::Value;

/// A server of one file, which knows its version.
struct WebServer {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl WebServer {
    fn start(content: &[u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, content) = (Arc::clone(&requests), content.to_vec());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let request = read_request(&mut stream);
                let known = request.contains("if-none-match: \"v1\"");
                seen.lock().unwrap().push(if known { "known" } else { "sent" }.to_owned());
                let (status, body) =
                    if known { ("304 Not Modified", &[][..]) } else { ("200 OK", &content[..]) };
                let head = format!(
                    "HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: \"v1\"\r\nConnection: close\r\n\
                     Last-Modified: Thu, 26 Jan 2017 16:59:13 GMT\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), body].concat());
            }
        });
        Self { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        request.push(byte[0]);
    }
    String::from_utf8_lossy(&request).to_lowercase()
}

/// A tar archive of files, each with an owner.
fn archive(files: &[(&str, &str, u64)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content, owner) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_uid(*owner);
        header.set_gid(*owner);
        builder.append_data(&mut header, name, content.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Builds the context that `argument` names.
fn build(bed: &TestBed, arguments: &[&str]) -> Run {
    let name = bed.name();
    let fixed = ["build", "--progress", "plain", "-t", &name];
    bed.lbuild(fixed.iter().chain(arguments))
}

#[test]
fn a_known_url_is_not_fetched_again_and_a_checksum_spares_the_question() {
    let server = WebServer::start(b"hello");
    let url = format!("{}/folder/file.txt", server.url);
    let bed = TestBed::with_base(&format!("FROM base\nADD {url} /x/\n"));
    let first = bed.built();
    let entry = first.top_layer().entry("x/file.txt");
    assert_eq!((entry.content.as_slice(), entry.mode, entry.mtime), (&b"hello"[..], 0o600, 1_485_449_953));
    assert_eq!(server.requests(), ["sent"]);
    assert_eq!(bed.built().id, first.id);
    assert_eq!(server.requests(), ["known"]);

    let checksum = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    bed.dockerfile(&format!("FROM base\nADD --checksum={checksum} {url} /x/\n"));
    bed.built();
    assert!(server.requests().is_empty(), "the digest says that the step is known");
    bed.dockerfile(&format!("FROM base\nADD --checksum={} {url} /x/\n", checksum.replace("2cf", "2cd")));
    bed.build([""; 0]).failure(1).says(&["Dockerfile:2:", "has digest sha256:2cf24", "help: "]);
}

#[test]
fn an_archive_by_its_url_is_unpacked_if_the_step_asks_for_it() {
    let server = WebServer::start(&archive(&[("a", "in the archive", 0)]));
    let url = format!("{}/files.tar", server.url);
    for (option, path) in [("", "x/files.tar"), ("--unpack=false ", "x/files.tar"), ("--unpack ", "x/a")] {
        let bed = TestBed::with_base(&format!("FROM base\nADD {option}{url} /x/\n"));
        assert_eq!(bed.built().top_layer().paths(), ["x/", path], "{option}");
    }
}

#[test]
fn a_repository_is_added_and_known_by_its_commit() {
    let bed = TestBed::new();
    bed.load_base("base", &lbuild_tests::BaseImage::busybox());
    let repository = bed.folder().join("repo");
    fs::create_dir_all(repository.join("sub")).unwrap();
    fs::write(repository.join("sub/file"), "content").unwrap();
    let commit = commit(&repository);
    let server = GitServer::start(bed.folder());
    bed.dockerfile(&format!("FROM base\nADD {}#main:sub /x/\n", server.url("repo")));
    let first = bed.built();
    let entry = first.top_layer().entry("x/file");
    assert_eq!((entry.mode, entry.uid, entry.mtime), (0o644, 0, 1_600_000_000));
    assert_eq!(bed.built().id, first.id);

    // By its commit, the step is known without the server.
    bed.dockerfile(&format!("FROM base\nADD {}#{commit}:sub /x/\n", server.url("repo")));
    drop(server);
    assert_eq!(bed.built().diff_ids(), first.diff_ids());
}

#[test]
fn a_repository_is_a_context_whose_links_stay_inside() {
    let bed = TestBed::new();
    bed.load_base("base", &lbuild_tests::BaseImage::busybox());
    let repository = bed.folder().join("repo");
    fs::create_dir_all(repository.join("app")).unwrap();
    fs::write(repository.join("app/Dockerfile"), "FROM base\nCOPY . /x/\n").unwrap();
    fs::write(repository.join("app/.dockerignore"), "Dockerfile\n").unwrap();
    symlink("/etc/passwd", repository.join("app/Linked")).unwrap();
    symlink("/etc", repository.join("out")).unwrap();
    commit(&repository);
    let server = GitServer::start(bed.folder());
    let context = |fragment: &str| format!("{}#{fragment}", server.url("repo"));

    build(&bed, &[&context("main:app")]).success();
    let layer_paths = bed.image(&bed.name()).top_layer().paths().join(" ");
    assert!(layer_paths.contains("x/Dockerfile"), "as in BuildKit, ignore files do not count: {layer_paths}");
    build(&bed, &["-f", "Linked", &context("main:app")]).failure(1).says(&["Linked"]);
    build(&bed, &[&context("main:out")]).failure(1).says(&["no directory \"out\""]);
    build(&bed, &[&context("gone")]).failure(1).says(&["no branch, tag or commit \"gone\"", "help: "]);
    build(&bed, &[&context("--upload-pack=touch")]).failure(2).says(&["no name of a branch"]);
}

#[test]
fn an_archive_by_its_url_is_a_context_with_owners() {
    let dockerfile = "FROM base\nCOPY file /\nCOPY --from=other context /named\n";
    let server = WebServer::start(&archive(&[("Dockerfile", dockerfile, 0), ("file", "f", 1234)]));
    let bed = TestBed::with_base("");
    let other = WebServer::start(b"other");
    let named = format!("other={}/o", other.url);
    build(&bed, &["--build-context", &named, &format!("{}/c.tar", server.url)]).success();
    let image = bed.image(&bed.name());
    assert_eq!(image.layers[image.layers.len() - 2].entry("file").uid, 1234);
    assert_eq!(image.top_layer().entry("named").content, b"other");
}

#[test]
fn a_dockerfile_by_its_url_is_a_context_of_itself() {
    let server = WebServer::start(b"FROM base\nCOPY context /x\n");
    let bed = TestBed::with_base("");
    build(&bed, &[&format!("{}/Dockerfile", server.url)]).success();
    assert_eq!(bed.image(&bed.name()).top_layer().entry("x").content, b"FROM base\nCOPY context /x\n");
}

#[test]
fn a_dockerfile_by_its_url_serves_any_context() {
    let server = WebServer::start(b"FROM base\nCOPY file /x\n");
    let url = format!("{}/Dockerfile?raw", server.url);
    let bed = TestBed::with_base("FROM no-such-image\n");
    bed.file("file", "of the folder");
    bed.build(["-f", &url]).success();
    assert_eq!(bed.image(&bed.name()).top_layer().entry("x").content, b"of the folder");
    let context = WebServer::start(&archive(&[("file", "of the archive", 0)]));
    build(&bed, &["-f", &url, &format!("{}/c.tar", context.url)]).success();
    assert_eq!(bed.image(&bed.name()).top_layer().entry("x").content, b"of the archive");

    let wrong = WebServer::start(b"FROM base\nCOPPY a /\n");
    bed.build(["-f", &wrong.url]).failure(3).says(&[&format!("{}:2:1", wrong.url), "COPPY"]);
    bed.build(["-f", "http://127.0.0.1:9/Dockerfile"]).failure(1).says(&["127.0.0.1:9"]);
}

#[test]
fn a_link_in_an_archive_cannot_be_a_dockerfile_outside() {
    let bed = TestBed::with_base("");
    let mut builder = tar::Builder::new(Vec::new());
    for (name, target) in [("Dockerfile", "/etc/passwd"), ("Dockerfile.dockerignore", "/etc/shadow")] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        builder.append_link(&mut header, name, target).unwrap();
    }
    let path = bed.folder().join("context.tar");
    fs::write(&path, builder.into_inner().unwrap()).unwrap();
    let mut command = bed.command(["build", "-"]);
    let output = command.stdin(fs::File::open(path).unwrap()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("Dockerfile") && !stderr.contains("root:"), "{stderr}");
}

#[test]
fn named_contexts_are_folders_images_and_layouts() {
    let bed = TestBed::with_base("FROM base\nRUN echo made > /made\n");
    let layout = bed.folder().join("layout");
    let tar = bed.folder().join("layout.tar");
    bed.build(["-o", &format!("type=oci,dest={}", tar.display())]).success();
    tar::Archive::new(fs::File::open(tar).unwrap()).unpack(&layout).unwrap();
    bed.lbuild(["rmi", "--force", &bed.name()]).success();
    let folder = bed.folder().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "f").unwrap();

    bed.dockerfile(
        "FROM layout\nCOPY --from=folder file /a\nCOPY --from=image /etc/motd /b\n\
         RUN --mount=from=folder,target=/mnt cat /mnt/file /made > /c\n",
    );
    let folder = format!("folder={}", folder.display());
    let layout = format!("layout=oci-layout://{}", layout.display());
    let contexts = ["--build-context", &folder, "--build-context", &layout, "--build-context", "image=base"];
    bed.build(contexts).success();
    let image = bed.image(&bed.name());
    assert_eq!(image.top_layer().entry("c").content, b"fmade\n");
    bed.build(["--build-context", "layout=no-such-image"]).failure(1).says(&["no-such-image", "help: "]);
    bed.build(["--build-context", "layout=oci-layout:///no/such"]).failure(1);
    bed.build(["--build-context", "layout=./no/such"]).failure(2).says(&["neither a folder nor an image"]);
}

#[test]
fn context_ls_lists_what_a_build_sees_and_why() {
    let bed = TestBed::with_base("FROM base\n");
    bed.file(".dockerignore", "# rules\n*.log\n!keep.log\nnode_modules\n");
    bed.file("a.log", "").file("keep.log", "").file("node_modules/x", "").file("src/main.c", "");
    let context = bed.context().to_str().unwrap();
    let list = |arguments: &[&str]| {
        let fixed = ["context", "ls"];
        bed.lbuild(fixed.iter().chain(arguments).chain(&[context])).success().text()
    };
    assert_eq!(list(&[]), ".dockerignore\nDockerfile\nkeep.log\nsrc/\nsrc/main.c\n");
    assert_eq!(
        list(&["--explain"]),
        "+ .dockerignore\n+ Dockerfile\n- a.log  excluded by line 2 of .dockerignore: *.log\n\
         + keep.log  kept by line 3 of .dockerignore: !keep.log\n\
         - node_modules/  excluded by line 4 of .dockerignore: node_modules\n+ src/\n+ src/main.c\n"
    );
    let json: Vec<Value> =
        list(&["--explain", "--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json[2]["path"], "a.log");
    assert_eq!((&json[2]["included"], &json[2]["rule"]["line"]), (&Value::Bool(false), &2.into()));

    bed.file("other.Dockerfile", "").file("other.Dockerfile.dockerignore", "src\n");
    let other = format!("{context}/other.Dockerfile");
    let listed = list(&["-f", &other]);
    assert!(listed.contains("a.log") && !listed.contains("src"), "{listed}");
}
