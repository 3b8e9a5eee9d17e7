//! Debian's registry, and what was asked of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::command::Failure;

use super::network::{HUB, Network};

const PORT: u16 = 5000;
/// The end of a claim's tag.
const CLAIM: &str = ".claim";
const START_LIMIT: Duration = Duration::from_secs(20);

/// A registry on the bridge. It ends with this value.
pub struct Registry {
    process: Child,
    log: PathBuf,
    /// A `registries.conf` by which it is spoken to without TLS.
    pub configuration: PathBuf,
}

/// Requests, by what they were for, and the bytes of the answers.
#[derive(Clone, Default)]
pub struct Traffic {
    records_found: u64,
    records_missing: u64,
    records_put: u64,
    claims_seen: u64,
    claims_put: u64,
    blobs_sent: u64,
    blobs_looked_for: u64,
    uploads: u64,
    bytes_sent: u64,
}

impl Registry {
    /// Starts it and waits until it answers.
    pub fn start(folder: &Path, _network: &Network) -> Result<Self, Failure> {
        let data = folder.join("registry");
        let configuration = folder.join("registries.conf");
        let settings = folder.join("registry.yml");
        let log = folder.join("registry.log");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\n\
             http:\n  addr: 0.0.0.0:{PORT}\n",
            data.display()
        );
        let insecure = format!("[[registry]]\nlocation = \"{HUB}:{PORT}\"\ninsecure = true\n");
        for (path, text) in [(&settings, text), (&configuration, insecure)] {
            fs::write(path, text).map_err(Failure::of(format!("cannot write {}", path.display())))?;
        }
        let output = File::create(&log).map_err(Failure::of("cannot write the registry's log"))?;
        let errors = output.try_clone().map_err(Failure::of("cannot open the registry's log twice"))?;
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&settings)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .map_err(Failure::of("cannot start docker-registry"))?;
        let registry = Self { process, log, configuration };
        registry.wait_until_ready()?;
        Ok(registry)
    }

    /// The repository that the cache is in.
    pub fn cache(&self) -> String {
        format!("{HUB}:{PORT}/cache")
    }

    fn wait_until_ready(&self) -> Result<(), Failure> {
        let began = Instant::now();
        while TcpStream::connect((HUB, PORT)).is_err() {
            if began.elapsed() > START_LIMIT {
                return Err(Failure(format!("the registry does not start; see {}", self.log.display())));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// What was asked of it until now, by its log of accesses.
    pub fn traffic(&self) -> Result<Traffic, Failure> {
        let log = File::open(&self.log).map_err(Failure::of("cannot read the registry's log"))?;
        let mut traffic = Traffic::default();
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            traffic.count(&line);
        }
        Ok(traffic)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Traffic {
    /// Counts a line of the log: `ADDRESS - - [TIME] "GET /v2/… HTTP/1.1" STATUS BYTES …`.
    fn count(&mut self, line: &str) {
        let mut quoted = line.split('"');
        let (Some(request), Some(answer)) = (quoted.nth(1), quoted.next()) else { return };
        let mut request = request.split(' ');
        let (Some(method), Some(path)) = (request.next(), request.next()) else { return };
        let mut answer = answer.split_whitespace();
        let status: u16 = answer.next().and_then(|status| status.parse().ok()).unwrap_or_default();
        let bytes: u64 = answer.next().and_then(|bytes| bytes.parse().ok()).unwrap_or_default();
        match (method, path) {
            ("GET", path) if path.ends_with(CLAIM) => self.claims_seen += 1,
            ("PUT", path) if path.ends_with(CLAIM) => self.claims_put += 1,
            ("GET", path) if path.contains("/manifests/") && status == 200 => self.records_found += 1,
            ("GET", path) if path.contains("/manifests/") => self.records_missing += 1,
            ("PUT", path) if path.contains("/manifests/") => self.records_put += 1,
            ("GET", path) if path.contains("/blobs/sha256:") => self.blobs_sent += 1,
            ("HEAD", path) if path.contains("/blobs/") => self.blobs_looked_for += 1,
            ("PUT", path) if path.contains("/blobs/uploads/") => self.uploads += 1,
            ("POST", path) if path.contains("digest=") => self.uploads += 1,
            _ => {}
        }
        if method == "GET" {
            self.bytes_sent += bytes;
        }
    }

    /// What came after `before`.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            records_found: self.records_found - before.records_found,
            records_missing: self.records_missing - before.records_missing,
            records_put: self.records_put - before.records_put,
            claims_seen: self.claims_seen - before.claims_seen,
            claims_put: self.claims_put - before.claims_put,
            blobs_sent: self.blobs_sent - before.blobs_sent,
            blobs_looked_for: self.blobs_looked_for - before.blobs_looked_for,
            uploads: self.uploads - before.uploads,
            bytes_sent: self.bytes_sent - before.bytes_sent,
        }
    }

    /// Prints the counts.
    pub fn print(&self) {
        for (what, count) in [
            ("records found", self.records_found),
            ("records not found", self.records_missing),
            ("records put", self.records_put),
            ("claims looked at", self.claims_seen),
            ("claims put", self.claims_put),
            ("layers looked for", self.blobs_looked_for),
            ("layers uploaded", self.uploads),
            ("layers sent", self.blobs_sent),
            ("kB sent", self.bytes_sent / 1000),
        ] {
            println!("{what:<21} {count:>8}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_told_apart() {
        let mut traffic = Traffic::default();
        for line in [
            r#"10.0.0.1 - - [x] "GET /v2/cache/manifests/cache-1 HTTP/1.1" 200 700 "" "lbuild""#,
            r#"10.0.0.1 - - [x] "GET /v2/cache/manifests/cache-2 HTTP/1.1" 404 96 "" "lbuild""#,
            r#"10.0.0.1 - - [x] "GET /v2/cache/manifests/cache-2.claim HTTP/1.1" 404 96 "" "lbuild""#,
            r#"10.0.0.1 - - [x] "PUT /v2/cache/manifests/cache-2.claim HTTP/1.1" 201 0 "" "lbuild""#,
            r#"10.0.0.1 - - [x] "GET /v2/cache/blobs/sha256:00 HTTP/1.1" 200 9000 "" "lbuild""#,
            r#"time="x" level=error msg="something else""#,
            "",
        ] {
            traffic.count(line);
        }
        let counts = (traffic.records_found, traffic.records_missing, traffic.blobs_sent, traffic.bytes_sent);
        assert_eq!(counts, (1, 1, 1, 9892));
        assert_eq!((traffic.claims_seen, traffic.claims_put), (1, 1));
    }
}
