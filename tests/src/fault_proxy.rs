//! A proxy that counts what passes through it, and breaks it where a test says so.
//!
//! One request goes over one connection. What it does not break is passed on as it is.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

const BUFFER: usize = 64 << 10;
/// What a client that tries TLS begins with. It learns at once that there is none.
const TLS_HANDSHAKE: u8 = 0x16;
/// How long a stalled connection is held if nobody ends that.
const STALL: Duration = Duration::from_secs(60);

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The proxy answers itself: a status line's end, such as `429 Too Many Requests`, and headers.
    Answer(&'static str, String),
    /// The answer ends after so many bytes of its body, and the connection with it.
    Cut(usize),
    /// Nothing more comes after so many bytes of the answer's body, until [`FaultProxy::end_stalls`].
    Stall(usize),
    /// One bit of the answer's body is another.
    Damage,
    /// The connection ends after so many bytes of the request's body, which go on to the registry.
    CutUpload(usize),
}

/// A request that was seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// `GET /v2/…`.
    pub line: String,
    /// All headers, in lower case but for their values.
    pub headers: Vec<(String, String)>,
}

/// The proxy. Its threads end with the process.
#[derive(Debug, Clone)]
pub struct FaultProxy(Arc<State>);

#[derive(Debug)]
struct State {
    address: String,
    upstream: String,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    to_registry: AtomicU64,
    from_registry: AtomicU64,
    /// How often stalls were ended.
    ended_stalls: Mutex<usize>,
    stalls_end: Condvar,
}

#[derive(Debug)]
struct Rule {
    method: &'static str,
    part: String,
    times: usize,
    fault: Fault,
}

impl FaultProxy {
    /// A proxy before the registry at `upstream`.
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self(Arc::new(State {
            address: listener.local_addr().unwrap().to_string(),
            upstream: upstream.to_owned(),
            rules: Mutex::default(),
            seen: Mutex::default(),
            to_registry: AtomicU64::new(0),
            from_registry: AtomicU64::new(0),
            ended_stalls: Mutex::default(),
            stalls_end: Condvar::new(),
        }));
        let state = Arc::clone(&proxy.0);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                // A connection that breaks is what this is for.
                thread::spawn(move || state.serve(stream));
            }
        });
        proxy
    }

    /// Its host and port.
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// `ADDRESS/NAME`.
    pub fn name(&self, name: &str) -> String {
        format!("{}/{name}", self.0.address)
    }

    /// The next `times` requests of `method` with `part` in their address go wrong.
    pub fn fault(&self, method: &'static str, part: &str, times: usize, fault: Fault) -> &Self {
        self.0.rules.lock().unwrap().push(Rule { method, part: part.to_owned(), times, fault });
        self
    }

    /// How many faults that were asked for did not happen.
    pub fn faults_left(&self) -> usize {
        self.0.rules.lock().unwrap().iter().map(|rule| rule.times).sum()
    }

    /// Forgets all faults that did not happen.
    pub fn heal(&self) {
        self.0.rules.lock().unwrap().clear();
    }

    /// Breaks the connections that stall, or will when so much has come.
    pub fn end_stalls(&self) {
        *self.0.ended_stalls.lock().unwrap() += 1;
        self.0.stalls_end.notify_all();
    }

    /// The requests since the last time.
    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.0.seen.lock().unwrap())
    }

    /// Bytes of request bodies and of answers that passed since the last time.
    pub fn bytes(&self) -> (u64, u64) {
        (self.0.to_registry.swap(0, Ordering::SeqCst), self.0.from_registry.swap(0, Ordering::SeqCst))
    }
}

impl Seen {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl State {
    fn serve(&self, mut client: TcpStream) -> Option<()> {
        let head = read_head(&mut client)?;
        let seen = parse(&head)?;
        let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let ended_stalls = *self.ended_stalls.lock().unwrap();
        let fault = self.fault_for(&seen.line);
        self.seen.lock().unwrap().push(seen);
        if let Some(Fault::Answer(status, headers)) = &fault {
            // The request's body is read, as by a server that answers late.
            io::copy(&mut (&client).take(length), &mut io::sink()).ok()?;
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n");
            return client.write_all(answer.as_bytes()).ok();
        }
        let mut upstream = TcpStream::connect(&self.upstream).ok()?;
        upstream.write_all(closing(&head).as_bytes()).ok()?;
        let passed = match fault {
            Some(Fault::CutUpload(bytes)) => length.min(bytes as u64),
            _ => length,
        };
        let sent = io::copy(&mut (&client).take(passed), &mut upstream).ok()?;
        self.to_registry.fetch_add(sent, Ordering::SeqCst);
        if matches!(fault, Some(Fault::CutUpload(_))) {
            // Both ends learn of it; the registry has time to keep what came.
            upstream.shutdown(Shutdown::Write).ok()?;
            thread::sleep(Duration::from_millis(200));
            return client.shutdown(Shutdown::Both).ok();
        }
        let answer = read_head(&mut upstream)?;
        client.write_all(&answer).ok()?;
        self.pass_body(&mut upstream, &mut client, fault.as_ref())?;
        if matches!(fault, Some(Fault::Stall(_))) {
            self.stall(ended_stalls);
        }
        client.shutdown(Shutdown::Both).ok()
    }

    /// Passes the body on, or as much of it as the fault lets pass.
    fn pass_body(&self, from: &mut TcpStream, to: &mut TcpStream, fault: Option<&Fault>) -> Option<()> {
        let mut buffer = vec![0; BUFFER];
        let mut passed = 0;
        loop {
            let limit = match fault {
                Some(Fault::Cut(bytes) | Fault::Stall(bytes)) => BUFFER.min(bytes - passed),
                _ => BUFFER,
            };
            if limit == 0 {
                return Some(());
            }
            let count = from.read(&mut buffer[..limit]).ok().filter(|count| *count > 0)?;
            if matches!(fault, Some(Fault::Damage)) && passed == 0 {
                buffer[count / 2] ^= 1;
            }
            passed += count;
            // Before the client has it: a test that looks when the client has ended sees all.
            self.from_registry.fetch_add(count as u64, Ordering::SeqCst);
            to.write_all(&buffer[..count]).ok()?;
        }
    }

    /// Holds still until stalls are ended once more than `ended` times.
    fn stall(&self, ended: usize) {
        let ends = self.ended_stalls.lock().unwrap();
        let _ended = self.stalls_end.wait_timeout_while(ends, STALL, |now| *now == ended).unwrap();
    }

    fn fault_for(&self, line: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules.iter_mut().find(|rule| {
            rule.times > 0 && line.starts_with(&format!("{} ", rule.method)) && line.contains(&rule.part)
        })?;
        rule.times -= 1;
        Some(rule.fault.clone())
    }
}

fn read_head(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        if head.is_empty() && byte[0] == TLS_HANDSHAKE {
            return None;
        }
        head.push(byte[0]);
    }
    Some(head)
}

fn parse(head: &[u8]) -> Option<Seen> {
    let text = std::str::from_utf8(head).ok()?;
    let mut lines = text.lines();
    let line = lines.next()?.to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_lowercase(), value.trim().to_owned()))
        .collect();
    Some(Seen { line, headers })
}

/// The request with the wish that the connection ends after it.
fn closing(head: &[u8]) -> String {
    let text = String::from_utf8_lossy(head);
    let lines = text.trim_end().lines().filter(|line| !line.to_lowercase().starts_with("connection:"));
    let lines: Vec<&str> = lines.collect();
    format!("{}\r\nConnection: close\r\n\r\n", lines.join("\r\n"))
}
