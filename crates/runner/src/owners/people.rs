//! Who the processes believe to be.
//!
//! A process is root until it becomes somebody else, and so are its children that come after. The
//! rules are the kernel's: only root becomes whom it likes.
//!
//! Source: credentials(7), setresuid(2)

use std::collections::HashMap;
use std::fs;

use rustix::io::Errno;

/// One kind of id, of a user or a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Id {
    pub(super) real: u32,
    pub(super) effective: u32,
    pub(super) saved: u32,
    pub(super) file_system: u32,
}

/// Who a process believes to be.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Person {
    pub(super) user: Id,
    pub(super) group: Id,
    pub(super) groups: Vec<u32>,
}

/// The id that stands for "as it is".
const SAME: u32 = u32::MAX;
/// When the dead are looked for.
const MANY: usize = 512;

impl Id {
    /// Sets the three ids, where each may become `is_free`'s or one of the present ones.
    pub(super) fn set(&mut self, ids: [u32; 3], is_free: bool) -> Result<(), Errno> {
        let present = [self.real, self.effective, self.saved];
        if !is_free && ids.iter().any(|id| *id != SAME && !present.contains(id)) {
            return Err(Errno::PERM);
        }
        let pick = |new: u32, old: u32| if new == SAME { old } else { new };
        self.real = pick(ids[0], self.real);
        self.effective = pick(ids[1], self.effective);
        self.saved = pick(ids[2], self.saved);
        self.file_system = self.effective;
        Ok(())
    }

    /// setuid(2).
    pub(super) fn set_all(&mut self, id: u32, is_free: bool) -> Result<(), Errno> {
        if is_free { self.set([id; 3], true) } else { self.set([SAME, id, SAME], false) }
    }

    /// setreuid(2).
    pub(super) fn set_two(&mut self, real: u32, effective: u32, is_free: bool) -> Result<(), Errno> {
        let before = self.real;
        self.set([real, effective, SAME], is_free)?;
        if real != SAME || (effective != SAME && effective != before) {
            self.saved = self.effective;
        }
        Ok(())
    }

    /// setfsuid(2), which returns what it was.
    pub(super) fn set_file_system(&mut self, id: u32, is_free: bool) -> u32 {
        let before = self.file_system;
        if is_free || [self.real, self.effective, self.saved, before].contains(&id) {
            self.file_system = id;
        }
        before
    }
}

impl Person {
    pub(super) fn is_root(&self) -> bool {
        self.user.effective == 0
    }
}

/// All processes that are not simply root.
#[derive(Debug, Default)]
pub(super) struct People(HashMap<i32, (u64, Person)>);

impl People {
    /// Who a thread's process is.
    pub(super) fn of(&mut self, thread: i32) -> Person {
        if self.0.is_empty() {
            return Person::default();
        }
        let Some(process) = Process::read(thread) else { return Person::default() };
        if let Some(known) = self.known(&process) {
            return known;
        }
        let mut parent = process.parent;
        while parent > 0 {
            let Some(above) = Process::read(parent) else { break };
            if let Some(person) = self.known(&above) {
                // It is its own from now on.
                self.0.insert(process.id, (process.started, person.clone()));
                return person;
            }
            parent = above.parent;
        }
        Person::default()
    }

    pub(super) fn set(&mut self, thread: i32, person: Person) {
        let Some(process) = Process::read(thread) else { return };
        if self.0.is_empty() && person == Person::default() {
            return;
        }
        if self.0.len() > MANY {
            self.0.retain(|&id, (started, _)| {
                Process::read(id).is_some_and(|process| process.started == *started)
            });
        }
        self.0.insert(process.id, (process.started, person));
    }

    fn known(&self, process: &Process) -> Option<Person> {
        let (started, person) = self.0.get(&process.id)?;
        (*started == process.started).then(|| person.clone())
    }
}

struct Process {
    id: i32,
    parent: i32,
    /// In clock ticks since the machine started: with it an id is unique.
    started: u64,
}

impl Process {
    fn read(thread: i32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        let id: i32 = field("Tgid:")?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name may hold anything, also parentheses and spaces.
        let started = stat.rsplit_once(") ")?.1.split(' ').nth(19)?.parse().ok()?;
        Some(Self { id, parent: field("PPid:")?, started })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_becomes_whom_it_likes() {
        let mut id = Id::default();
        id.set_all(100, true).unwrap();
        assert_eq!(id, Id { real: 100, effective: 100, saved: 100, file_system: 100 });
        assert_eq!(id.set_all(0, false), Err(Errno::PERM));
        assert_eq!(id.set([SAME, 0, SAME], false), Err(Errno::PERM));
        assert_eq!(id.set_two(100, SAME, false), Ok(()));

        let mut id = Id::default();
        id.set([SAME, 100, SAME], true).unwrap();
        assert_eq!((id.real, id.effective, id.saved), (0, 100, 0));
        assert_eq!(id.set_all(0, false), Ok(()), "the saved id is root's");
        assert_eq!(id.set_file_system(7, false), 0);
        assert_eq!(id.file_system, 0);
    }

    #[test]
    fn a_process_is_known_until_it_ends() {
        let me = std::process::id().cast_signed();
        let mut people = People::default();
        let person = Person { user: Id { effective: 5, ..Id::default() }, ..Person::default() };
        people.set(me, person.clone());
        assert_eq!(people.of(me), person);
        people.0.insert(me, (1, person));
        assert_eq!(people.of(me), Person::default(), "another process of the same number");
    }
}
