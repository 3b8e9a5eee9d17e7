//! Users and groups by the names that an image's own passwd and group files give them.
//!
//! The two ways in which BuildKit reads a user are kept apart: [`process_user`] for USER in a RUN,
//! where an unknown name is an error, and [`file_owner`] for the owner of files, where an unknown
//! name stands for root.

use std::path::Path;

use lbuild_confined::Root;

/// As large a passwd or group file as is read.
const MAX_USER_FILE: u64 = 10 << 20;
/// The largest id that USER may give (the largest that every runtime takes).
const MAX_ID: u64 = i32::MAX as u64;
/// No id: to system calls it means "leave it as it is", so that whoever got it would stay root.
const NO_ID: u32 = u32::MAX;

/// Whom a RUN runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessUser {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home directory that passwd gives.
    pub home: String,
}

impl ProcessUser {
    /// The supplementary groups of its processes: the user's, and its own group, which a file's owner may
    /// have taken rights from (CVE-2022-36109).
    pub fn all_groups(&self) -> Vec<u32> {
        let others = self.groups.iter().copied().filter(|group| *group != self.gid);
        std::iter::once(self.gid).chain(others).collect()
    }
}

/// Why a user cannot be had.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UserError {
    /// No such name.
    #[error("there is no {kind} {name:?} in the image's {file}")]
    Unknown {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The file that was searched.
        file: &'static str,
    },
    /// A number that is no id.
    #[error("{0} is not a valid user or group id: ids go from 0 to 2147483647")]
    OutOfRange(String),
    /// The passwd or group file cannot be read.
    #[error("cannot read the image's {file}: {reason}")]
    Unreadable {
        /// The file.
        file: &'static str,
        /// Why.
        reason: String,
    },
}

struct PasswdEntry {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

struct GroupEntry {
    name: String,
    gid: u32,
    members: Vec<String>,
}

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// The user of a RUN, from a `USER` of the form `user[:group]`; empty is root.
///
/// # Errors
/// [`UserError`] for unknown names, numbers that are no ids, and unreadable files.
pub fn process_user(root: &Root, specification: &str) -> Result<ProcessUser, UserError> {
    let (user, group) = specification.split_once(':').unwrap_or((specification, ""));
    let user = if user.is_empty() { "0" } else { user };
    let uid = parse_id(user)?;
    let gid = parse_id(group)?;
    let passwd = read_passwd(root)?;
    let entry = passwd.iter().find(|entry| match uid {
        Some(uid) => entry.uid == uid,
        None => entry.name == user,
    });
    let mut found = match (entry, uid) {
        (Some(entry), _) => {
            ProcessUser { uid: entry.uid, gid: entry.gid, groups: Vec::new(), home: entry.home.clone() }
        }
        (None, Some(uid)) => ProcessUser { uid, gid: 0, groups: Vec::new(), home: String::new() },
        (None, None) => {
            return Err(UserError::Unknown { kind: "user", name: user.to_owned(), file: PASSWD });
        }
    };
    if let Some(gid) = gid {
        found.gid = gid;
    } else if !group.is_empty() {
        let groups = read_groups(root)?;
        let entry = groups.iter().find(|entry| entry.name == group).ok_or_else(|| UserError::Unknown {
            kind: "group",
            name: group.to_owned(),
            file: GROUP,
        })?;
        found.gid = entry.gid;
    } else if let Some(entry) = entry {
        let is_member = |group: &&GroupEntry| group.members.contains(&entry.name);
        found.groups = read_groups(root)?.iter().filter(is_member).map(|group| group.gid).collect();
    }
    if found.home.is_empty() {
        found.home = "/".to_owned();
    }
    Ok(found)
}

/// The owner that `--chown` or a WORKDIR's user gives to files: user and group ids.
///
/// A name that the image does not know stands for 0, as in BuildKit; the second part of the
/// result names it. So does an empty group behind a colon (`1000:`, which `--chown=$user:$group`
/// gives where there is no such variable).
///
/// # Errors
/// [`UserError`] for numbers that are no ids and unreadable files.
pub fn file_owner(root: &Root, specification: &str) -> Result<((u32, u32), Option<String>), UserError> {
    let (user, group) = match specification.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (specification, None),
    };
    let mut unknown = None;
    let (uid, mut gid) = match parse_id(user)? {
        Some(id) => (id, id),
        None if user.is_empty() => (0, 0),
        None => match read_passwd(root)?.iter().find(|entry| entry.name == user) {
            Some(entry) => (entry.uid, entry.gid),
            None => {
                unknown = Some(user.to_owned()).filter(|user| user != "root");
                (0, 0)
            }
        },
    };
    if let Some(group) = group {
        match parse_id(group)? {
            Some(id) => gid = id,
            None if group.is_empty() => gid = 0,
            None => match read_groups(root)?.iter().find(|entry| entry.name == group) {
                Some(entry) => gid = entry.gid,
                None if group == "root" => gid = 0,
                None => unknown = Some(group.to_owned()),
            },
        }
    }
    Ok(((uid, gid), unknown))
}

/// The first part of an owner that only a tree can tell the id of: a name, and not `root`. BuildKit
/// refuses it where there is no tree at all, in a stage on scratch that has no layer yet.
pub fn name_to_look_up(specification: &str) -> Option<&str> {
    let is_name = |part: &&str| !part.is_empty() && *part != "root" && parse_id(part) == Ok(None);
    specification.splitn(2, ':').find(is_name)
}

/// Whether [`file_owner`] needs the image's files to read this owner.
pub fn is_numeric_owner(specification: &str) -> bool {
    specification.split(':').all(|part| part.is_empty() || part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The id that `text` gives; `None` if it is a name.
fn parse_id(text: &str) -> Result<Option<u32>, UserError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u64>() {
        Ok(id) if id <= MAX_ID => Ok(Some(id as u32)),
        _ => Err(UserError::OutOfRange(text.to_owned())),
    }
}

fn read_passwd(root: &Root) -> Result<Vec<PasswdEntry>, UserError> {
    let lines = read_lines(root, PASSWD)?;
    let entry = |line: &Vec<String>| {
        let [name, _, uid, gid, _, home, ..] = line.as_slice() else { return None };
        Some(PasswdEntry { name: name.clone(), uid: file_id(uid)?, gid: file_id(gid)?, home: home.clone() })
    };
    Ok(lines.iter().filter_map(entry).collect())
}

fn read_groups(root: &Root) -> Result<Vec<GroupEntry>, UserError> {
    let lines = read_lines(root, GROUP)?;
    let entry = |line: &Vec<String>| {
        let [name, _, gid, rest @ ..] = line.as_slice() else { return None };
        let members = rest.first().map_or("", String::as_str).split(',').map(str::to_owned).collect();
        Some(GroupEntry { name: name.clone(), gid: file_id(gid)?, members })
    };
    Ok(lines.iter().filter_map(entry).collect())
}

/// The id in a passwd or group file; a line without one counts for nothing.
fn file_id(text: &str) -> Option<u32> {
    text.parse().ok().filter(|&id| id != NO_ID)
}

/// The file's lines, split at colons; none if the file is not there.
fn read_lines(root: &Root, file: &'static str) -> Result<Vec<Vec<String>>, UserError> {
    let content = match root.read(Path::new(file), MAX_USER_FILE) {
        Ok(content) => content,
        Err(error)
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
            return Err(UserError::Unreadable { file, reason: "it holds more than 10 MiB".to_owned() });
        }
        Err(error) => return Err(UserError::Unreadable { file, reason: error.to_string() }),
    };
    let text = String::from_utf8_lossy(&content);
    let fields = |line: &str| line.trim().split(':').map(str::to_owned).collect::<Vec<_>>();
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(fields).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("etc")).unwrap();
        let passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44::/srv:/bin/sh\n4294967296:x:0:0::/:/bin/sh\nbroken\n\
             unchanged:x:4294967295:4294967295::/:/bin/sh\n";
        std::fs::write(folder.path().join("etc/passwd"), passwd).unwrap();
        std::fs::write(
            folder.path().join("etc/group"),
            "root:x:0:\nwww:x:44:\nadm:x:4:web,root\nunchanged:x:4294967295:\n",
        )
        .unwrap();
        let root = Root::open(folder.path()).unwrap();
        (folder, root)
    }

    #[test]
    fn a_run_gets_the_user_that_the_image_names() {
        let (_folder, root) = image();
        let user = |uid, gid, groups: &[u32], home: &str| ProcessUser {
            uid,
            gid,
            groups: groups.to_vec(),
            home: home.to_owned(),
        };
        for (text, expected) in [
            ("", user(0, 0, &[4], "/root")),
            ("web", user(33, 44, &[4], "/srv")),
            ("33", user(33, 44, &[4], "/srv")),
            ("web:adm", user(33, 4, &[], "/srv")),
            ("web:7", user(33, 7, &[], "/srv")),
            ("1000", user(1000, 0, &[], "/")),
            ("1000:1000", user(1000, 1000, &[], "/")),
        ] {
            assert_eq!(process_user(&root, text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_users_own_group_is_among_all_groups_once() {
        let (_folder, root) = image();
        for (text, expected) in
            [("web", vec![44, 4]), ("web:adm", vec![4]), ("1000", vec![0]), ("", vec![0, 4])]
        {
            assert_eq!(process_user(&root, text).unwrap().all_groups(), expected, "{text:?}");
        }
    }

    #[test]
    fn ids_out_of_range_and_unknown_names_are_errors() {
        let (_folder, root) = image();
        for text in ["4294967296", "2147483648", "-1", "0:4294967296"] {
            assert!(matches!(process_user(&root, text), Err(UserError::OutOfRange(_))), "{text}");
        }
        for text in ["nobody", "web:nogroup", "unchanged", "web:unchanged"] {
            assert!(matches!(process_user(&root, text), Err(UserError::Unknown { .. })), "{text}");
        }
    }

    #[test]
    fn the_owner_of_files_falls_back_to_root_and_says_so() {
        let (_folder, root) = image();
        for (text, owner, unknown) in [
            ("web", (33, 44), None),
            ("7", (7, 7), None),
            ("7:8", (7, 8), None),
            ("web:adm", (33, 4), None),
            (":adm", (0, 4), None),
            ("nobody", (0, 0), Some("nobody")),
            ("web:nogroup", (33, 44), Some("nogroup")),
            ("web:", (33, 0), None),
            ("7:", (7, 0), None),
            (":", (0, 0), None),
        ] {
            let (found, missing) = file_owner(&root, text).unwrap();
            assert_eq!((found, missing.as_deref()), (owner, unknown), "{text}");
        }
    }

    #[test]
    fn names_but_root_are_to_be_looked_up() {
        for (text, name) in [
            ("web", Some("web")),
            ("7:web", Some("web")),
            (":web", Some("web")),
            ("root:web", Some("web")),
            ("0x10", Some("0x10")),
            ("web:www", Some("web")),
            ("root", None),
            ("root:root", None),
            ("7:8", None),
            (":", None),
            ("7:", None),
            ("-1", None),
        ] {
            assert_eq!(name_to_look_up(text), name, "{text}");
        }
    }

    #[test]
    fn a_hostile_passwd_neither_hangs_nor_fills_the_memory() {
        let (folder, root) = image();
        let passwd = folder.path().join("etc/passwd");
        std::fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink("/etc/fifo", &passwd).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("etc/fifo"), rustix::fs::Mode::RWXU)
            .unwrap();
        assert!(matches!(process_user(&root, "web"), Err(UserError::Unreadable { .. })));
        std::fs::remove_file(&passwd).unwrap();
        std::fs::File::create(&passwd).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(process_user(&root, "web"), Err(UserError::Unreadable { .. })));
    }
}
