//! A token server, whose tokens `docker-registry` takes.
//!
//! Source: <https://distribution.github.io/distribution/spec/auth/jwt/>

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::Run;

/// Gives whoever asks all that is asked for.
#[derive(Debug)]
pub struct TokenServer {
    address: String,
    folder: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
}

impl TokenServer {
    /// A server that keeps its key in `folder`. Its tokens are good for `life` seconds.
    pub fn start(folder: &Path, life: u64) -> Self {
        fs::create_dir_all(folder).unwrap();
        let arguments = "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=tokens -keyout key -out crt";
        let mut command = Command::new("openssl");
        Run::of(command.args(arguments.split(' ')).current_dir(folder)).success();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}/token", listener.local_addr().unwrap()),
            folder: folder.to_owned(),
            requests: Arc::default(),
        };
        let (folder, requests) = (server.folder.clone(), Arc::clone(&server.requests));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let request = read_request(&mut stream);
                let answer =
                    json!({ "token": token(&folder, &request, life), "expires_in": life }).to_string();
                requests.lock().unwrap().push(request);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    answer.len()
                );
                let _ = stream.write_all((head + &answer).as_bytes());
            }
        });
        server
    }

    /// The realm, and the certificate by which a registry knows the tokens.
    pub fn options(&self) -> (String, PathBuf) {
        (self.address.clone(), self.folder.join("crt"))
    }

    /// The requests, their bodies included.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).to_lowercase();
    let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    request.extend(body);
    String::from_utf8_lossy(&request).into_owned()
}

fn token(folder: &Path, request: &str, life: u64) -> String {
    let certificate = fs::read_to_string(folder.join("crt")).unwrap();
    let chain: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({ "typ": "JWT", "alg": "RS256", "x5c": [chain] });
    let claims = json!({
        "iss": "test", "sub": "user", "aud": "test", "jti": "1",
        "exp": now + life, "nbf": now - 10, "iat": now, "access": access(request),
    });
    let signed = format!(
        "{}.{}",
        url_base64(header.to_string().as_bytes()),
        url_base64(claims.to_string().as_bytes())
    );
    format!("{signed}.{}", url_base64(&sign(folder, signed.as_bytes())))
}

/// What `scope=repository:NAME:ACTIONS` asks for.
fn access(request: &str) -> Vec<Value> {
    let decoded =
        request.replace("%2C", ",").replace("%20", "&scope=").replace("%3A", ":").replace("%2F", "/");
    let scopes =
        decoded.split(['?', '&', ' ', '\n']).filter_map(|part| part.strip_prefix("scope=repository:"));
    scopes
        .filter_map(|scope| scope.rsplit_once(':'))
        .map(|(name, actions)| {
            json!({ "type": "repository", "name": name, "actions": actions.split(',').collect::<Vec<_>>() })
        })
        .collect()
}

fn sign(folder: &Path, message: &[u8]) -> Vec<u8> {
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign", "key"])
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(message).unwrap();
    openssl.wait_with_output().unwrap().stdout
}

fn url_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 0x3f) as usize]));
        }
    }
    text
}
