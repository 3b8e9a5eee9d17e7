//! A stage as it stands after some of its steps.

use std::collections::BTreeMap;

use lbuild_oci::{DiffId, History, ImageConfig, Platform};
use lbuild_parser::expand::{ExpandError, Expanded, Expander};
use lbuild_shared_cache::{INLINE_FIELD, InlineStep};

use crate::environment::Environment;
use crate::path::absolute;

/// What comment the project leaves in an image's history.
const COMMENT: &str = "lbuild";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A stage's files, configuration and variables.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StageState {
    /// The layers, bottom first.
    pub layers: Vec<DiffId>,
    /// The image that the stage would be now.
    pub image: ImageConfig,
    /// What a RUN sees and words expand to: the image's environment, and ARGs over it.
    pub environment: Environment,
    /// ARGs declared so far, with their values, in order.
    pub arguments: Vec<(String, Option<String>)>,
    /// Whether this stage has a CMD of its own (an ENTRYPOINT then leaves it).
    pub has_cmd: bool,
    /// Whether a WORKDIR was set in this Dockerfile.
    pub has_workdir: bool,
    /// When the last step that has a time was made.
    pub last_step: Option<String>,
    /// The steps whose results make up the stage, in order, as its image would carry them.
    pub steps: Vec<InlineStep>,
    /// In a forecast: whether the layers are not known, since a step would run first.
    pub is_unknown: bool,
    /// Bytes of what its instructions that make no layer expanded to.
    pub texts_length: usize,
}

impl StageState {
    /// A stage that begins with an image, or with nothing if it has no layers.
    pub fn new(mut image: ImageConfig) -> Self {
        if !image.config.env.iter().any(|entry| entry.starts_with("PATH=")) {
            image.config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        image.config.on_build = Vec::new();
        // What the base carries is of the steps that made the base.
        image.extra.remove(INLINE_FIELD);
        Self {
            layers: image.rootfs.diff_ids.clone(),
            environment: Environment::from_config(&image.config.env),
            image,
            arguments: Vec::new(),
            has_cmd: false,
            has_workdir: false,
            last_step: None,
            steps: Vec::new(),
            is_unknown: false,
            texts_length: 0,
        }
    }

    /// A stage that begins with nothing.
    pub fn scratch(platform: &Platform) -> Self {
        let mut image = ImageConfig::scratch(platform);
        image.config.working_dir = "/".to_owned();
        Self::new(image)
    }

    /// A stage that begins where this one ended.
    pub fn child(&self) -> Self {
        let mut child = self.clone();
        child.image.config.on_build = Vec::new();
        child.has_cmd = false;
        // The image's own variables win over the parent's ARGs again.
        for entry in &child.image.config.env {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            child.environment.set(name, value);
        }
        child
    }

    /// The platform that the stage is for.
    pub fn platform(&self) -> Platform {
        self.image.platform()
    }

    /// The working directory, absolute and without `.` and `..`. The image's configuration may write it
    /// in another way.
    pub fn workdir(&self) -> String {
        absolute("/", &self.image.config.working_dir)
    }

    /// A word with its variables, quotes and escapes replaced.
    ///
    /// # Errors
    /// Any [`ExpandError`].
    pub fn expand(&self, escape: char, word: &str) -> Result<Expanded, ExpandError> {
        Expander::new(escape, &|name| self.variable(name)).word(word)
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<String> {
        self.environment.get(name).map(str::to_owned)
    }

    /// The shell of RUN, CMD and ENTRYPOINT in their shell form.
    pub fn shell(&self) -> Vec<String> {
        match &self.image.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ => DEFAULT_SHELL.map(str::to_owned).to_vec(),
        }
    }

    /// Sets variables of the image.
    pub fn set_env(&mut self, pairs: &[(String, String)]) {
        let mut image = Environment::from_config(&self.image.config.env);
        for (name, value) in pairs {
            image.set(name, value);
            self.environment.set(name, value);
        }
        self.image.config.env = image.to_config();
    }

    /// The ARGs as the history of a RUN shows them: `|1 NAME=VALUE`.
    pub fn arguments_text(&self) -> Option<String> {
        let mut shown = Environment::new();
        for (name, value) in &self.arguments {
            let value = self.variable(name).or_else(|| value.clone()).unwrap_or_default();
            shown.set(name, &value);
        }
        let words: Vec<String> = shown.iter().map(|(name, value)| format!("{name}={value}")).collect();
        (!words.is_empty()).then(|| format!("|{} {}", words.len(), words.join(" ")))
    }

    /// Adds a history entry, and the layer that the step made.
    pub fn record(&mut self, created_by: String, created: Option<String>, layer: Option<DiffId>) {
        if created.is_some() {
            self.last_step.clone_from(&created);
        }
        self.image.history.push(History {
            created,
            created_by: Some(created_by),
            author: None,
            comment: Some(COMMENT.to_owned()),
            empty_layer: layer.is_none(),
            extra: BTreeMap::new(),
        });
        if let Some(layer) = layer {
            self.layers.push(layer);
            self.image.rootfs.diff_ids.push(layer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> StageState {
        StageState::scratch(&Platform::host())
    }

    #[test]
    fn an_image_without_path_gets_the_default() {
        assert_eq!(state().image.config.env, [format!("PATH={DEFAULT_PATH}")]);
    }

    #[test]
    fn arguments_are_shown_once_with_their_last_value() {
        let mut state = state();
        assert_eq!(state.arguments_text(), None);
        for (name, value) in [("A", "1"), ("B", ""), ("A", "2")] {
            state.environment.set(name, value);
            state.arguments.push((name.to_owned(), Some(value.to_owned())));
        }
        assert_eq!(state.arguments_text().as_deref(), Some("|2 A=2 B="));
    }

    #[test]
    fn a_child_stage_sees_its_parents_variables() {
        let mut parent = state();
        parent.set_env(&[("E".into(), "image".into())]);
        parent.environment.set("E", "argument");
        parent.environment.set("A", "argument");
        parent.has_cmd = true;
        let child = parent.child();
        assert_eq!(child.variable("E").as_deref(), Some("image"));
        assert_eq!(child.variable("A").as_deref(), Some("argument"));
        assert!(!child.has_cmd);
    }
}
