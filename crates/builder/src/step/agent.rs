//! A socket of this RUN's own that leads to the user's SSH agent.
//!
//! The agent's own socket belongs to the user and may not be entered by the RUN's; its owner and
//! mode are not ours to change. So the RUN gets another socket, and what comes there is passed on.

use std::fs::{self, File};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// The socket; it ends when this is dropped.
pub(crate) struct Agent {
    path: PathBuf,
    ended: Arc<AtomicBool>,
}

impl Agent {
    /// Makes the socket `path`, with this mode and owner, which leads to the agent at `socket`.
    ///
    /// # Errors
    /// The agent does not answer, or the socket cannot be made.
    pub fn start(path: PathBuf, socket: &Path, mode: u32, uid: u32, gid: u32) -> io::Result<Self> {
        drop(UnixStream::connect(socket)?);
        let listener = bind(&path).map_err(|error| {
            io::Error::new(error.kind(), format!("no socket can be made at {}: {error}", path.display()))
        })?;
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        chown(&path, Some(uid), Some(gid))?;
        let ended = Arc::new(AtomicBool::new(false));
        let (stop, socket) = (Arc::clone(&ended), socket.to_owned());
        thread::Builder::new()
            .name("ssh-agent".to_owned())
            .spawn(move || serve(&listener, &socket, &stop))?;
        Ok(Self { path, ended })
    }

    /// Where the socket lies.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection.
        let _ = short(&self.path).and_then(|(_folder, path)| UnixStream::connect(path));
        let _ = fs::remove_file(&self.path);
    }
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let (_folder, path) = short(path)?;
    UnixListener::bind(path)
}

/// A path of the socket that is as short as socket addresses must be, while the folder is open.
fn short(path: &Path) -> io::Result<(File, PathBuf)> {
    let folder = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let name = path.file_name().unwrap_or_default();
    let path = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name);
    Ok((folder, path))
}

fn serve(listener: &UnixListener, socket: &Path, ended: &AtomicBool) {
    for client in listener.incoming() {
        if ended.load(Ordering::SeqCst) {
            return;
        }
        if let (Ok(client), Ok(agent)) = (client, UnixStream::connect(socket)) {
            pass_on(client, agent);
        }
    }
}

/// Copies both ways until either side ends.
fn pass_on(client: UnixStream, agent: UnixStream) {
    let (Ok(client_too), Ok(agent_too)) = (client.try_clone(), agent.try_clone()) else { return };
    thread::spawn(move || copy(client_too, agent_too));
    thread::spawn(move || copy(agent, client));
}

fn copy(mut from: UnixStream, mut to: UnixStream) {
    // Either side may end at any time; then there is nothing more to pass on.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn what_is_said_reaches_the_agent_and_its_answer_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let listener = UnixListener::bind(&real).unwrap();
        let echo = thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let mut said = Vec::new();
                stream.read_to_end(&mut said).unwrap();
                let _ = stream.write_all(&said);
            }
        });
        let agent = Agent::start(folder.path().join("own"), &real, 0o600, 0, 0).unwrap();
        let mut client = UnixStream::connect(agent.path()).unwrap();
        client.write_all(b"hello").unwrap();
        drop(client);
        echo.join().unwrap();
        let path = agent.path().to_owned();
        drop(agent);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_may_lie_deep_in_the_file_system() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        let _listener = UnixListener::bind(&real).unwrap();
        let deep = folder.path().join("d".repeat(100)).join("e".repeat(100));
        fs::create_dir_all(&deep).unwrap();
        assert!(Agent::start(deep.join("own"), &real, 0o600, 0, 0).is_ok());
    }

    #[test]
    fn an_agent_that_does_not_answer_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Agent::start(folder.path().join("own"), &folder.path().join("none"), 0o600, 0, 0).is_err());
    }
}
