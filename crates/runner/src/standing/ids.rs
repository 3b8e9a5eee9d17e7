//! The ids that a user namespace has, and those that a user was granted for one.
//!
//! Source: subuid(5), user_namespaces(7)

use std::fs;

/// How many ids there are in a user namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// Only 0.
    Single,
    /// More.
    Many,
}

impl Ids {
    /// Those of the user namespace that this process is in.
    pub(crate) fn of_this_namespace() -> Self {
        let counted = |path| ranges(path).iter().map(|range| u64::from(range.count)).sum::<u64>();
        if counted("/proc/self/uid_map") == 1 || counted("/proc/self/gid_map") == 1 {
            Self::Single
        } else {
            Self::Many
        }
    }

    pub(crate) fn is_single(self) -> bool {
        self == Self::Single
    }
}

/// Ids that follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first one.
    pub start: u32,
    /// Their number.
    pub count: u32,
}

/// The ranges that exist in this process's namespace, from its `uid_map` or `gid_map`.
pub(crate) fn ranges(path: &str) -> Vec<IdRange> {
    let map = fs::read_to_string(path).unwrap_or_default();
    map.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let start = fields.next()?.parse().ok()?;
            Some(IdRange { start, count: fields.nth(1)?.parse().ok()? })
        })
        .collect()
}

/// The ids that a user was granted in `/etc/subuid` and `/etc/subgid`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SubordinateIds {
    /// User ids.
    pub users: Vec<IdRange>,
    /// Group ids.
    pub groups: Vec<IdRange>,
}

impl SubordinateIds {
    /// Those of the user `uid`.
    pub fn of(uid: u32) -> Self {
        let names = names(uid);
        let read = |path| granted(&fs::read_to_string(path).unwrap_or_default(), uid, &names);
        Self { users: read("/etc/subuid"), groups: read("/etc/subgid") }
    }

    /// Whether there are ids of both kinds.
    pub fn is_complete(&self) -> bool {
        !self.users.is_empty() && !self.groups.is_empty()
    }
}

/// What a user is called: in the files a range may stand under the name or the number.
fn names(uid: u32) -> Vec<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    let mut names: Vec<_> = known.collect();
    if names.is_empty() {
        // A user of a directory service. Whether the name is right is for newuidmap to check.
        names.extend(std::env::var("USER").ok().filter(|name| !name.is_empty()));
    }
    names
}

fn granted(file: &str, uid: u32, names: &[String]) -> Vec<IdRange> {
    file.lines()
        .filter_map(|line| {
            let [owner, start, count] = line.trim().split(':').collect::<Vec<_>>().try_into().ok()?;
            let is_ours = owner.parse() == Ok(uid) || names.iter().any(|name| name == owner);
            let range = IdRange { start: start.parse().ok()?, count: count.parse().ok()? };
            (is_ours && range.count > 0).then_some(range)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_granted_by_name_and_by_number() {
        let file = "root:1:10\nann:100000:65536\n# no range\n\n1000:300000:5\nann:x:1\nann:7:0\nbob:1:2\n";
        let granted = granted(file, 1000, &["ann".to_owned()]);
        assert_eq!(granted, [IdRange { start: 100_000, count: 65536 }, IdRange { start: 300_000, count: 5 }]);
    }
}
