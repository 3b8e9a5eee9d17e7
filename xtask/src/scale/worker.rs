//! A machine that builds: a store and a network namespace of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::command::{Failure, run_quietly};

use super::network::{Network, within};
use super::registry::Registry;
use super::tree::{IMAGES, Tree};

/// How often steps ran.
pub type Steps = BTreeMap<String, usize>;

/// What a worker did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// The steps that ran, as their instructions.
    pub steps: Steps,
    /// The images, by their names.
    pub images: BTreeMap<String, String>,
}

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

    /// Builds every image, each worker in another order; `is_frozen`: nothing may run.
    pub fn build_all(&self, tree: &Tree, is_frozen: bool) -> Result<Work, Failure> {
        let mut work = Work::default();
        for image in 0..IMAGES {
            let service = format!("service-{}", (image * 7 + self.number * 3) % IMAGES);
            note(&self.build(tree, &service, is_frozen)?, &service, &mut work);
        }
        Ok(work)
    }

    /// Writes an image as an archive, which takes all of its layers.
    pub fn save(&self, service: &str, archive: &Path) -> Result<(), Failure> {
        let mut command = within(&self.namespace, &self.lbuild);
        command.arg("--root").arg(&self.store).args(["save", "-o"]).arg(archive).arg(service);
        command.env("CONTAINERS_REGISTRIES_CONF", &self.configuration);
        run_quietly(&mut command).map(drop)
    }

    /// Builds an image; returns the events.
    fn build(&self, tree: &Tree, service: &str, is_frozen: bool) -> Result<String, Failure> {
        let mut command = within(&self.namespace, &self.lbuild);
        command.arg("--root").arg(&self.store);
        command.args(["build", "--progress=rawjson", "--target", service, "-t", service]);
        command.arg(format!("--cache-from=type=registry,ref={},namespace=cache", self.cache));
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
        Ok(text.into_owned())
    }
}

/// Adds what the events of a build tell: the steps that finished, and the image.
fn note(events: &str, service: &str, work: &mut Work) {
    let mut texts: BTreeMap<u64, String> = BTreeMap::new();
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
                *work.steps.entry(texts.get(&step).cloned().unwrap_or_default()).or_default() += 1;
            }
            Some("built") => {
                work.images
                    .insert(service.to_owned(), event["image"].as_str().unwrap_or_default().to_owned());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_that_ran_and_the_image_are_noted() {
        let events = r#"{"event":"planned","steps":[{"step":1,"text":"FROM a"},{"step":2,"text":"RUN b"}]}
note: no event
{"event":"cached","step":1}
{"event":"finished","step":2}
{"event":"built","image":"sha256:1"}
"#;
        let mut work = Work::default();
        note(events, "a", &mut work);
        assert_eq!(work.steps, Steps::from([("RUN b".to_owned(), 1)]));
        assert_eq!(work.images["a"], "sha256:1");
    }
}
