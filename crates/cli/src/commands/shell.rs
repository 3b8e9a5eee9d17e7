//! `lbuild shell`.

use lbuild_builder::{BuildError, Exit as Ended};
use lbuild_layer_store::Store;
use lbuild_oci::ImageConfig;

use super::find;
use super::history::{self, Step};
use crate::args::ShellArgs;
use crate::exit::Exit;
use crate::failure::{Failure, build_help};
use crate::signals::Watch;

/// Runs a shell or a command in an image's files, and exits as it does.
pub fn run(store: &Store, args: ShellArgs) -> Result<(), Failure> {
    let (name, step) = split(&args.image)?;
    let image = find(store, name)?;
    let (mut config, _) = store.image_config(&image.id)?;
    config.rootfs.diff_ids.clone_from(&image.layers);
    if let Some(number) = step {
        let steps = history::steps(store, &image)?;
        if number > steps.len() {
            return Err(Failure::new(Exit::Failed, format!("{name} has {} steps", steps.len()))
                .help("`lbuild history` lists them, the newest first"));
        }
        config = after(config, &steps, number);
    }
    let watch = Watch::new()?;
    watch.begin()?.give_keyboard_to_shell();
    match lbuild_builder::shell(store, config, args.command, watch.cancel()) {
        Ok(Ended::Code(0)) => Ok(()),
        Ok(Ended::Code(status)) => {
            Err(Failure::Reported(Exit::Program(u8::try_from(status).unwrap_or(u8::MAX))))
        }
        Ok(Ended::Signal(signal)) => Err(Failure::Reported(Exit::Signal(signal))),
        Err(BuildError::Interrupted) => Err(Failure::Reported(watch.exit().unwrap_or(Exit::Failed))),
        Err(error) => {
            let help = match &error {
                BuildError::Step { diagnostic, .. } => diagnostic.help.clone(),
                error => build_help(error),
            };
            Err(Failure::Error { exit: Exit::Failed, error: Box::new(error), help })
        }
    }
}

/// `IMAGE@STEP`. A digest also stands behind an `@`.
fn split(text: &str) -> Result<(&str, Option<usize>), Failure> {
    match text.rsplit_once('@') {
        Some((image, step)) if !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()) => {
            match step.parse() {
                Ok(0) | Err(_) => Err(Failure::usage(format!("{step} is no step: they count from 1"))),
                Ok(step) => Ok((image, Some(step))),
            }
        }
        _ => Ok((text, None)),
    }
}

/// The configuration after the first `count` steps. It is read back from what the history says of
/// them; what came before the history has the values of the whole image.
fn after(mut config: ImageConfig, steps: &[Step], count: usize) -> ImageConfig {
    let (done, later) = steps.split_at(count);
    config.rootfs.diff_ids = done.iter().filter_map(|step| step.layer).collect();
    let inside = &mut config.config;
    let names = |steps: &[Step]| -> Vec<(String, String)> { steps.iter().flat_map(variables).collect() };
    let (known, unknown) = (names(done), names(later));
    for (name, _) in &unknown {
        inside.env.retain(|entry| entry.split('=').next() != Some(name) || name == "PATH");
    }
    for (name, value) in &known {
        inside.env.retain(|entry| entry.split('=').next() != Some(name));
        inside.env.push(format!("{name}={value}"));
    }
    if later.iter().any(|step| argument(step, "USER").is_some()) {
        inside.user = last(done, "USER").unwrap_or_default();
    }
    if later.iter().any(|step| argument(step, "WORKDIR").is_some()) {
        inside.working_dir = last(done, "WORKDIR").unwrap_or_default();
    }
    if later.iter().any(|step| argument(step, "SHELL").is_some()) {
        inside.shell = None;
    }
    config
}

/// What the last of `steps` that is such an instruction says.
fn last(steps: &[Step], instruction: &str) -> Option<String> {
    steps.iter().rev().find_map(|step| argument(step, instruction)).map(str::to_owned)
}

/// What follows the instruction's name in the history, if it is such an instruction.
fn argument<'a>(step: &'a Step, instruction: &str) -> Option<&'a str> {
    let text = step.entry.created_by.as_deref()?;
    // Docker's classic builder writes them so.
    let text = text.strip_prefix("/bin/sh -c #(nop)").map_or(text, str::trim_start);
    Some(text.strip_prefix(instruction)?.strip_prefix(' ')?.trim())
}

/// The variables that a step sets. Values with blanks reach to the next `NAME=`.
fn variables(step: &Step) -> Vec<(String, String)> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    for word in argument(step, "ENV").unwrap_or_default().split(' ') {
        let is_name = |name: &str| {
            !name.is_empty()
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        };
        match (word.split_once('='), pairs.last_mut()) {
            (Some((name, value)), _) if is_name(name) => pairs.push((name.to_owned(), value.to_owned())),
            (_, Some((_, value))) => {
                value.push(' ');
                value.push_str(word);
            }
            _ => {}
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use lbuild_oci::{DiffId, Digest, History, Platform};

    use super::*;

    #[test]
    fn a_step_is_a_number_and_a_digest_is_none() {
        for (text, expected) in [
            ("app", Some(("app", None))),
            ("app:1@3", Some(("app:1", Some(3)))),
            ("app@sha256:12", Some(("app@sha256:12", None))),
            ("app@0", None),
        ] {
            assert_eq!(split(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn a_step_has_the_configuration_of_its_time() {
        let layer = |text: &str| Some(DiffId(Digest::of(text)));
        let step = |number, text: &str, layer| Step {
            number,
            entry: History { created_by: Some(text.to_owned()), ..History::default() },
            layer,
        };
        let steps = [
            step(1, "ADD rootfs /", layer("base")),
            step(2, "ENV A=1 B=two words", None),
            step(3, "/bin/sh -c #(nop) USER me", None),
            step(4, "WORKDIR /w", layer("w")),
            step(5, "ENV A=2 C=3", None),
            step(6, "USER root", None),
        ];
        let mut config = ImageConfig::scratch(&Platform::host());
        config.config.env = ["PATH=/bin", "A=2", "B=two words", "C=3"].map(str::to_owned).to_vec();
        config.config.user = "root".to_owned();
        config.config.working_dir = "/w".to_owned();
        let then = after(config.clone(), &steps, 3);
        assert_eq!(then.config.env, ["PATH=/bin", "A=1", "B=two words"]);
        assert_eq!((then.config.user.as_str(), then.config.working_dir.as_str()), ("me", ""));
        assert_eq!(then.rootfs.diff_ids, [layer("base").unwrap()]);
        let whole = after(config, &steps, 6);
        assert_eq!(whole.config.user, "root");
        assert_eq!(whole.rootfs.diff_ids.len(), 2);
    }
}
