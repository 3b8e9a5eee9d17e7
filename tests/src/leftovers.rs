//! What a build must not leave behind: mounts, processes, temporary files.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Processes that were killed need a moment until they are gone.
const GRACE: Duration = Duration::from_secs(5);

/// Finds what is left of the builds of one test bed.
#[derive(Debug)]
pub struct Leftovers {
    /// The bed's folder; its name is in the environment of every process of its builds.
    folder: PathBuf,
    temporary: PathBuf,
    staging: PathBuf,
}

impl Leftovers {
    /// Of the bed in `folder`, with its store and its folder for temporary files.
    pub fn of(folder: &Path, store: &Path, temporary: &Path) -> Self {
        Self { folder: folder.into(), temporary: temporary.into(), staging: store.join("tmp") }
    }

    /// Everything that is left, one line each; waits a moment for what is going away.
    pub fn find(&self) -> Vec<String> {
        let start = Instant::now();
        loop {
            let found =
                [self.mounts(), self.processes(), files(&self.temporary), files(&self.staging)].concat();
            if found.is_empty() || start.elapsed() > GRACE {
                return found;
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Panics if anything is left.
    #[track_caller]
    pub fn assert_none(&self) {
        let found = self.find();
        assert!(found.is_empty(), "left behind:\n{}", found.join("\n"));
    }

    fn mounts(&self) -> Vec<String> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let folder = self.folder.to_string_lossy();
        mounts.lines().filter(|line| line.contains(&*folder)).map(|line| format!("mount: {line}")).collect()
    }

    fn processes(&self) -> Vec<String> {
        let token = self.folder.file_name().unwrap().as_encoded_bytes();
        let mut found = Vec::new();
        for process in fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path()) {
            let command = fs::read(process.join("cmdline")).unwrap_or_default();
            let environment = fs::read(process.join("environ")).unwrap_or_default();
            if [&command, &environment].iter().any(|text| contains(text, token)) {
                found.push(format!("{}: {}", process.display(), String::from_utf8_lossy(&command)));
            }
        }
        found
    }
}

/// What stands in `folder`; nothing if it does not exist.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| format!("file: {}", entry.unwrap().path().display())).collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
