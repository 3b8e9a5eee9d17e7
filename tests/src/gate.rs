//! A step that waits for its test.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};

use crate::run::wait_until;

/// What the RUNs of a build with `--network=host` wait at until the test lets them go on.
#[derive(Debug)]
pub struct Gate(TcpListener);

/// A RUN that waits. It goes on when this is dropped, too.
#[derive(Debug)]
pub struct Waiting(TcpStream);

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Gate {
    /// A gate that is closed.
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    /// The command of a RUN, with busybox, that waits.
    pub fn command(&self) -> String {
        format!("wget -q -O /dev/null http://{}/", self.0.local_addr().unwrap())
    }

    /// Waits until a RUN waits.
    #[track_caller]
    pub fn reached(&self) -> Waiting {
        let mut reached = None;
        wait_until(|| {
            reached = self.0.accept().ok();
            reached.is_some()
        });
        let (stream, _) = reached.unwrap();
        stream.set_nonblocking(false).unwrap();
        Waiting(stream)
    }
}

impl Waiting {
    /// Lets the RUN go on; its command succeeds.
    pub fn go_on(mut self) {
        // To close a connection before all was read would break it.
        let mut request = BufReader::new(&self.0).lines();
        while request.next().unwrap().unwrap() != "" {}
        self.0.write_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
}
