//! `--call=targets`.
//!
//! Source: BuildKit's `frontend/subrequests/targets`

use lbuild_builder::Target;
use serde::Serialize;

use super::Text;
use super::go::{self, Location};
use crate::diagnostics::Source;

/// The stages in BuildKit's form.
#[derive(Debug, Serialize)]
pub struct Answer {
    targets: Vec<Entry>,
    sources: [String; 1],
}

#[derive(Debug, Serialize)]
struct Entry {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
    base: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    platform: String,
    location: Location,
}

impl Answer {
    /// The answer for `dockerfile`, which is the text of `source` as it came.
    pub fn new(targets: &[Target], source: &Source, dockerfile: &[u8]) -> Self {
        let entry = |target: &Target| Entry {
            name: target.name.clone().unwrap_or_default(),
            default: target.is_default,
            description: target.description.clone().unwrap_or_default(),
            base: target.base.clone(),
            platform: target.platform.clone().unwrap_or_default(),
            location: Location::new(source, Some(target.span)),
        };
        Self { targets: targets.iter().map(entry).collect(), sources: [go::bytes(dockerfile)] }
    }
}

impl Text for Answer {
    fn text(&self) -> String {
        let name = |target: &Entry| match (target.name.as_str(), target.default) {
            ("", true) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        let names: Vec<String> = self.targets.iter().map(name).collect();
        let mut rows = vec![["TARGET", "DESCRIPTION"]];
        for (name, target) in names.iter().zip(&self.targets) {
            rows.push([name, &target.description]);
        }
        go::table(&rows, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_shown_as_docker_shows_them() {
        let dockerfile = b"# a compiles\nFROM x AS a\nFROM --platform=linux/arm64 a AS b\n";
        let targets = lbuild_builder::targets(dockerfile).unwrap();
        let answer = Answer::new(&targets, &Source::new("Dockerfile", dockerfile), dockerfile);
        assert_eq!(answer.text(), "TARGET      DESCRIPTION\na           compiles\nb (default) \n");
        let json = serde_json::to_value(&answer).unwrap();
        assert_eq!(json["targets"][1]["platform"], "linux/arm64");
        assert_eq!(json["targets"][1]["default"], true);
        assert_eq!(json["targets"][1]["location"]["ranges"][0]["start"]["line"], 3);
        assert_eq!(json["targets"][0].get("default"), None);
    }
}
