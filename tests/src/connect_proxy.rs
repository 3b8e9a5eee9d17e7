//! A proxy that gives tunnels (CONNECT), all of them to one server: tests have no names of their own.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The proxy. Its threads end with the process.
#[derive(Debug, Clone)]
pub struct ConnectProxy {
    address: String,
    targets: Arc<Mutex<Vec<String>>>,
}

impl ConnectProxy {
    /// A proxy that takes every name for the server at `upstream`.
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let proxy = Self { address, targets: Arc::default() };
        let (targets, upstream) = (Arc::clone(&proxy.targets), upstream.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (targets, upstream) = (Arc::clone(&targets), upstream.clone());
                // A tunnel that breaks is its ends' affair.
                thread::spawn(move || serve(client, &upstream, &targets));
            }
        });
        proxy
    }

    /// Its address, as `HTTPS_PROXY` has it.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The `HOST:PORT`s that were asked for since the last time.
    pub fn targets(&self) -> Vec<String> {
        std::mem::take(&mut *self.targets.lock().unwrap())
    }
}

fn serve(mut client: TcpStream, upstream: &str, targets: &Mutex<Vec<String>>) -> io::Result<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split_whitespace();
    let (Some("CONNECT"), Some(target)) = (words.next(), words.next()) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n");
    };
    targets.lock().unwrap().push(target.to_owned());
    let server = TcpStream::connect(upstream)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (from, to) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || pass(from, to));
    pass(server, client)
}

fn pass(mut from: TcpStream, mut to: TcpStream) -> io::Result<()> {
    let result = io::copy(&mut from, &mut to);
    to.shutdown(Shutdown::Write)?;
    result.map(drop)
}
