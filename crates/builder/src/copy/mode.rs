//! `--chmod`: octal and symbolic modes.
//!
//! Source: chmod(1), and BuildKit, whose symbolic modes are BSD's setmode(3) with a umask of 0

const USER: u32 = 0o4700;
const GROUP: u32 = 0o2070;
const OTHER: u32 = 0o0007;
const STICKY: u32 = 0o1000;
const SET_ID: u32 = 0o6000;
/// What `a` stands for.
const ALL: u32 = USER | GROUP | OTHER;
const EXECUTE: u32 = 0o111;

/// A change of a file's mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeChange {
    text: String,
    rule: Rule,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Absolute(u32),
    Symbolic(Vec<Change>),
}

/// One elementary change; they are made in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Add(u32),
    Remove(u32),
    /// Add, if the file is a directory or could be executed by anyone before all changes.
    AddIfExecutable(u32),
    /// Copy the permissions of one class to others.
    Copy {
        from: Class,
        to: u32,
        op: Op,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Set,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    User,
    Group,
    Other,
}

/// Why a text is no mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// It begins with a digit.
    #[error("invalid chmod parameter {0:?}: it should be an octal number between 0 and 07777")]
    Octal(String),
    /// It does not.
    #[error("invalid chmod parameter {0:?}: it should be an octal number or like u=rwX,go=rX")]
    Symbolic(String),
}

impl ModeChange {
    /// Reads the value of `--chmod`.
    ///
    /// # Errors
    /// [`ModeError`] for what BuildKit refuses.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        let is_number = text.starts_with(|char: char| char.is_ascii_digit());
        let rule =
            if is_number { octal(text).map(Rule::Absolute) } else { symbolic(text).map(Rule::Symbolic) };
        let rule = rule.ok_or_else(|| match is_number {
            true => ModeError::Octal(text.to_owned()),
            false => ModeError::Symbolic(text.to_owned()),
        })?;
        Ok(Self { text: text.to_owned(), rule })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the result does not depend on the mode before.
    pub fn is_absolute(&self) -> bool {
        matches!(self.rule, Rule::Absolute(_))
    }

    /// The mode of a file that had `mode`.
    pub fn apply(&self, mode: u32, is_directory: bool) -> u32 {
        match &self.rule {
            Rule::Absolute(mode) => *mode,
            Rule::Symbolic(changes) => {
                let is_executable = is_directory || mode & EXECUTE != 0;
                changes.iter().fold(mode, |mode, change| change.apply(mode, is_executable))
            }
        }
    }

    /// The mode of a directory that is made on the way to the destination: only a number has a say, and
    /// of it only the permissions that Docker's own umask of 022 leaves.
    pub fn for_made_directory(&self) -> u32 {
        match self.rule {
            Rule::Absolute(mode) => mode & 0o755,
            Rule::Symbolic(_) => 0o755,
        }
    }
}

impl Change {
    fn apply(self, mode: u32, is_executable: bool) -> u32 {
        match self {
            Self::Add(bits) => mode | bits,
            Self::Remove(bits) => mode & !bits,
            Self::AddIfExecutable(bits) if is_executable => mode | bits,
            Self::AddIfExecutable(_) => mode,
            Self::Copy { from, to, op } => {
                let permissions = match from {
                    Class::User => mode >> 6 & 7,
                    Class::Group => mode >> 3 & 7,
                    Class::Other => mode & 7,
                };
                // The same three bits in each class, then only those of the classes meant.
                let bits = (permissions * 0o111) & to;
                match op {
                    Op::Add => mode | bits,
                    Op::Remove => mode & !bits,
                    Op::Set => (mode & !(to & 0o777)) | bits,
                }
            }
        }
    }
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777)
}

fn symbolic(text: &str) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    for clause in text.split(',') {
        let ops = clause.trim_start_matches(['a', 'u', 'g', 'o']);
        let who = clause[..clause.len() - ops.len()].chars().fold(0, |who, class| who | class_bits(class));
        parse_ops(ops, who, &mut changes)?;
    }
    Some(changes)
}

fn class_bits(class: char) -> u32 {
    match class {
        'u' => USER,
        'g' => GROUP,
        'o' => OTHER,
        _ => ALL,
    }
}

/// Reads what follows the classes of a clause: one or more of `+-=`, each with its permissions.
fn parse_ops(ops: &str, who: u32, changes: &mut Vec<Change>) -> Option<()> {
    if ops.is_empty() {
        return None;
    }
    let mut rest = ops;
    while let Some(op) = rest.chars().next() {
        let op = match op {
            '+' => Op::Add,
            '-' => Op::Remove,
            '=' => Op::Set,
            _ => return None,
        };
        let end = rest[1..].find(['+', '-', '=']).map_or(rest.len(), |end| end + 1);
        parse_permissions(&rest[1..end], op, who, changes)?;
        rest = &rest[end..];
    }
    Some(())
}

fn parse_permissions(letters: &str, op: Op, mut who: u32, changes: &mut Vec<Change>) -> Option<()> {
    // Set-ids and the sticky bit mean nothing for "other" alone.
    let is_other_only = who != 0 && who & !OTHER == 0;
    let (mut permissions, mut if_executable) = (0, 0);
    let mut has_set = false;
    for letter in letters.chars() {
        match letter {
            'r' => permissions |= 0o444,
            'w' => permissions |= 0o222,
            'x' => permissions |= EXECUTE,
            'X' if op == Op::Remove => permissions |= EXECUTE,
            'X' => if_executable |= EXECUTE,
            's' if !is_other_only => permissions |= SET_ID,
            't' if !is_other_only => {
                if who != 0 {
                    who |= STICKY;
                }
                permissions |= STICKY;
            }
            's' | 't' => {}
            'u' | 'g' | 'o' => {
                flush(op, who, &mut permissions, &mut if_executable, changes);
                has_set |= op == Op::Set;
                let from = match letter {
                    'u' => Class::User,
                    'g' => Class::Group,
                    _ => Class::Other,
                };
                changes.push(Change::Copy { from, to: if who == 0 { ALL } else { who }, op });
            }
            _ => return None,
        }
    }
    if op == Op::Set && permissions == 0 && !has_set {
        changes.push(Change::Remove(if who == 0 { ALL } else { who }));
    }
    flush(op, who, &mut permissions, &mut if_executable, changes);
    Some(())
}

/// Turns the letters read so far into changes.
fn flush(op: Op, who: u32, permissions: &mut u32, if_executable: &mut u32, changes: &mut Vec<Change>) {
    let meant = |bits| if who == 0 { bits } else { bits & who };
    if *permissions != 0 {
        if op == Op::Set {
            changes.push(Change::Remove(if who == 0 { ALL } else { who }));
        }
        let bits = meant(*permissions);
        changes.push(if op == Op::Remove { Change::Remove(bits) } else { Change::Add(bits) });
    }
    if *if_executable != 0 {
        changes.push(Change::AddIfExecutable(meant(*if_executable)));
    }
    (*permissions, *if_executable) = (0, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_change_as_with_chmod() {
        for (change, before, expected) in [
            ("0", 0o644, 0),
            ("644", 0o4755, 0o644),
            ("0644", 0o755, 0o644),
            ("7777", 0, 0o7777),
            ("go-w", 0o666, 0o644),
            ("+x", 0o644, 0o755),
            ("u+x", 0o644, 0o744),
            ("a=r", 0o755, 0o444),
            ("u=rwx,go=rx", 0o600, 0o755),
            ("go=", 0o777, 0o700),
            ("=", 0o1777, 0o1000),
            ("go=u-w", 0o640, 0o644),
            ("g=u", 0o640, 0o660),
            ("o+g", 0o650, 0o655),
            ("g-u", 0o670, 0o610),
            ("u+s", 0o755, 0o4755),
            ("g+s,u+s", 0o755, 0o6755),
            ("o+s", 0o755, 0o755),
            ("+t", 0o755, 0o1755),
            ("-t", 0o1755, 0o755),
            ("u=rw,+X", 0o755, 0o755),
            ("u=rw,+X", 0o644, 0o644),
            ("u+r-w+x", 0o200, 0o500),
            ("=rw,+X", 0o700, 0o777),
        ] {
            assert_eq!(
                ModeChange::parse(change).unwrap().apply(before, false),
                expected,
                "{change} {before:o}"
            );
        }
    }

    #[test]
    fn a_capital_x_always_applies_to_directories() {
        assert_eq!(ModeChange::parse("u=rwX,go=rX").unwrap().apply(0o600, true), 0o755);
        assert_eq!(ModeChange::parse("u=rwX,go=rX").unwrap().apply(0o600, false), 0o644);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["64a", "10000", "8", "777777777777"] {
            assert_eq!(ModeChange::parse(text), Err(ModeError::Octal(text.to_owned())));
        }
        for text in ["", "u", "u+", "x", "u+y", ",", "u+x,", "+r,,+w", "é"] {
            let is_refused = ModeChange::parse(text).is_err();
            // An operator without permissions changes nothing, and is allowed.
            assert_eq!(is_refused, text != "u+", "{text}");
        }
    }

    #[test]
    fn directories_on_the_way_take_permissions_of_numbers_but_for_the_umask() {
        for (change, expected) in
            [("777", 0o755), ("770", 0o750), ("4700", 0o700), ("0", 0), ("u=rwx", 0o755), ("a+w", 0o755)]
        {
            assert_eq!(ModeChange::parse(change).unwrap().for_made_directory(), expected, "{change}");
        }
    }
}
