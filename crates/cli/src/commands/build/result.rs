//! What becomes of a built image: names, outputs, files about it, and what the user is told.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use lbuild_builder::BuildOutcome;
use lbuild_exporter::{ExportOptions, PushOptions, Written, manifest};
use lbuild_layer_store::Store;
use lbuild_oci::{Platform, Reference};
use lbuild_shared_cache::Written as CacheWritten;
use serde_json::json;

use crate::args::BuildArgs;
use crate::commands::{push, size};
use crate::exit::Exit;
use crate::export::{Export, Exported};
use crate::failure::Failure;
use crate::output::{Destination, Output};
use crate::timings::Timings;
use crate::uploads::Uploads;
use crate::{aside, diagnostics, registry, units};

/// A built image that is in the store and has no name yet.
pub struct Delivery<'a> {
    /// Where it is.
    pub store: &'a Store,
    /// What the user asked for.
    pub args: &'a BuildArgs,
    /// What the builder made.
    pub outcome: BuildOutcome,
    /// `SOURCE_DATE_EPOCH`, in seconds since the Unix epoch.
    pub epoch: Option<i64>,
    /// How long the build took.
    pub took: Duration,
    /// Whether a program reads standard error.
    pub json: bool,
    /// What was uploaded while it was built.
    pub uploads: &'a Uploads<'a>,
    /// Where the time of the outputs is told.
    pub timings: &'a Timings,
}

/// Finds what is wrong with the files to write before a long build, rather than after it.
pub fn check(args: &BuildArgs) -> Result<(), Failure> {
    for path in [&args.iidfile, &args.metadata_file, &args.timings].into_iter().flatten() {
        aside::check(path).map_err(Failure::io(format!("cannot write {}", path.display())))?;
    }
    for output in args.outputs.iter().filter(|output| output.push) {
        let names = push_names(args, output)?;
        push::check(&names)?;
        if names.is_empty() {
            return Err(Failure::usage("what is pushed needs a name: give one with -t"));
        }
    }
    names(args).map(drop)
}

/// Where layers of the image go while it is built.
pub fn push_targets(args: &BuildArgs) -> Result<Vec<(Reference, PushOptions)>, Failure> {
    let mut targets: Vec<(Reference, PushOptions)> = Vec::new();
    for output in args.outputs.iter().filter(|output| output.push) {
        for name in push_names(args, output)? {
            let options = registry::push_options(&[], output);
            let is_known = |(known, with): &(Reference, PushOptions)| {
                known.repository() == name.repository() && *with == options
            };
            if !targets.iter().any(is_known) {
                targets.push((name, options));
            }
        }
    }
    Ok(targets)
}

/// The names that `output` is pushed to: its own, else those of the image.
fn push_names(args: &BuildArgs, output: &Output) -> Result<Vec<Reference>, Failure> {
    if output.names.is_empty() {
        return Ok(args.tags.clone());
    }
    output.names.iter().map(|name| parse_name(name)).collect()
}

fn parse_name(name: &str) -> Result<Reference, Failure> {
    name.parse().map_err(|error| Failure::usage(format!("-o name={name}: {error}")))
}

/// All names that the image gets.
fn names(args: &BuildArgs) -> Result<Vec<Reference>, Failure> {
    let mut names = args.tags.clone();
    for name in args.outputs.iter().flat_map(|output| &output.names) {
        names.push(parse_name(name)?);
    }
    let mut unique = Vec::new();
    for name in names {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    Ok(unique)
}

impl Delivery<'_> {
    /// Names the image, writes its outputs, and tells the user.
    pub fn deliver(mut self) -> Result<(), Failure> {
        let names = names(self.args)?;
        self.annotate()?;
        for name in &names {
            self.store.tag(name, &self.outcome.image.id)?;
        }
        let (notes, written) = self.export(&names)?;
        self.write_files(&names, written.as_ref())?;
        self.tell(&names, &notes)?;
        self.tell_of_cache()
    }

    /// Says what of the shared caches could not be written; the image is where it should be by then.
    fn tell_of_cache(&self) -> Result<(), Failure> {
        let CacheWritten { failures, ignored, .. } = &self.outcome.shared;
        for failure in ignored {
            self.say("warning", failure);
        }
        for failure in failures {
            self.say("error", failure);
        }
        if failures.is_empty() { Ok(()) } else { Err(Failure::Reported(Exit::Cache)) }
    }

    fn say(&self, level: &str, text: &str) {
        if self.json {
            diagnostics::print(&json!({ "event": "cache", "level": level, "message": text }).to_string());
        } else {
            diagnostics::print(&format!("{level}: {text}"));
        }
    }

    /// Keeps `--annotation` with the image, so that a later `save` has it too.
    fn annotate(&mut self) -> Result<(), Failure> {
        let image = &mut self.outcome.image;
        if self.args.annotations.is_empty() {
            return Ok(());
        }
        let platform = image.platform.clone();
        let is_meant = |wanted: &Platform| *wanted == platform;
        let annotations = self.args.annotations.iter();
        let annotations = annotations.filter(|one| one.platform.as_ref().is_none_or(is_meant));
        image.annotations.extend(annotations.map(|one| (one.key.clone(), one.value.clone())));
        let (_, config) = self.store.image_config(&image.id)?;
        self.store.put_image(image, &config)?;
        Ok(self.store.flush()?)
    }

    /// Writes the outputs; returns what happened, and what the first archive or layout holds.
    fn export(&self, names: &[Reference]) -> Result<(Vec<String>, Option<Written>), Failure> {
        let export = Export { store: self.store, image: &self.outcome.image, names, epoch: self.epoch };
        let (mut notes, mut first) = (Vec::new(), None);
        for output in &self.args.outputs {
            let Exported { note, written } =
                self.timings.measure("write an output", || match output.push {
                    true => self.push(output),
                    false => export.write(output),
                })?;
            notes.extend(note);
            first = first.or(written);
        }
        Ok((notes, first))
    }

    fn push(&self, output: &Output) -> Result<Exported, Failure> {
        let names = push_names(self.args, output)?;
        let pushed = self.uploads.push(&self.outcome.image, &names, output)?;
        let note = registry::describe(&names, &pushed);
        Ok(Exported { note: Some(note), written: Some(pushed.written) })
    }

    fn write_files(&self, names: &[Reference], written: Option<&Written>) -> Result<(), Failure> {
        let write = |path: &Path, content: &[u8]| {
            aside::write(path, content).map_err(Failure::io(format!("cannot write {}", path.display())))
        };
        if let Some(path) = &self.args.iidfile {
            write(path, self.outcome.image.id.to_string().as_bytes())?;
        }
        if let Some(path) = &self.args.metadata_file {
            write(path, &self.metadata(names, written)?)?;
        }
        Ok(())
    }

    /// The keys that buildx writes, so far as they have a meaning here. The manifest is the one that was
    /// written, else the one that an archive would have.
    ///
    /// Source: <https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file>
    fn metadata(&self, names: &[Reference], written: Option<&Written>) -> Result<Vec<u8>, Failure> {
        let image = &self.outcome.image;
        let (digest, size) = match written {
            Some(written) => (written.manifest, written.manifest_size),
            None => {
                let options = ExportOptions { names: names.to_vec(), ..ExportOptions::default() };
                let (bytes, digest) = manifest(self.store, image, &options)?;
                (digest, bytes.len() as u64)
            }
        };
        let all: Vec<String> = names.iter().map(Reference::to_string).collect();
        let metadata = json!({
            "containerimage.config.digest": image.id,
            "containerimage.digest": digest,
            "containerimage.descriptor": {
                "mediaType": lbuild_oci::MediaType::Manifest,
                "digest": digest,
                "size": size,
            },
            "image.name": all.join(","),
        });
        Ok(format!("{metadata:#}\n").into_bytes())
    }

    /// Says what was built. Standard output is left alone where the image itself goes there.
    fn tell(&self, names: &[Reference], notes: &[String]) -> Result<(), Failure> {
        let id = self.outcome.image.id;
        if self.json {
            let names: Vec<String> = names.iter().map(Reference::to_string).collect();
            let (executed, cached) = (self.outcome.executed, self.outcome.cached);
            let event = json!({
                "event": "built", "time": self.took.as_millis() as f64 / 1000.0,
                "image": id, "names": names, "executed": executed, "cached": cached,
            });
            diagnostics::print(&event.to_string());
        }
        let to_stdout = self.args.outputs.iter().any(|output| output.destination == Destination::Stdout);
        if to_stdout {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        if self.args.quiet {
            writeln!(out, "{id}")?;
        } else if !self.json {
            out.write_all(self.summary(names, notes)?.as_bytes())?;
        }
        Ok(())
    }

    fn summary(&self, names: &[Reference], notes: &[String]) -> Result<String, Failure> {
        let image = &self.outcome.image;
        let familiar: Vec<String> = names.iter().map(Reference::familiar).collect();
        let shown = if familiar.is_empty() { "none".to_owned() } else { familiar.join(", ") };
        let mut text = format!("image  {}\n", image.id);
        text += &format!("name   {shown}\n");
        let layers = count(image.layers.len(), "layer");
        text += &format!("size   {} in {layers}\n", units::size(size(self.store, image)?));
        let BuildOutcome { executed, cached, .. } = self.outcome;
        text += &format!("steps  {executed} run, {cached} cached, {}\n", units::duration(self.took));
        let shared = &self.outcome.shared;
        if shared.records > 0 {
            let (records, layers) = (count(shared.records, "record"), count(shared.layers, "layer"));
            text += &format!("cache  {records} written, {layers} ({})\n", units::size(shared.bytes));
        }
        for note in notes {
            text += &format!("{note}\n");
        }
        if self.args.outputs.is_empty() {
            let name = familiar.first().cloned().unwrap_or_else(|| image.id.short());
            text += &format!("\nTo load it into Docker: lbuild save {name} | docker load\n");
        }
        Ok(text)
    }
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
