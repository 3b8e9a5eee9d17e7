//! Finds the earlier step that is nearest to one that misses, and what is different between them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::reason::{Difference, Reason};
use crate::report::{BuildReport, StepReport};

/// Parts of what a step sees that have reasons of their own, or that follow from others.
const SPECIAL: [&str; 8] =
    ["format", "kind", "parent", "command", "script", "environment", "mounts", "files"];

/// What people call the parts of a key whose own names would puzzle them.
const NAMES: [(&str, &str); 12] = [
    ("user", "the user"),
    ("working directory", "the working directory"),
    ("network", "the network"),
    ("security", "the security mode"),
    ("host name", "the host name"),
    ("hosts", "--add-host"),
    ("shm size", "--shm-size"),
    ("ulimits", "--ulimit"),
    ("no new privileges", "--security-opt no-new-privileges"),
    ("secret in layer", "--allow-secret-in-layer"),
    ("source date epoch", "SOURCE_DATE_EPOCH"),
    ("shell", "SHELL"),
];

/// The earlier builds of a Dockerfile and context, the latest first.
#[derive(Debug, Default)]
pub(crate) struct Earlier(pub Vec<BuildReport>);

/// A step of an earlier build that stands for one of now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Match<'a> {
    /// The build.
    pub build: &'a BuildReport,
    /// Its step.
    pub step: &'a StepReport,
}

impl Earlier {
    /// The earlier step that is most like `now`: of the same instruction or, failing that, at the same
    /// place of its stage; then with the fewest differences; then of the latest build.
    pub fn nearest(&self, now: &StepReport) -> Option<Match<'_>> {
        let candidates =
            self.0.iter().filter_map(|build| Some(Match { build, step: counterpart(build, now)? }));
        candidates.min_by_key(|found| {
            let same_key = found.step.key.is_some() && found.step.key == now.key;
            let parts: BTreeSet<_> = found.step.seen.keys().chain(now.seen.keys()).collect();
            let different = parts.iter().filter(|part| found.step.seen.get(**part) != now.seen.get(**part));
            (!same_key, found.step.text != now.text, found.step.seen.is_empty(), different.count())
        })
    }
}

impl<'a> Match<'a> {
    /// The steps of the earlier build's stage before this one.
    pub fn before(&self) -> impl Iterator<Item = &'a StepReport> + use<'a> {
        let (stage, number) = (&self.step.stage, self.step.number);
        self.build.steps.iter().filter(move |step| step.stage == *stage && step.number < number)
    }
}

/// The step of `build` that `step` was: in the same stage, with the same text if there is one, or else
/// at the same place.
fn counterpart<'a>(build: &'a BuildReport, step: &StepReport) -> Option<&'a StepReport> {
    let stage = || build.steps.iter().filter(|other| other.stage == step.stage);
    let same_text = stage().filter(|other| other.text == step.text);
    let instruction = |text: &str| text.split(' ').next().unwrap_or_default().to_ascii_uppercase();
    same_text.min_by_key(|other| other.number.abs_diff(step.number)).or_else(|| {
        stage()
            .find(|other| other.number == step.number && instruction(&other.text) == instruction(&step.text))
    })
}

/// What is different about `now`, whose stage's steps so far are `before_now`; the first reason first.
/// Says nothing of files.
pub(crate) fn differences(earlier: Match<'_>, now: &StepReport, before_now: &[StepReport]) -> Vec<Reason> {
    let before = earlier.step;
    let differs = |part: &str| before.seen.get(part) != now.seen.get(part);
    if before.seen.contains_key("format") && differs("format") {
        return vec![Reason::KeyFormat];
    }
    let mut reasons = Vec::new();
    if differs("parent") {
        reasons.push(other_parent(earlier, before_now));
    }
    let same_text = before.text == now.text;
    if !same_text {
        reasons.push(Reason::Instruction { before: before.text.clone() });
    }
    for part in before.seen.keys().chain(now.seen.keys()).collect::<BTreeSet<_>>() {
        if !SPECIAL.contains(&part.as_str()) && differs(part) {
            let name = NAMES.iter().find(|(known, _)| known == part).map_or(part.as_str(), |(_, name)| name);
            reasons.push(Reason::Setting(difference(name, before.seen.get(part), now.seen.get(part))));
        }
    }
    if differs("environment") {
        reasons.extend(variables(before, now));
    }
    if differs("mounts") {
        reasons.extend(mounts(before.seen.get("mounts"), now.seen.get("mounts")));
    }
    if same_text && (differs("command") || differs("script")) && !differs("shell") {
        reasons.push(Reason::Setting(Difference { name: "the command".into(), before: None, now: None }));
    }
    reasons
}

/// Which of the things below a step is another one.
fn other_parent(earlier: Match<'_>, before_now: &[StepReport]) -> Reason {
    let earlier_steps: Vec<_> = earlier.before().collect();
    let base = |step: &StepReport| step.base.clone();
    let earlier_base = earlier_steps.iter().find_map(|step| base(step));
    if let (Some((_, before)), Some((name, now))) = (earlier_base, before_now.iter().find_map(base))
        && before != now
    {
        return Reason::Base { name, before, now };
    }
    let changed = |step: &&StepReport| {
        let same = |other: &&&StepReport| other.text == step.text;
        earlier_steps.iter().find(same).is_none_or(|other| other.layer != step.layer)
    };
    let last = before_now.iter().filter(|step| step.base.is_none()).rfind(changed);
    match last.or(before_now.last()) {
        Some(step) => Reason::StepBefore { text: step.text.clone() },
        None => Reason::NewStep,
    }
}

fn variables(before: &StepReport, now: &StepReport) -> Vec<Reason> {
    let values = |step: &StepReport| -> BTreeMap<String, String> {
        let pairs = step.seen.get("environment").and_then(Value::as_array).cloned().unwrap_or_default();
        let pair =
            |pair: &Value| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_str()?.to_owned()));
        pairs.iter().filter_map(pair).collect()
    };
    let (old, new) = (values(before), values(now));
    let names: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let different = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    let reasons: Vec<_> = different
        .map(|name| {
            let difference = Difference {
                name: name.clone(),
                before: old.get(name).cloned(),
                now: new.get(name).cloned(),
            };
            match now.arguments.contains(name) || before.arguments.contains(name) {
                true => Reason::Argument(difference),
                false => Reason::Variable(difference),
            }
        })
        .collect();
    if reasons.is_empty() {
        let name = "the order of the environment variables".to_owned();
        return vec![Reason::Setting(Difference { name, before: None, now: None })];
    }
    reasons
}

/// Mounts are told apart by what they are and where.
fn mounts(before: Option<&Value>, now: Option<&Value>) -> Vec<Reason> {
    type Named = BTreeMap<String, Value>;
    let named = |mounts: Option<&Value>| -> Named {
        let mounts = mounts.and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |mount: &Value, part: &str| mount.get(part).and_then(Value::as_str).map(str::to_owned);
        mounts
            .into_iter()
            .map(|mount| {
                let kind = text(&mount, "type").unwrap_or_default();
                let place = text(&mount, "target").or_else(|| text(&mount, "variable")).unwrap_or_default();
                (format!("the {kind} mount at {place}"), mount)
            })
            .collect()
    };
    let (old, new) = (named(before), named(now));
    let without_files = |mount: &Value| match mount.clone() {
        Value::Object(mut parts) => {
            parts.remove("files");
            Value::Object(parts)
        }
        other => other,
    };
    let mut reasons = Vec::new();
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        match (old.get(name), new.get(name)) {
            (Some(before), Some(now)) if before == now => {}
            (Some(before), Some(now)) if without_files(before) == without_files(now) => {
                let target = now.get("target").and_then(Value::as_str).unwrap_or_default().to_owned();
                reasons.push(Reason::MountedFiles { target });
            }
            (before, now) => reasons.push(Reason::Setting(difference(name, before, now))),
        }
    }
    reasons
}

fn difference(name: &str, before: Option<&Value>, now: Option<&Value>) -> Difference {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            Some(items.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "))
        }
        value => Some(value.to_string()),
    };
    Difference { name: name.to_owned(), before: before.and_then(text), now: now.and_then(text) }
}

#[cfg(test)]
mod tests {
    use lbuild_oci::Digest;
    use serde_json::json;

    use super::*;
    use crate::report::{Fate, Subject};

    fn step(number: usize, text: &str, seen: Value) -> StepReport {
        StepReport {
            stage: "0".into(),
            number,
            text: text.into(),
            fate: Fate::Ran,
            reasons: Vec::new(),
            seconds: None,
            base: None,
            key: Some(Digest::of(format!("{text}{seen}"))),
            seen: serde_json::from_value(seen).unwrap(),
            arguments: ["ARG".to_owned()].into(),
            files: None,
            layer: None,
        }
    }

    fn build(steps: Vec<StepReport>) -> BuildReport {
        BuildReport {
            subject: Subject::default(),
            target: None,
            started: String::new(),
            seconds: 0.0,
            image: None,
            error: None,
            steps,
        }
    }

    fn told(before: Value, now: Value) -> Vec<String> {
        let build = build(vec![step(1, "RUN x", before)]);
        let found = Match { build: &build, step: &build.steps[0] };
        let now = step(1, "RUN x", now);
        differences(found, &now, &[]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_part_of_what_a_step_sees_has_its_words() {
        let environment = |value: &str| json!({"environment": [["ARG", value], ["E", value]]});
        let mount = |mount: Value| json!({"mounts": [mount]});
        let bind = |files: &str| json!({"type": "bind", "target": "/t", "files": files});
        for (before, now, expected) in [
            (json!({"format": 1}), json!({"format": 2}), "another version of lbuild made the cache"),
            (json!({"user": ""}), json!({"user": "me"}), "the user is me; it was \"\""),
            (json!({"platform": "a"}), json!({"platform": "b"}), "platform is b; it was a"),
            (json!({"shm size": null}), json!({"shm size": 5}), "--shm-size is new: 5"),
            (
                json!({"command": ["a"], "shell": ["sh", "-c"]}),
                json!({"command": ["b"], "shell": ["bash", "-c"]}),
                "SHELL is bash -c; it was sh -c",
            ),
            (json!({"command": ["a"]}), json!({"command": ["b"]}), "the command changed"),
            (
                environment("1"),
                environment("2"),
                "the argument ARG is 2; it was 1|the environment variable E is 2; it was 1",
            ),
            (
                json!({"environment": [["A", ""], ["B", ""]]}),
                json!({"environment": [["B", ""], ["A", ""]]}),
                "the order of the environment variables changed",
            ),
            (mount(bind("1")), mount(bind("2")), "the files that it sees at /t changed"),
            (
                json!({"mounts": []}),
                mount(json!({"type": "secret", "target": "/s"})),
                "the secret mount at /s is new: {\"target\":\"/s\",\"type\":\"secret\"}",
            ),
        ] {
            assert_eq!(told(before, now).join("|"), expected);
        }
    }

    #[test]
    fn the_nearest_step_is_the_one_with_the_fewest_differences_and_then_the_latest() {
        let seen = |file: u8, user: &str| json!({"files": file, "user": user});
        let now = step(2, "COPY f /", seen(3, "me"));
        let earlier = Earlier(vec![
            build(vec![step(2, "COPY f /", seen(1, "other"))]),
            build(vec![step(2, "COPY f /", seen(2, "me"))]),
            build(vec![step(2, "COPY f /", seen(1, "me"))]),
            build(vec![step(2, "COPY g /", seen(3, "me"))]),
        ]);
        assert_eq!(earlier.nearest(&now).unwrap().step, &earlier.0[1].steps[0]);
    }

    #[test]
    fn a_step_that_moved_is_found_by_its_text_and_one_that_was_rewritten_by_its_place() {
        let earlier = Earlier(vec![build(vec![
            step(2, "RUN a", json!({"user": "a"})),
            step(3, "RUN b", json!({"user": "b"})),
        ])]);
        let nearest = |now| earlier.nearest(&now).map(|found| found.step.text.as_str());
        assert_eq!(nearest(step(2, "RUN b", json!({}))), Some("RUN b"));
        assert_eq!(nearest(step(3, "RUN c", json!({}))), Some("RUN b"));
        assert_eq!(nearest(step(3, "COPY c /", json!({}))), None);
        assert_eq!(nearest(step(4, "RUN c", json!({}))), None);
    }
}
