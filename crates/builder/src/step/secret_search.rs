//! Secrets that a step left behind: its files are searched before they become a layer.
//!
//! A secret is found as it is and as a part of base64 text, whatever stands before it and wherever its
//! lines end. A shorter secret than [`SHORTEST`] would be found everywhere and is not looked for; one that
//! was compressed or encrypted is not found.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use aho_corasick::{AhoCorasick, BuildError as TooLarge};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use lbuild_layer_store::{ActiveSnapshot, ChangedEntry, StoreError};

use crate::problem::Problem;

/// The bytes of the shortest secret that is looked for.
const SHORTEST: usize = 4;
/// The characters of the shortest part of a base64 text that is looked for.
const SHORTEST_PART: usize = 8;

/// A search for some secrets.
pub(crate) struct SecretSearch {
    /// `None` if there is nothing to look for.
    automaton: Option<AhoCorasick>,
    /// Whose the automaton's patterns are.
    ids: Vec<String>,
}

/// Why a step is not kept.
#[derive(Debug, thiserror::Error)]
enum SearchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot search {} for secrets", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the step left the secret {id:?} in {}", path.display())]
    Found { id: String, path: PathBuf },
    #[error("the step left the secret {id:?} in a file's name")]
    Named { id: String },
}

impl SecretSearch {
    /// A search for these secrets, each an id and its content.
    ///
    /// # Errors
    /// There are more secrets than fit.
    pub fn new<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, Problem> {
        let (mut ids, mut patterns) = (Vec::new(), Vec::new());
        for (id, content) in secrets {
            for pattern in forms(content) {
                ids.push(id.to_owned());
                patterns.push(pattern);
            }
        }
        let automaton = match patterns.is_empty() {
            true => None,
            false => Some(AhoCorasick::new(patterns).map_err(|error: TooLarge| {
                Problem::because("cannot search the step's files for its secrets", error)
            })?),
        };
        Ok(Self { automaton, ids })
    }

    /// Searches the files that a step made or changed, their names, and where links lead.
    ///
    /// # Errors
    /// A file holds a secret, or cannot be read.
    pub fn search(&self, step: &ActiveSnapshot) -> Result<(), Problem> {
        let Some(automaton) = &self.automaton else { return Ok(()) };
        step.changed_entries(&mut |path, entry| {
            let found = match self.find_in(automaton, path.as_os_str().as_bytes()) {
                None => match entry {
                    ChangedEntry::File(file) => self.find(automaton, &file),
                    ChangedEntry::Link(target) => Ok(self.find_in(automaton, &target)),
                    ChangedEntry::Other => Ok(None),
                },
                // The path is not told: it is the secret.
                Some(id) => return Err(SearchError::Named { id: id.to_owned() }),
            };
            match found {
                Ok(None) => Ok(()),
                Ok(Some(id)) => Err(SearchError::Found { id: id.to_owned(), path }),
                Err(source) => Err(SearchError::Read { path, source }),
            }
        })
        .map_err(|error| match error {
            SearchError::Found { .. } | SearchError::Named { .. } => Problem::from(error).help(
                "whoever has the image could read it: use the secret without writing it down, or build with \
                 --allow-secret-in-layer",
            ),
            error => Problem::from(error),
        })
    }

    /// The id of the first secret in `bytes`.
    fn find_in(&self, automaton: &AhoCorasick, bytes: &[u8]) -> Option<&str> {
        let found = automaton.find(bytes)?;
        self.ids.get(found.pattern().as_usize()).map(String::as_str)
    }

    /// The id of the first secret in `file`.
    fn find(&self, automaton: &AhoCorasick, mut file: &File) -> std::io::Result<Option<&str>> {
        let found = match automaton.stream_find_iter(file).next().transpose()? {
            None => {
                // Programs wrap base64 text into lines.
                file.rewind()?;
                automaton.stream_find_iter(WithoutLines(file)).next().transpose()?
            }
            found => found,
        };
        Ok(found.and_then(|found| self.ids.get(found.pattern().as_usize())).map(String::as_str))
    }
}

/// A reader that leaves out line ends.
struct WithoutLines<R>(R);

impl<R: Read> Read for WithoutLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let length = self.0.read(buffer)?;
            let mut kept = 0;
            for index in 0..length {
                let byte = buffer[index];
                if !matches!(byte, b'\n' | b'\r') {
                    buffer[kept] = byte;
                    kept += 1;
                }
            }
            // Nothing but line ends is not the end.
            if kept > 0 || length == 0 {
                return Ok(kept);
            }
        }
    }
}

/// What a secret looks like in a file.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    // A file's last line end is mostly no part of the secret.
    let secret = secret.trim_ascii_end();
    if secret.len() < SHORTEST {
        return Vec::new();
    }
    let mut forms = vec![secret.to_vec()];
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        forms.push(engine.encode(secret).into_bytes());
        forms.extend((0..3).filter_map(|before| part(&engine, secret, before)));
    }
    forms.sort();
    forms.dedup();
    forms
}

/// The characters of base64 text that depend on `secret` alone, where `before` bytes (of three that make
/// four characters) of something else stand before it.
fn part(engine: &impl Engine, secret: &[u8], before: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(secret);
    // A character is six bits: the first that holds none before the secret, and the last full one.
    let (first, end) = ((before * 8).div_ceil(6), bytes.len() * 8 / 6);
    let text = engine.encode(&bytes).into_bytes();
    text.get(first..end).filter(|part| part.len() >= SHORTEST_PART).map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use base64::engine::general_purpose::{STANDARD, URL_SAFE};
    use lbuild_layer_store::PrepareOptions;
    use lbuild_parser::Span;
    use rustix::fs::{Mode, OFlags};

    use super::*;
    use crate::BuildError;
    use crate::testing::Bed;

    fn found(secrets: &[(&str, &[u8])], content: &[u8]) -> Option<String> {
        let search = SecretSearch::new(secrets.iter().copied()).unwrap_or_else(|_| panic!("too large"));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file.rewind().unwrap();
        let automaton = search.automaton.as_ref()?;
        search.find(automaton, &file).unwrap().map(str::to_owned)
    }

    #[test]
    fn a_secret_is_found_as_it_is_and_in_base64_wherever_it_begins() {
        let secret = b"hunter2-\xfb\xff\xfe-swordfish";
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "x", "xy", "xyz"] {
                let text = [before.as_bytes(), secret, after.as_bytes()].concat();
                for form in [text.clone(), STANDARD.encode(&text).into(), URL_SAFE.encode(&text).into()] {
                    let shown = String::from_utf8_lossy(&form);
                    assert_eq!(found(&[("id", secret)], &form).as_deref(), Some("id"), "{shown}");
                }
            }
        }
    }

    #[test]
    fn a_secret_is_found_across_the_readers_buffers() {
        for place in [0, 65_530, 65_535, 131_070, 1 << 20] {
            let mut content = vec![b'.'; place];
            content.extend_from_slice(b"hunter2");
            content.extend_from_slice(&[b'.'; 100]);
            assert_eq!(found(&[("id", b"hunter2")], &content).as_deref(), Some("id"), "{place}");
        }
    }

    #[test]
    fn a_secret_in_wrapped_base64_is_found() {
        let text = STANDARD.encode(b"user:hunter2-swordfish:and more");
        for width in [1, 4, 7, 19] {
            for end in ["\n", "\r\n", "\n\n\n"] {
                let lines = text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap());
                let wrapped = lines.collect::<Vec<_>>().join(end);
                let secrets: [(&str, &[u8]); 1] = [("id", b"hunter2-swordfish")];
                assert_eq!(found(&secrets, wrapped.as_bytes()).as_deref(), Some("id"), "{wrapped:?}");
            }
        }
    }

    #[test]
    fn the_line_end_of_a_secrets_file_does_not_count() {
        assert_eq!(found(&[("id", b"hunter2\r\n")], b"password=hunter2;").as_deref(), Some("id"));
    }

    #[test]
    fn the_secret_that_is_found_is_named() {
        let secrets: [(&str, &[u8]); 2] = [("one", b"first"), ("two", b"second")];
        assert_eq!(found(&secrets, b"a second secret").as_deref(), Some("two"));
        assert_eq!(found(&secrets, b"neither"), None);
    }

    #[test]
    fn short_secrets_and_short_parts_are_not_looked_for() {
        for secret in ["", "abc", "abc\n", "  \n"] {
            assert_eq!(found(&[("id", secret.as_bytes())], b"abc abc"), None, "{secret:?}");
        }
        // "test" after one byte is the part "Rlc3", which is in many texts.
        assert_eq!(found(&[("id", b"test")], STANDARD.encode("xtest").as_bytes()), None);
        assert_eq!(found(&[("id", b"test")], STANDARD.encode("test").as_bytes()).as_deref(), Some("id"));
    }

    #[test]
    fn a_step_that_left_a_secret_is_told_with_the_file() {
        let bed = Bed::new("");
        let step = bed.store.prepare(&[], &PrepareOptions::default()).unwrap();
        let search = SecretSearch::new([("token", &b"hunter2"[..])]).unwrap_or_else(|_| panic!("too large"));
        assert!(search.search(&step).is_ok());
        step.root().create_dir_all("/etc", Mode::from(0o755)).unwrap();
        let flags = OFlags::CREATE | OFlags::WRONLY;
        let file = step.root().open_at("/etc/netrc", flags, Mode::from(0o600)).unwrap();
        File::from(file).write_all(b"password hunter2\n").unwrap();
        match search.search(&step).map_err(|problem| problem.at(Span::default())) {
            Err(BuildError::Step { diagnostic, .. }) => {
                assert_eq!(diagnostic.message, "the step left the secret \"token\" in /etc/netrc");
                assert!(
                    diagnostic.help.as_deref().is_some_and(|help| help.contains("--allow-secret-in-layer"))
                );
            }
            other => panic!("{other:?}"),
        }
    }
}
