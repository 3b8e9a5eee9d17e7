//! Why a step runs, in words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A value longer than this, in characters, is shown in part.
const LONGEST_VALUE: usize = 60;

/// Why a step was not taken from the cache. In a sentence, it is what a colon can be put before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// `--no-cache`, or `--no-cache-filter` for its stage.
    NoCache,
    /// No earlier build of this Dockerfile and context is known.
    NoEarlierBuild,
    /// The earlier builds had no such step.
    NewStep,
    /// Another version of lbuild, whose keys are made in another way.
    KeyFormat,
    /// The base image, or the stage that the stage begins with, has other layers.
    Base {
        /// As FROM names it.
        name: String,
        /// What identified it in the earlier build.
        before: String,
        /// What identifies it now.
        now: String,
    },
    /// A step before this one gave another layer than in the earlier build.
    StepBefore {
        /// The instruction.
        text: String,
    },
    /// The instruction is written otherwise.
    Instruction {
        /// As it was written.
        before: String,
    },
    /// An ARG has another value.
    Argument(Difference),
    /// An environment variable has another value.
    Variable(Difference),
    /// Something else that the step sees is different.
    Setting(Difference),
    /// Files that it copies are different.
    Files(FileChanges),
    /// What a mount shows is different.
    MountedFiles {
        /// Where it is mounted.
        target: String,
    },
    /// The earlier build did the same, and its result was removed since.
    Removed,
    /// The earlier build did the same, and its result is damaged.
    Damaged,
    /// The earlier build tried the same, and it failed.
    Failed,
    /// Files changed while the earlier build copied them, so that its result was not kept.
    NotKept,
    /// What it needs is not known before steps that would run have run.
    Unknown,
}

/// A named value before and now; `None`: there was or is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What has the value.
    pub name: String,
    /// In the earlier build.
    pub before: Option<String>,
    /// Now.
    pub now: Option<String>,
}

/// Files that are not as in the earlier build.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileChanges {
    /// How many; `None`: the list of the earlier build's files is not there any more.
    pub count: Option<u64>,
    /// The first of them.
    pub first: Vec<FileChange>,
}

/// A file that is not as in the earlier build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// In the tree that it is copied from.
    pub path: String,
    /// What is different.
    pub change: Change,
}

/// What is different about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// Its content, or what a link leads to.
    Content,
    /// A directory became a file, or the like.
    Kind,
    /// Its permissions, before and now.
    Mode(u32, u32),
    /// User and group, before and now.
    Owner((u32, u32), (u32, u32)),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCache => f.write_str("--no-cache asks for it"),
            Self::NoEarlierBuild => f.write_str("no earlier build of this Dockerfile and context is known"),
            Self::NewStep => f.write_str("earlier builds had no such step"),
            Self::KeyFormat => f.write_str("another version of lbuild made the cache"),
            Self::Base { name, before, now } => {
                write!(f, "its base {name} is another one: {} before, {} now", short(before), short(now))
            }
            Self::StepBefore { text } => write!(f, "the step before it gave another layer: {text}"),
            Self::Instruction { before } => write!(f, "the instruction was: {}", cut(before)),
            Self::Argument(difference) => write!(f, "the argument {difference}"),
            Self::Variable(difference) => write!(f, "the environment variable {difference}"),
            Self::Setting(difference) => write!(f, "{difference}"),
            Self::Files(changes) => write!(f, "{changes}"),
            Self::MountedFiles { target } => write!(f, "the files that it sees at {target} changed"),
            Self::Removed => f.write_str("the result of the earlier build was removed since"),
            Self::Damaged => f.write_str("the result of the earlier build is damaged"),
            Self::Failed => f.write_str("it failed in the earlier build"),
            Self::NotKept => {
                f.write_str("files changed while the earlier build copied them, so that it was not kept")
            }
            Self::Unknown => f.write_str("it follows steps that run; cached if they give the same layers"),
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, before, now } = self;
        match (before, now) {
            (None, Some(now)) => write!(f, "{name} is new: {}", cut(now)),
            (Some(before), None) => write!(f, "{name} is gone; it was {}", cut(before)),
            (Some(before), Some(now)) => write!(f, "{name} is {}; it was {}", cut(now), cut(before)),
            (None, None) => write!(f, "{name} changed"),
        }
    }
}

impl fmt::Display for FileChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            None => return f.write_str("files that it copies changed"),
            Some(1) => {}
            Some(count) => write!(f, "{count} files changed: ")?,
        }
        for (index, file) in self.first.iter().enumerate() {
            let comma = if index > 0 { ", " } else { "" };
            write!(f, "{comma}{file}")?;
        }
        let shown = self.first.len() as u64;
        if self.count.is_some_and(|count| count > shown) {
            f.write_str(", …")?;
        }
        Ok(())
    }
}

impl fmt::Display for FileChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match self.change {
            Change::Added => write!(f, "{path} was added"),
            Change::Removed => write!(f, "{path} was removed"),
            Change::Content => write!(f, "{path} has other content"),
            Change::Kind => write!(f, "{path} is another kind of file"),
            Change::Mode(before, now) => write!(f, "{path} has mode {now:o} and had {before:o}"),
            Change::Owner((uid, gid), (new_uid, new_gid)) => {
                write!(f, "{path} belongs to {new_uid}:{new_gid} and did to {uid}:{gid}")
            }
        }
    }
}

fn cut(value: &str) -> String {
    let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None if line.is_empty() => "\"\"".to_owned(),
        None => line,
    }
}

/// A digest as people compare it.
fn short(digest: &str) -> &str {
    digest.get(.."sha256:".len() + 12).filter(|_| digest.starts_with("sha256:")).unwrap_or(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_read_as_sentences() {
        let difference = |before: Option<&str>, now: Option<&str>| Difference {
            name: "V".into(),
            before: before.map(Into::into),
            now: now.map(Into::into),
        };
        let file = |path: &str, change| FileChange { path: path.into(), change };
        let files = |count, first| Reason::Files(FileChanges { count, first });
        for (reason, text) in [
            (Reason::Argument(difference(Some("1"), Some("2"))), "the argument V is 2; it was 1"),
            (Reason::Variable(difference(None, Some(""))), "the environment variable V is new: \"\""),
            (Reason::Setting(difference(Some("x"), None)), "V is gone; it was x"),
            (files(None, vec![]), "files that it copies changed"),
            (files(Some(1), vec![file("a", Change::Mode(0o644, 0o755))]), "a has mode 755 and had 644"),
            (
                files(Some(3), vec![file("a", Change::Added), file("b", Change::Owner((0, 0), (1, 2)))]),
                "3 files changed: a was added, b belongs to 1:2 and did to 0:0, …",
            ),
        ] {
            assert_eq!(reason.to_string(), text);
        }
    }

    /// Where a reason is shown to be given: a test of `explain.rs` of the end-to-end tests or, for what no two
    /// builds with one binary can give, of `compare.rs` here. A reason that is added has to be added here.
    fn shown_by(reason: &Reason) -> &'static str {
        match reason {
            Reason::NoCache | Reason::Removed | Reason::Damaged => {
                "a_cache_that_was_not_asked_pruned_or_damaged_is_told"
            }
            Reason::NoEarlierBuild | Reason::Files(_) => "changed_files_are_named",
            Reason::NewStep
            | Reason::Failed
            | Reason::Instruction { .. }
            | Reason::Argument(_)
            | Reason::Variable(_) => "changed_instructions_arguments_and_variables_are_named",
            Reason::KeyFormat => "each_part_of_what_a_step_sees_has_its_words",
            Reason::Base { .. } | Reason::StepBefore { .. } => "another_base_and_the_step_before_are_named",
            Reason::Setting(_) => "what_else_a_run_sees_is_named",
            Reason::MountedFiles { .. } => "changed_mounts_and_secrets_are_named",
            Reason::NotKept => "a_result_that_was_not_kept_is_told",
            Reason::Unknown => "a_plan_says_what_would_run_and_does_nothing",
        }
    }

    #[test]
    fn every_reason_is_shown_by_a_test() {
        let tests = [include_str!("compare.rs"), include_str!("../../../../tests/e2e/explain.rs")].concat();
        let difference = || Difference { name: "V".into(), before: None, now: None };
        let text = || "x".to_owned();
        for reason in [
            Reason::NoCache,
            Reason::NoEarlierBuild,
            Reason::NewStep,
            Reason::KeyFormat,
            Reason::Base { name: text(), before: text(), now: text() },
            Reason::StepBefore { text: text() },
            Reason::Instruction { before: text() },
            Reason::Argument(difference()),
            Reason::Variable(difference()),
            Reason::Setting(difference()),
            Reason::Files(FileChanges::default()),
            Reason::MountedFiles { target: text() },
            Reason::Removed,
            Reason::Damaged,
            Reason::Failed,
            Reason::NotKept,
            Reason::Unknown,
        ] {
            let test = format!("fn {}()", shown_by(&reason));
            assert!(tests.contains(&test), "{test} of {reason:?} is not there");
        }
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(cut(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
        assert_eq!(cut("a\n  b"), "a b");
    }
}
