//! `# check=skip=RuleA,RuleB;error=true;experimental=all`.

use std::collections::BTreeSet;

use super::Rule;
use crate::Diagnostic;
use crate::go::parse_bool;
use crate::syntax::directive_in_comment;

/// Which rules count, and whether a finding fails the build.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckOptions {
    /// No rule counts.
    pub skip_all: bool,
    /// Rules that do not count.
    pub skip: BTreeSet<String>,
    /// All experimental rules count.
    pub experimental_all: bool,
    /// Experimental rules that count.
    pub experimental: BTreeSet<String>,
    /// A finding fails the build.
    pub error: bool,
}

/// Why a text is no [`CheckOptions`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckOptionsError {
    /// Neither `skip=`, `error=` nor `experimental=`.
    #[error("invalid check option \"{0}\"")]
    UnknownOption(String),
    /// `error=` is neither true nor false.
    #[error("failed to parse check option \"{0}\"")]
    NotBoolean(String),
}

impl CheckOptions {
    /// Reads the value of a `# check=` directive or of the build argument
    /// `BUILDKIT_DOCKERFILE_CHECK`.
    ///
    /// # Errors
    /// [`CheckOptionsError`], naming the option.
    pub fn parse(text: &str) -> Result<Self, CheckOptionsError> {
        let mut options = Self::default();
        for part in text.trim().splitn(3, ';').filter(|_| !text.trim().is_empty()) {
            let (key, value) =
                part.split_once('=').ok_or_else(|| CheckOptionsError::UnknownOption(part.to_owned()))?;
            let value = value.trim();
            match key.trim() {
                "skip" if value == "all" => options.skip_all = true,
                "skip" => options.skip = names(value),
                "experimental" if value == "all" => options.experimental_all = true,
                "experimental" => options.experimental = names(value),
                "error" => {
                    options.error =
                        parse_bool(value).ok_or_else(|| CheckOptionsError::NotBoolean(part.to_owned()))?;
                }
                key => return Err(CheckOptionsError::UnknownOption(key.to_owned())),
            }
        }
        Ok(options)
    }

    /// Whether `rule` counts for an instruction that has `local` options of its own.
    pub fn allows(&self, rule: Rule, local: &Self) -> bool {
        if rule.is_experimental() {
            return [self, local]
                .iter()
                .any(|options| options.experimental_all || options.experimental.contains(rule.name()));
        }
        [self, local].iter().all(|options| !options.skip_all && !options.skip.contains(rule.name()))
    }

    /// The build's error if findings are errors and there are some.
    pub fn violation(&self, findings: &[Diagnostic]) -> Option<String> {
        let rules: BTreeSet<_> = findings.iter().filter_map(|finding| finding.rule).collect();
        let rules: Vec<_> = rules.into_iter().collect();
        (self.error && !rules.is_empty())
            .then(|| format!("lint violation found for rules: {}", rules.join(", ")))
    }

    /// The options of the first `check=` in the comments above an instruction. Wrong ones are a
    /// comment like any other.
    pub(crate) fn from_comments(comments: &[String]) -> Option<Self> {
        let text = comments.iter().find_map(|comment| directive_in_comment(comment, "check"))?;
        Self::parse(text).ok()
    }
}

fn names(list: &str) -> BTreeSet<String> {
    list.split(',').map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let none = CheckOptions::default;
        for (text, expected) in [
            ("", none()),
            ("skip=all", CheckOptions { skip_all: true, ..none() }),
            (" skip=A, B;error=true", CheckOptions { skip: set(&["A", "B"]), error: true, ..none() }),
            (
                "experimental=A;skip=B;error=0",
                CheckOptions { experimental: set(&["A"]), skip: set(&["B"]), ..none() },
            ),
            ("experimental=all", CheckOptions { experimental_all: true, ..none() }),
        ] {
            assert_eq!(CheckOptions::parse(text), Ok(expected), "{text}");
        }
        for (text, message) in [
            ("skip", "invalid check option \"skip\""),
            ("skpi=A", "invalid check option \"skpi\""),
            ("error=yes", "failed to parse check option \"error=yes\""),
            ("skip=A;", "invalid check option \"\""),
        ] {
            assert_eq!(CheckOptions::parse(text).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_options_above_an_instruction_add_to_those_of_the_file() {
        let file = CheckOptions::parse("skip=StageNameCasing").unwrap();
        let local = CheckOptions::parse("skip=FromAsCasing;experimental=all").unwrap();
        assert!(!file.allows(Rule::StageNameCasing, &local));
        assert!(!file.allows(Rule::FromAsCasing, &local));
        assert!(file.allows(Rule::FromAsCasing, &CheckOptions::default()));
        assert!(file.allows(Rule::InvalidDefinitionDescription, &local));
        assert!(!file.allows(Rule::InvalidDefinitionDescription, &CheckOptions::default()));
    }
}
