//! A real registry, Debian's `docker-registry`, on a port of its own.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Run;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The name and the password that a registry with [`RegistryOptions::password`] takes.
pub const USER: &str = "user";
/// See [`USER`].
pub const PASSWORD: &str = "open sesame";
/// bcrypt of [`PASSWORD`].
const HTPASSWD: &str = "user:$2b$04$H.7gc.hQ8o6/LRO8z.NjDeB6AFiMyXzWVJymdQO7e3y4ivOUTdL9W\n";

/// How long a registry may take to start.
const LIMIT: Duration = Duration::from_secs(20);

/// What a registry asks for.
#[derive(Debug, Default, Clone)]
pub struct RegistryOptions {
    /// It speaks TLS, with the certificate that [`certificates`] made in this folder.
    pub tls: Option<std::path::PathBuf>,
    /// It takes only clients with a certificate of the same authority.
    pub wants_certificate: bool,
    /// It wants [`USER`] and [`PASSWORD`].
    pub password: bool,
    /// It wants tokens of this server: its address, and the certificate of its key.
    pub tokens: Option<(String, std::path::PathBuf)>,
    /// It has what this registry has: an address.
    pub mirrors: Option<String>,
}

/// A registry that runs as long as this lives.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    /// A registry that keeps its content in `folder` and asks for nothing.
    pub fn start(folder: &Path) -> Self {
        Self::start_with(folder, &RegistryOptions::default())
    }

    /// A registry that keeps its content in `folder`.
    pub fn start_with(folder: &Path, options: &RegistryOptions) -> Self {
        fs::create_dir_all(folder).unwrap();
        // Another process may take the port before the registry does.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let address = format!("127.0.0.1:{port}");
            let configuration = folder.join("config.yml");
            fs::write(&configuration, configuration_of(folder, &address, options)).unwrap();
            let log = fs::File::create(folder.join("log")).unwrap();
            let mut process = Command::new("docker-registry")
                .arg("serve")
                .arg(&configuration)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .expect("docker-registry is not installed: `cargo xtask test` installs it");
            let begin = Instant::now();
            while begin.elapsed() < LIMIT && process.try_wait().unwrap().is_none() {
                if TcpStream::connect(&address).is_ok() {
                    return Self { process, address };
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        panic!("docker-registry does not start: {}", fs::read_to_string(folder.join("log")).unwrap());
    }

    /// A registry with the content of `folder` in the network namespace of a process, which has none but
    /// its loopback device.
    #[track_caller]
    pub fn within(process: u32, folder: &Path) -> Self {
        let within = |program: &str| {
            let mut command = Command::new("nsenter");
            command.args(["--net", "--target", &process.to_string(), program]);
            command
        };
        Run::of(within("ip").args(["link", "set", "lo", "up"])).success();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let configuration = folder.join("within.yml");
        fs::write(&configuration, configuration_of(folder, &address, &RegistryOptions::default())).unwrap();
        let mut registry = within("docker-registry");
        registry.arg("serve").arg(&configuration).stdin(Stdio::null());
        let process = registry.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let registry = Self { process, address };
        let connects = format!("</dev/tcp/127.0.0.1/{port}");
        let begin = Instant::now();
        while !Run::of(within("bash").args(["-c", &connects])).status.success() {
            assert!(begin.elapsed() < LIMIT, "docker-registry does not start in the daemon's network");
            std::thread::sleep(Duration::from_millis(50));
        }
        registry
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The tags of a repository, sorted; none if there is no such repository.
    pub fn tags(&self, repository: &str) -> Vec<String> {
        let (status, body) = self.request("GET", &format!("/v2/{repository}/tags/list"), &[]);
        if status == 404 {
            return Vec::new();
        }
        let list: Value = serde_json::from_slice(&body).unwrap();
        let mut tags: Vec<String> = serde_json::from_value(list["tags"].clone()).unwrap_or_default();
        tags.sort();
        tags
    }

    /// The OCI manifest under a tag.
    #[track_caller]
    pub fn manifest(&self, repository: &str, tag: &str) -> Value {
        let (status, body) = self.request("GET", &format!("/v2/{repository}/manifests/{tag}"), &[]);
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    /// Puts an OCI manifest, whatever it says, under a tag.
    #[track_caller]
    pub fn put_manifest(&self, repository: &str, tag: &str, manifest: &Value) {
        let path = format!("/v2/{repository}/manifests/{tag}");
        let (status, body) = self.request("PUT", &path, manifest.to_string().as_bytes());
        assert_eq!(status, 201, "{}", String::from_utf8_lossy(&body));
    }

    /// Asks it without lbuild; returns the status and the body.
    fn request(&self, method: &str, path: &str, body: &[u8]) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nAccept: {MANIFEST}\r\nContent-Type: {MANIFEST}\r\n\
             Content-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let status = std::str::from_utf8(&answer[9..12]).unwrap().parse().unwrap();
        (status, answer.split_off(end))
    }

    /// `ADDRESS/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes in `folder` an authority `ca.crt`, `server.crt` with `server.key` for 127.0.0.1 and registry.invalid,
/// and `client.crt` with `client.key`.
pub fn certificates(folder: &Path) {
    fs::create_dir_all(folder).unwrap();
    fs::write(
        folder.join("san"),
        "subjectAltName=IP:127.0.0.1,DNS:registry.invalid\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    let run = |arguments: &str| {
        let mut command = Command::new("openssl");
        Run::of(command.args(arguments.split(' ')).current_dir(folder)).success();
    };
    run(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.crt",
    );
    for name in ["server", "client"] {
        run(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"
        ));
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile san -out {name}.crt"
        ));
    }
}

fn configuration_of(folder: &Path, address: &str, options: &RegistryOptions) -> String {
    let folder_text = folder.display();
    let mut text = format!(
        "version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {folder_text}/data}}\n  \
         delete: {{enabled: true}}\nvalidation:\n  manifests: {{urls: {{allow: ['^https?://']}}}}\n\
         http:\n  addr: {address}\n  secret: test\n"
    );
    if let Some(tls) = &options.tls {
        let tls = tls.display();
        let clients =
            if options.wants_certificate { format!(", clientcas: [{tls}/ca.crt]") } else { String::new() };
        text += &format!("  tls: {{certificate: {tls}/server.crt, key: {tls}/server.key{clients}}}\n");
    }
    if options.password {
        fs::write(folder.join("htpasswd"), HTPASSWD).unwrap();
        text += &format!("auth:\n  htpasswd: {{realm: test, path: {folder_text}/htpasswd}}\n");
    }
    if let Some((server, certificate)) = &options.tokens {
        text += &format!(
            "auth:\n  token: {{realm: '{server}', service: test, issuer: test, rootcertbundle: {}}}\n",
            certificate.display()
        );
    }
    if let Some(upstream) = &options.mirrors {
        text += &format!("proxy: {{remoteurl: 'http://{upstream}'}}\n");
    }
    text
}
