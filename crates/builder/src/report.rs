//! What is remembered of a build, to explain later ones and itself.

use std::collections::{BTreeMap, BTreeSet};

use lbuild_layer_store::{BuildName, Store, StoreError};
use lbuild_oci::{DiffId, Digest, json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::explain::Reason;

/// What was built: builds of the same Dockerfile and context explain each other.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// The Dockerfile: an absolute path, or how it was named where it is no file here.
    pub dockerfile: String,
    /// The context, likewise.
    pub context: String,
}

/// A build that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuildReport {
    /// What was built.
    pub subject: Subject,
    /// `--target`.
    pub target: Option<String>,
    /// When it began, RFC 3339.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// The image that it made.
    pub image: Option<Digest>,
    /// Why it made none.
    pub error: Option<String>,
    /// Its steps, in the order of the plan.
    pub steps: Vec<StepReport>,
}

/// A step of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// The stage's name, or its number where it has none.
    pub stage: String,
    /// The step's number within its stage, FROM being 1.
    pub number: usize,
    /// The instruction, on one line.
    pub text: String,
    /// What became of it.
    pub fate: Fate,
    /// Why it was not taken from the cache; the first reason comes first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// How long it took when it ran, in this build or the one that the result is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// What FROM stands on: the name, and what identifies the layers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<(String, String)>,
    /// The key of its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<Digest>,
    /// All that the step saw, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) seen: BTreeMap<String, Value>,
    /// Which of the variables that it saw are arguments.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) arguments: BTreeSet<String>,
    /// The list of the files that it copied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) files: Option<Digest>,
    /// The layer that it made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) layer: Option<DiffId>,
}

/// What became of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// It came from the cache.
    Cached,
    /// It ran, and its result was kept.
    Ran,
    /// It ran, and its result was not kept, since files changed meanwhile.
    NotKept,
    /// It failed.
    Failed,
    /// It was stopped, or not reached.
    NotReached,
}

impl Subject {
    /// The word by which the store finds builds of this subject.
    pub fn word(&self) -> String {
        Digest::of(json::canonical(self)).hex()[..16].to_owned()
    }
}

impl BuildReport {
    /// What the store remembers of a build; `None` if it has not ended, was killed, or if another
    /// version of lbuild wrote it.
    pub fn read(store: &Store, build: &BuildName) -> Option<Self> {
        serde_json::from_slice(&store.build_record(build)?).ok()
    }

    /// The latest builds of a subject that have ended, the latest first.
    ///
    /// # Errors
    /// The store's.
    pub fn of_subject<'a>(
        store: &'a Store,
        subject: &Subject,
    ) -> Result<impl Iterator<Item = (BuildName, Self)> + use<'a>, StoreError> {
        let word = subject.word();
        let builds = store.builds()?.into_iter().filter(move |build| build.subject == word);
        Ok(builds.filter_map(|build| Self::read(store, &build).map(|report| (build, report))))
    }

    /// How many steps ran to an end, be it a bad one.
    pub fn steps_run(&self) -> usize {
        let ran = |step: &&StepReport| matches!(step.fate, Fate::Ran | Fate::NotKept | Fate::Failed);
        self.steps.iter().filter(ran).count()
    }
}
