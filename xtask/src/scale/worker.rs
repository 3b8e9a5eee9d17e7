//! A machine that builds: a store and a network namespace of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::Failure;

use super::network::{Network, within};
use super::registry::Registry;
use super::tree::{IMAGES, Tree};

/// How often steps ran.
pub type Steps = BTreeMap<String, usize>;

/// A worker.
pub struct Worker {
    number: usize,
    namespace: String,
    lbuild: PathBuf,
    store: PathBuf,
    configuration: PathBuf,
    cache: String,
}

impl Worker {
    /// One with an empty store.
    pub fn new(
        number: usize,
        folder: &Path,
        network: &Network,
        lbuild: &Path,
        registry: &Registry,
    ) -> Result<Self, Failure> {
        let store = folder.join(format!("store-{number}"));
        fs::create_dir_all(&store).map_err(Failure::of(format!("cannot make {}", store.display())))?;
        Ok(Self {
            number,
            namespace: network.join(number)?,
            lbuild: lbuild.to_owned(),
            store,
            configuration: registry.configuration.clone(),
            cache: registry.cache(),
        })
    }

    /// Builds every image, each worker in another order; `is_frozen`: nothing may run. Returns what ran.
    pub fn build_all(&self, tree: &Tree, is_frozen: bool) -> Result<Steps, Failure> {
        let mut steps = Steps::new();
        for image in 0..IMAGES {
            let image = (image * 7 + self.number * 3) % IMAGES;
            for step in self.build(tree, image, is_frozen)? {
                *steps.entry(step).or_default() += 1;
            }
        }
        Ok(steps)
    }

    /// Builds an image; returns the steps that ran.
    fn build(&self, tree: &Tree, image: usize, is_frozen: bool) -> Result<Vec<String>, Failure> {
        let service = format!("service-{image}");
        let mut command = within(&self.namespace, &self.lbuild);
        command.arg("--root").arg(&self.store);
        command.args(["build", "--progress=rawjson", "--target", &service, "-t", &service]);
        command.arg(format!("--cache-from=type=registry,ref={}", self.cache));
        if is_frozen {
            command.arg("--frozen");
        } else {
            command.arg(format!("--cache-to=type=registry,ref={},claim=true", self.cache));
        }
        command.arg(&tree.folder).env("CONTAINERS_REGISTRIES_CONF", &self.configuration);
        let output = command.output().map_err(Failure::of("cannot run lbuild"))?;
        let text = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            return Err(Failure(format!("worker {} cannot build {service}:\n{text}", self.number)));
        }
        Ok(steps_run(&text))
    }
}

/// The steps that finished, as their instructions, by the events of a build.
fn steps_run(events: &str) -> Vec<String> {
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
    let mut run = Vec::new();
    for event in events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        match event["event"].as_str() {
            Some("planned") => {
                for step in event["steps"].as_array().into_iter().flatten() {
                    let text = step["text"].as_str().unwrap_or_default().to_owned();
                    texts.insert(step["step"].as_u64().unwrap_or_default(), text);
                }
            }
            Some("finished") => {
                let step = event["step"].as_u64().unwrap_or_default();
                run.push(texts.get(&step).cloned().unwrap_or_default());
            }
            _ => {}
        }
    }
    run
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_ran_are_named() {
        let events = r#"{"event":"planned","steps":[{"step":1,"text":"FROM a"},{"step":2,"text":"RUN b"}]}
note: no event
{"event":"cached","step":1}
{"event":"finished","step":2}
"#;
        assert_eq!(steps_run(events), ["RUN b"]);
    }
}
