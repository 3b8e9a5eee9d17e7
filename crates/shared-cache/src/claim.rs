//! Claims: one machine runs a step, the others wait for its record.
//!
//! A claim is a document that its owner renews. Whoever waits looks whether it changes, by a clock of
//! its own: one that does not is of a machine that is gone, and is taken over. Of machines that claim at
//! the same moment the last one has it: each looks again once the others must have put theirs. If one was
//! slower than that, two run the step, which costs time and nothing else.

use std::collections::HashMap;
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use lbuild_oci::{Digest, lock};

use crate::{CacheError, Namespace, Storage, document};

/// How often an owner renews its claims.
pub(crate) const RENEWAL: Duration = Duration::from_secs(3);

/// A claim that did not change for so long is of nobody.
const PATIENCE: Duration = Duration::from_secs(12);

/// Between putting a claim and the look whether it stands.
const SHORTEST_SETTLING: Duration = Duration::from_millis(30);
const LONGEST_SETTLING: Duration = Duration::from_secs(1);

/// What a claim says that its owner released.
const FREE: &str = "free";

/// What became of the wish to run a step.
#[derive(Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The step is to be run here.
    Here(Claim),
    /// Another machine runs it.
    Elsewhere,
}

/// A right to run a step, to be given up once its record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub(crate) key: Digest,
}

/// The claims of this process, and those of others that it waits for.
#[derive(Debug)]
pub(crate) struct Claims {
    /// This process, unlike any other.
    token: String,
    own: Mutex<HashMap<Digest, u64>>,
    others: Mutex<HashMap<Digest, (String, Instant)>>,
}

impl Claims {
    pub fn new() -> Self {
        // A folder's name that is not taken is as good as a random number.
        let token = tempfile::Builder::new().rand_bytes(16).tempdir().map_or_else(
            |_| std::process::id().to_string(),
            |folder| folder.path().file_name().unwrap_or_default().to_string_lossy().into_owned(),
        );
        Self { token, own: Mutex::default(), others: Mutex::default() }
    }

    /// Claims a step, unless another machine has.
    pub fn claim(
        &self,
        storage: &dyn Storage,
        namespace: &Namespace,
        key: &Digest,
    ) -> Result<Claimed, CacheError> {
        let name = namespace.claim(key);
        storage.prepare()?;
        let began = Instant::now();
        if let Some(other) = self.other(storage, &name)? {
            let mut others = lock(&self.others);
            let (seen, since) = others.entry(*key).or_insert_with(|| (other.clone(), Instant::now()));
            if *seen != other {
                (*seen, *since) = (other, Instant::now());
            }
            if since.elapsed() < PATIENCE {
                return Ok(Claimed::Elsewhere);
            }
            others.remove(key);
        }
        storage.put_document(&name, &document::of_claim(&format!("{} 0", self.token)))?;
        // Who saw no claim either has put theirs by now, if they are not much slower: the last one to
        // write has it.
        sleep(settling(began.elapsed()));
        if self.other(storage, &name)?.is_some() {
            return Ok(Claimed::Elsewhere);
        }
        lock(&self.own).insert(*key, 0);
        Ok(Claimed::Here(Claim { key: *key }))
    }

    /// Tells that the owner of each claim is still there.
    pub fn renew(&self, storage: &dyn Storage, namespace: &Namespace) {
        let keys: Vec<Digest> = lock(&self.own).keys().copied().collect();
        for key in keys {
            let beat = {
                let mut own = lock(&self.own);
                // It was given up meanwhile.
                let Some(beat) = own.get_mut(&key) else { continue };
                *beat += 1;
                *beat
            };
            let document = document::of_claim(&format!("{} {beat}", self.token));
            // Who cannot renew is taken for gone, and then a step runs twice.
            let _ = storage.put_document(&namespace.claim(&key), &document);
        }
    }

    /// The record is written: nobody looks at the claim any more.
    pub fn give_up(&self, claim: &Claim) {
        lock(&self.own).remove(&claim.key);
    }

    /// There will be no record: another machine may run the step at once.
    pub fn release(&self, storage: &dyn Storage, namespace: &Namespace, claim: &Claim) {
        self.give_up(claim);
        // Who waits for the claim takes it over by itself, only later.
        let _ = storage.put_document(&namespace.claim(&claim.key), &document::of_claim(FREE));
    }

    /// The claim of another process.
    fn other(&self, storage: &dyn Storage, name: &str) -> Result<Option<String>, CacheError> {
        let claim = storage.document(name)?.and_then(|bytes| document::read_claim(&bytes));
        Ok(claim.filter(|claim| claim != FREE && !claim.starts_with(&self.token)))
    }
}

/// How long others may take to put a claim, where it took us `own` to look for one and put ours.
fn settling(own: Duration) -> Duration {
    (own * 3).clamp(SHORTEST_SETTLING, LONGEST_SETTLING)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{self, Read};
    use std::sync::Barrier;

    use lbuild_layer_store::Blob;

    use super::*;
    use crate::{Folder, Listed};

    #[test]
    fn a_step_is_claimed_once_and_taken_over_from_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Folder::new(folder.path()).unwrap();
        let (namespace, key) = (Namespace::default(), Digest::of("key"));
        let (one, two) = (Claims::new(), Claims::new());
        let claim = |claims: &Claims| claims.claim(&storage, &namespace, &key).unwrap();
        assert_eq!(claim(&one), Claimed::Here(Claim { key }));
        assert_eq!(claim(&two), Claimed::Elsewhere);
        one.renew(&storage, &namespace);
        assert_eq!(claim(&two), Claimed::Elsewhere);
        let long_ago = Instant::now().checked_sub(PATIENCE).unwrap();
        lock(&two.others).get_mut(&key).unwrap().1 = long_ago;
        one.renew(&storage, &namespace);
        assert_eq!(claim(&two), Claimed::Elsewhere, "it was renewed");
        lock(&two.others).get_mut(&key).unwrap().1 = long_ago;
        assert_eq!(claim(&two), Claimed::Here(Claim { key }));
    }

    /// One document of two machines, each of which looks, and puts, only when the other one does.
    #[derive(Debug)]
    struct Meeting {
        together: Barrier,
        document: Mutex<Option<Vec<u8>>>,
    }

    impl Storage for Meeting {
        fn document(&self, _name: &str) -> Result<Option<Vec<u8>>, CacheError> {
            let found = lock(&self.document).clone();
            self.together.wait();
            Ok(found)
        }

        fn put_document(&self, _name: &str, document: &[u8]) -> Result<(), CacheError> {
            *lock(&self.document) = Some(document.to_vec());
            self.together.wait();
            Ok(())
        }

        fn remove_document(&self, _name: &str) -> Result<(), CacheError> {
            Ok(())
        }

        fn documents(&self, _is_wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Listed>, CacheError> {
            Ok(Vec::new())
        }

        fn has_blob(&self, _blob: &Blob) -> Result<bool, CacheError> {
            Ok(false)
        }

        fn put_blob(&self, _blob: &Blob, _file: &File) -> Result<(), CacheError> {
            Ok(())
        }

        fn blob(&self, _blob: &Blob) -> io::Result<Box<dyn Read>> {
            Err(io::ErrorKind::NotFound.into())
        }

        fn sweep(&self, _age: Duration) -> Result<u64, CacheError> {
            Ok(0)
        }

        fn source(&self) -> String {
            String::new()
        }
    }

    #[test]
    fn of_two_machines_that_claim_at_the_same_moment_the_last_one_has_it() {
        let storage = Meeting { together: Barrier::new(2), document: Mutex::default() };
        let (namespace, key) = (Namespace::default(), Digest::of("key"));
        let machines = [Claims::new(), Claims::new()];
        let claim = |claims: &Claims| claims.claim(&storage, &namespace, &key).unwrap();
        let claimed = std::thread::scope(|scope| {
            let first = scope.spawn(|| claim(&machines[0]));
            [claim(&machines[1]), first.join().unwrap()]
        });
        let document = document::read_claim(lock(&storage.document).as_deref().unwrap()).unwrap();
        let last = usize::from(!document.starts_with(&machines[1].token));
        assert_eq!(claimed[last], Claimed::Here(Claim { key }));
        assert_eq!(claimed[1 - last], Claimed::Elsewhere);
    }

    #[test]
    fn a_released_claim_is_free_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Folder::new(folder.path()).unwrap();
        let (namespace, key) = (Namespace::default(), Digest::of("key"));
        let one = Claims::new();
        assert_eq!(one.claim(&storage, &namespace, &key).unwrap(), Claimed::Here(Claim { key }));
        one.release(&storage, &namespace, &Claim { key });
        let claimed = Claims::new().claim(&storage, &namespace, &key).unwrap();
        assert_eq!(claimed, Claimed::Here(Claim { key }));
    }

    #[test]
    fn what_is_no_claim_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Folder::new(folder.path()).unwrap();
        let (namespace, key) = (Namespace::default(), Digest::of("key"));
        storage.put_document(&namespace.claim(&key), b"nonsense").unwrap();
        let claimed = Claims::new().claim(&storage, &namespace, &key).unwrap();
        assert_eq!(claimed, Claimed::Here(Claim { key }));
    }
}
