//! What becomes of built images: names, outputs, files about it, and what the user is told.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use lbuild_builder::BuildOutcome;
use lbuild_exporter::{ExportOptions, PushOptions, Written, manifest};
use lbuild_layer_store::{ImageRecord, Store};
use lbuild_oci::{Digest, MediaType, Platform, Reference};
use lbuild_shared_cache::Written as CacheWritten;
use serde_json::json;

use crate::args::{AnnotationTarget, BuildArgs};
use crate::commands::push;
use crate::exit::Exit;
use crate::export::{Export, Exported};
use crate::failure::Failure;
use crate::output::{Destination, Output};
use crate::size::Size;
use crate::text::json_line;
use crate::timings::Timings;
use crate::uploads::Uploads;
use crate::{aside, diagnostics, registry, units};

/// Built images, one for each platform, that are in the store and have no name yet.
pub struct Delivery<'a> {
    /// Where they are.
    pub store: &'a Store,
    /// What the user asked for.
    pub args: &'a BuildArgs,
    /// What the builder made.
    pub outcomes: Vec<BuildOutcome>,
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
    let of_index = args.annotations.iter().any(|one| one.targets.contains(&AnnotationTarget::Index));
    if of_index && args.platforms.len() < 2 {
        return Err(Failure::usage("--annotation index: needs several platforms: one image has no index"));
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
    /// Names the images, writes their outputs, and tells the user.
    pub fn deliver(mut self) -> Result<(), Failure> {
        let names = names(self.args)?;
        self.annotate()?;
        let images: Vec<ImageRecord> = self.outcomes.iter().map(|outcome| outcome.image.clone()).collect();
        if let Some(image) = self.named_image() {
            for name in &names {
                self.store.tag(name, &image.id)?;
            }
        }
        let (notes, written) = self.export(&images, &names)?;
        self.write_files(&images, &names, written.as_ref())?;
        self.tell(&names, &notes)?;
        self.tell_of_cache()
    }

    /// The image that a name stands for in the store: of several, the one for this machine.
    fn named_image(&self) -> Option<&ImageRecord> {
        let host = Platform::host();
        let mut images = self.outcomes.iter().map(|outcome| &outcome.image);
        images.clone().find(|image| image.platform == host).or_else(|| images.next())
    }

    /// Says what of the shared caches could not be written; the images are where they should be by then.
    fn tell_of_cache(&self) -> Result<(), Failure> {
        let mut has_failed = false;
        for outcome in &self.outcomes {
            let CacheWritten { failures, ignored, .. } = &outcome.shared;
            for failure in ignored {
                self.say("warning", failure);
            }
            for failure in failures {
                self.say("error", failure);
            }
            has_failed |= !failures.is_empty();
        }
        if has_failed { Err(Failure::Reported(Exit::Cache)) } else { Ok(()) }
    }

    fn say(&self, level: &str, text: &str) {
        if self.json {
            let event = json!({ "event": "cache", "level": level, "message": text });
            diagnostics::print(&json_line(&event));
        } else {
            diagnostics::print(&format!("{level}: {text}"));
        }
    }

    /// Keeps `--annotation` with the images, so that a later `save` has it too.
    fn annotate(&mut self) -> Result<(), Failure> {
        if self.args.annotations.is_empty() {
            return Ok(());
        }
        for BuildOutcome { image, .. } in &mut self.outcomes {
            for annotation in &self.args.annotations {
                let has_it = annotation.targets.iter().any(|target| match target {
                    AnnotationTarget::Manifest(platform) => {
                        platform.as_ref().is_none_or(|platform| *platform == image.platform)
                    }
                    AnnotationTarget::Index => false,
                });
                if has_it {
                    image.annotations.insert(annotation.key.clone(), annotation.value.clone());
                }
            }
            let (_, config) = self.store.image_config(&image.id)?;
            self.store.put_image(image, &config)?;
        }
        Ok(self.store.flush()?)
    }

    /// Writes the outputs; returns what happened, and what the first archive or layout holds.
    fn export(
        &self,
        images: &[ImageRecord],
        names: &[Reference],
    ) -> Result<(Vec<String>, Option<Written>), Failure> {
        let export = Export { store: self.store, images, names, epoch: self.epoch };
        let (mut notes, mut first) = (Vec::new(), None);
        for output in &self.args.outputs {
            let Exported { note, written } =
                self.timings.measure("write an output", || match output.push {
                    true => self.push(images, output),
                    false => export.write(output),
                })?;
            notes.extend(note);
            first = first.or(written);
        }
        Ok((notes, first))
    }

    fn push(&self, images: &[ImageRecord], output: &Output) -> Result<Exported, Failure> {
        let names = push_names(self.args, output)?;
        let pushed = self.uploads.push(images, &names, output)?;
        let note = registry::describe(&names, &pushed);
        Ok(Exported { note: Some(note), written: Some(pushed.written) })
    }

    fn write_files(
        &self,
        images: &[ImageRecord],
        names: &[Reference],
        written: Option<&Written>,
    ) -> Result<(), Failure> {
        let write = |path: &Path, content: &[u8]| {
            aside::write(path, content).map_err(Failure::io(format!("cannot write {}", path.display())))
        };
        let top = || match written {
            Some(written) => Ok((written.manifest, written.manifest_size)),
            None => manifest(self.store, images, &ExportOptions::default())
                .map(|(bytes, digest)| (digest, bytes.len() as u64)),
        };
        if let Some(path) = &self.args.iidfile {
            // As buildx does: the image's ID, which several have not.
            let id = if let [image] = images { image.id } else { top()?.0 };
            write(path, id.to_string().as_bytes())?;
        }
        if let Some(path) = &self.args.metadata_file {
            let (digest, size) = top()?;
            write(path, &metadata(images, names, digest, size))?;
        }
        Ok(())
    }

    /// Says what was built. Standard output is left alone where an image itself goes there.
    fn tell(&self, names: &[Reference], notes: &[String]) -> Result<(), Failure> {
        let ids: Vec<_> = self.outcomes.iter().map(|outcome| outcome.image.id).collect();
        if self.json {
            self.outcomes.iter().for_each(|outcome| self.tell_event(names, outcome));
        }
        let to_stdout = self.args.outputs.iter().any(|output| output.destination == Destination::Stdout);
        if to_stdout {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        if self.args.quiet {
            ids.iter().try_for_each(|id| writeln!(out, "{id}"))?;
        } else if !self.json {
            out.write_all(self.summary(names, notes)?.as_bytes())?;
        }
        Ok(())
    }

    fn tell_event(&self, names: &[Reference], outcome: &BuildOutcome) {
        let names: Vec<String> = names.iter().map(Reference::to_string).collect();
        let BuildOutcome { image, executed, cached, .. } = outcome;
        let event = json!({
            "event": "built", "time": self.took.as_millis() as f64 / 1000.0,
            "image": image.id, "platform": image.platform.to_string(),
            "names": names, "executed": executed, "cached": cached,
        });
        diagnostics::print(&event.to_string());
    }

    fn summary(&self, names: &[Reference], notes: &[String]) -> Result<String, Failure> {
        let familiar: Vec<String> = names.iter().map(Reference::familiar).collect();
        let shown = if familiar.is_empty() { "none".to_owned() } else { familiar.join(", ") };
        let mut text = String::new();
        let mut sizes = String::new();
        for BuildOutcome { image, .. } in &self.outcomes {
            let of_several = self.outcomes.len() > 1;
            let platform = if of_several { format!(" ({})", image.platform) } else { String::new() };
            text += &format!("image  {}{platform}\n", image.id);
            let layers = count(image.layers.len(), "layer");
            sizes += &format!("size   {} in {layers}{platform}\n", Size::of_image(self.store, image)?);
        }
        let which = match (self.named_image(), names.is_empty() || self.outcomes.len() == 1) {
            (Some(image), false) => format!(", in the store the image for {}", image.platform),
            _ => String::new(),
        };
        text += &format!("name   {shown}{which}\n{sizes}");
        let sum = |part: fn(&BuildOutcome) -> usize| self.outcomes.iter().map(part).sum::<usize>();
        let (executed, cached) = (sum(|outcome| outcome.executed), sum(|outcome| outcome.cached));
        text += &format!("steps  {executed} run, {cached} cached, {}\n", units::duration(self.took));
        let (records, layers) = (sum(|outcome| outcome.shared.records), sum(|outcome| outcome.shared.layers));
        if records > 0 {
            let bytes = self.outcomes.iter().map(|outcome| outcome.shared.bytes).sum();
            let (records, layers) = (count(records, "record"), count(layers, "layer"));
            text += &format!("cache  {records} written, {layers} ({})\n", units::size(bytes));
        }
        for note in notes {
            text += &format!("{note}\n");
        }
        if let (true, [outcome]) = (self.args.outputs.is_empty(), &self.outcomes[..]) {
            let name = familiar.first().cloned().unwrap_or_else(|| outcome.image.id.short());
            text += &format!("\nTo load it into Docker: lbuild save {name} | docker load\n");
        }
        Ok(text)
    }
}

/// The keys that buildx writes, so far as they have a meaning here, of what was written, else of what an
/// archive would have: an image's manifest, or an index of several.
///
/// Source: <https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file>
fn metadata(images: &[ImageRecord], names: &[Reference], digest: Digest, size: u64) -> Vec<u8> {
    let all: Vec<String> = names.iter().map(Reference::to_string).collect();
    let media_type = if images.len() > 1 { MediaType::Index } else { MediaType::Manifest };
    let mut metadata = json!({
        "containerimage.digest": digest,
        "containerimage.descriptor": {
            "mediaType": media_type,
            "digest": digest,
            "size": size,
        },
        "image.name": all.join(","),
    });
    if let [image] = images {
        metadata["containerimage.config.digest"] = json!(image.id);
    }
    format!("{metadata:#}\n").into_bytes()
}

fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
