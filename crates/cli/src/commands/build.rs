//! `lbuild build`.

mod inputs;
mod plan;
mod platforms;
mod request;
mod result;
mod ssh;

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lbuild_builder::{BuildError, BuildEvent, BuildOutcome, BuildRequest, Cancel, FailedStep};
use lbuild_layer_store::Store;
use lbuild_parser::Diagnostic;
use lbuild_registry::Client;
use lbuild_runner::Standing;
use serde_json::json;

use super::prune;
use crate::args::{BuildArgs, CacheTarget, GlobalArgs, OnFailure, ProgressStyle, Pull};
use crate::call::Method;
use crate::contexts::Contexts;
use crate::diagnostics::{self, Source, Style};
use crate::failure::{self, Failure, build_exit};
use crate::fetch::Fetch;
use crate::images::Images;
use crate::output::{Destination, Form, Output};
use crate::progress::Progress;
use crate::signals::{Interruption, Watch};
use crate::text::json_line;
use crate::timings::Timings;
use crate::uploads::Uploads;
use crate::{cache, export, registry, root, subject};
use inputs::Inputs;
use result::Delivery;
use ssh::SshAgents;

/// How often a build that meets damage in the store begins again: each time, less is left of it.
const MOST_DAMAGE: usize = 8;

/// Builds an image, names it, and takes it where the options say.
pub fn run(global: &GlobalArgs, args: BuildArgs) -> Result<(), Failure> {
    let timings = Timings::start();
    let path = args.timings.clone();
    let json = args.progress == ProgressStyle::Rawjson && !args.quiet;
    let result = build(global, args, &timings);
    let result = match path {
        // Of a build that failed too.
        Some(path) => result.and(timings.write(&path)),
        None => result,
    };
    if json { result.map_err(Failure::told_as_json) } else { result }
}

fn build(global: &GlobalArgs, mut args: BuildArgs, timings: &Timings) -> Result<(), Failure> {
    if args.ignored.squash {
        return Err(Failure::usage("--squash is not there").help(
            "for an image of one layer, end the Dockerfile with a stage FROM scratch that has COPY --from=STAGE / /",
        ));
    }
    args.quiet |= args.progress == ProgressStyle::Quiet;
    if args.load {
        args.outputs.push(Output::new(Form::Load, Destination::None));
    }
    if args.push {
        args.outputs.push(Output { push: true, ..Output::new(Form::Image, Destination::None) });
    }
    platforms::settle(&mut args);
    let call = args.call();
    if call.method == Method::Build {
        export::check(&args.outputs, args.platforms.len())?;
        result::check(&args)?;
    }
    let fetch = Arc::new(Fetch::default());
    let store = timings.measure("open the store", || root::open_with(global, Arc::clone(&fetch)))?;
    let agents = SshAgents::start(&args.ssh, &store)?;
    let watch = Watch::new()?;
    fetch.heed(watch.cancel());
    let contexts = Contexts {
        store: &store,
        secrets: args.secrets.iter().cloned().collect(),
        ssh: agents.sockets(),
        watch: &watch,
        tells: !args.quiet && args.progress != ProgressStyle::Rawjson,
    };
    let gathered = timings.measure("read the inputs", || gather(&contexts, &args));
    let (requests, source) = gathered.map_err(|failure| match watch.exit() {
        Some(exit) => {
            diagnostics::print("error: the build was interrupted");
            Failure::Reported(exit)
        }
        None => failure,
    })?;
    if call.method != Method::Build {
        return requests.first().map_or(Ok(()), |request| call.answer(&store, request, &source));
    }
    tell_how_runs_are_kept(global, &args)?;
    tell_what_has_no_effect(&args, requests.iter().any(|request| request.carries_cache));

    let interruption = watch.begin()?;
    let style = if args.quiet { ProgressStyle::Quiet } else { args.progress };
    if args.plan {
        return requests.iter().try_for_each(|request| {
            let heading = platforms::heading(&requests, request).filter(|_| !args.json);
            plan::run(&store, request, &source, watch.cancel(), args.json, heading)
        });
    }
    let attempt = Attempt {
        store: &store,
        requests: &requests,
        source: &source,
        args: &args,
        watch: &watch,
        fetch: &fetch,
        timings,
    };
    for _ in 0..MOST_DAMAGE {
        match attempt.run(style, interruption) {
            Err(_) if interruption.exit().is_none() && attempt.is_mended_by_another() => {}
            ended => return ended,
        }
    }
    attempt.run(style, interruption)
}

/// A build, with what becomes of its image, or of its image for each platform.
struct Attempt<'a> {
    store: &'a Store,
    requests: &'a [BuildRequest],
    source: &'a Source,
    args: &'a BuildArgs,
    watch: &'a Watch,
    fetch: &'a Fetch,
    timings: &'a Timings,
}

/// What was built of a request.
struct Built {
    outcome: BuildOutcome,
    took: Duration,
}

impl Attempt<'_> {
    fn run(&self, style: ProgressStyle, interruption: &Interruption) -> Result<(), Failure> {
        let Self { store, requests, source, args, watch, timings, .. } = *self;
        let json = style == ProgressStyle::Rawjson;
        let uploads = Uploads::new(store, result::push_targets(args)?, watch.cancel())?;
        let (mut outcomes, mut took) = (Vec::new(), Duration::ZERO);
        for request in requests {
            if let Some(heading) = platforms::heading(requests, request)
                && !json
                && style != ProgressStyle::Quiet
            {
                diagnostics::print(&heading);
            }
            let built = self.build(request, style, interruption, &uploads)?;
            outcomes.push(built.outcome);
            took += built.took;
        }
        if !wants_shell(args) {
            interruption.end();
        }
        if interruption.exit().is_some() {
            return Err(failed(source, &BuildError::Interrupted, json, interruption));
        }
        let epoch = requests.first().and_then(|request| request.source_date_epoch);
        let has_run = outcomes.iter().any(|outcome| outcome.executed > 0);
        let uploads = &uploads;
        Delivery { store, args, outcomes, epoch, took, json, uploads, timings }.deliver()?;
        if has_run {
            prune::apply_policy(store);
        }
        Ok(())
    }

    /// Builds one image, and tells of it what there is to tell before it is delivered.
    fn build(
        &self,
        request: &BuildRequest,
        style: ProgressStyle,
        interruption: &Interruption,
        uploads: &Uploads<'_>,
    ) -> Result<Built, Failure> {
        let Self { store, source, args, watch, fetch, timings, .. } = *self;
        let progress = Arc::new(Progress::start(style, args.explain));
        let shows = Arc::clone(&progress);
        fetch.tell_with(move |text| shows.event(BuildEvent::Note(text)));
        let failed_step = Mutex::new(None);
        let keeps = wants_shell(args).then_some(&failed_step);
        let events = |event| {
            timings.event(&event);
            if let BuildEvent::Layer(layer) = event {
                uploads.add(layer);
            }
            progress.event(event);
        };
        let built = std::thread::scope(|scope| {
            uploads.beside(scope, || {
                lbuild_builder::build_or_keep(store, request, &events, watch.cancel(), keeps)
            })
        });
        let warnings = progress.finish();
        if style != ProgressStyle::Quiet && !progress.is_json() {
            fetch.tell_with(|text| diagnostics::print(&text));
        }
        if !args.quiet {
            tell_warnings(source, &warnings, progress.is_json());
        }
        built.map(|outcome| Built { outcome, took: progress.elapsed() }).map_err(|error| {
            if keeps.is_none() {
                interruption.end();
            }
            let failure = failed(source, &error, progress.is_json(), interruption);
            let step = failed_step.lock().unwrap_or_else(PoisonError::into_inner).take();
            match (step, interruption.exit()) {
                (Some(step), None) => look_into(step, interruption).err().unwrap_or(failure),
                _ => failure,
            }
        })
    }
    /// Tells what was found damaged while the image was written; whether a build makes it again and the
    /// image can be written from its start.
    fn is_mended_by_another(&self) -> bool {
        let Self { store, args, .. } = self;
        let is_json = args.progress == ProgressStyle::Rawjson;
        let damage = store.take_damage();
        for one in &damage {
            let text = format!("{one}; what it held is built again");
            diagnostics::print(&match is_json {
                true => json_line(&json!({ "event": "note", "text": text })),
                false => format!("note: {text}"),
            });
        }
        let to_stdout = args.outputs.iter().any(|output| output.destination == Destination::Stdout);
        !damage.is_empty() && !to_stdout
    }
}

fn tell_warnings(source: &Source, warnings: &[Diagnostic], json: bool) {
    for warning in warnings {
        diagnostics::print(&match json {
            true => json_line(&json!({ "event": "warning", "diagnostic": source.json(warning) })),
            false => format!("{}\n", source.render(warning, &Style::of_stderr())),
        });
    }
}

/// Whether a RUN that fails is to be looked into, and can be.
fn wants_shell(args: &BuildArgs) -> bool {
    args.on_failure == Some(OnFailure::Shell) && io::stdin().is_terminal()
}

/// A shell in a failed step.
fn look_into(step: FailedStep, interruption: &Interruption) -> Result<(), Failure> {
    diagnostics::print(
        "\nThis is a shell in the failed step, as it left its files. What it changes is thrown away; \
         `exit` ends it.",
    );
    let cancel = Cancel::new().map_err(Failure::io("cannot prepare a shell"))?;
    interruption.give_keyboard_to_shell();
    let ended = step.shell(&cancel);
    interruption.end();
    if let Err(error) = ended {
        diagnostics::print_error(&error, Some("the image has no such shell; SHELL names another one"));
    }
    Ok(())
}

/// Reads and fetches all that the build is asked for, for each platform.
fn gather(contexts: &Contexts<'_>, args: &BuildArgs) -> Result<(Vec<BuildRequest>, Source), Failure> {
    let Inputs { dockerfile, context } = inputs::read(contexts, args)?;
    let source = Source::new(&dockerfile.name, &dockerfile.content);
    let subject = subject::of(&args.path, &dockerfile);
    let request = BuildRequest {
        subject,
        keep_builds: subject::keep_builds()?,
        context,
        ssh: contexts.ssh.clone(),
        images: Some(Arc::new(images(contexts, args)?)),
        shared_cache: cache::of_build(
            &args.cache_from,
            &args.cache_to,
            &|| Ok(registry::client(Some(contexts.watch.cancel()))?),
            // The steps of a build that failed later are written all the same.
            &|| Ok(Client::new(contexts.watch.was_interrupted())?),
        )?,
        needs_layers: args.outputs.iter().any(needs_layers),
        ..request::new(args, dockerfile)?
    };
    Ok((platforms::requests(&request, contexts, args)?, source))
}

fn images(contexts: &Contexts<'_>, args: &BuildArgs) -> Result<Images, Failure> {
    let pull = args.pull.unwrap_or(Pull::Missing);
    Images::new(&args.image_sources, pull, contexts.watch.cancel(), contexts.tells)
}

/// Whether an output needs every byte of the image.
fn needs_layers(output: &Output) -> bool {
    output.form == Form::Load || output.destination != Destination::None
}

/// Tells why the build failed, in the file where that is.
fn failed(source: &Source, error: &BuildError, json: bool, interruption: &Interruption) -> Failure {
    if json {
        diagnostics::print(&json_line(&source.error_json(error)));
        let exit = interruption.exit().unwrap_or_else(|| build_exit(error));
        return Failure::Reported(exit);
    }
    if let (BuildError::Interrupted, Some(exit)) = (error, interruption.exit()) {
        diagnostics::print("error: the build was interrupted; finished steps are in the cache");
        return Failure::Reported(exit);
    }
    failure::tell(source, error)
}

/// Tells where a build is less than what it would be with more rights.
fn tell_how_runs_are_kept(global: &GlobalArgs, args: &BuildArgs) -> Result<(), Failure> {
    let note = match root::standing(global)? {
        Standing::Root | Standing::ManyIds => return Ok(()),
        Standing::SingleId => {
            "there are no subordinate ids here: other owners of files are remembered, not real (see `lbuild doctor`)"
        }
        Standing::Bare => {
            "neither namespaces nor mounts are allowed here: a RUN is kept apart by chroot alone (see `lbuild \
             doctor`)"
        }
    };
    if !args.quiet && args.progress != ProgressStyle::Rawjson {
        diagnostics::print(&format!("note: {note}"));
    }
    Ok(())
}

fn tell_what_has_no_effect(args: &BuildArgs, carries_cache: bool) {
    if args.quiet || args.progress == ProgressStyle::Rawjson {
        return;
    }
    for option in args.ignored.without_effect() {
        diagnostics::print(&format!("note: {option} has no effect here"));
    }
    if args.on_failure == Some(OnFailure::Shell) && !io::stdin().is_terminal() {
        diagnostics::print("note: --on-failure=shell has no effect: standard input is not a terminal");
    }
    if args.cache_to.contains(&CacheTarget::Inline { is_max: true }) {
        diagnostics::print(
            "note: mode=max has no effect with type=inline: an image has the layers of its own steps alone",
        );
    }
    let is_flat = |output: &Output| matches!(output.form, Form::Tar | Form::Local);
    if carries_cache && !args.outputs.is_empty() && args.outputs.iter().all(is_flat) {
        diagnostics::print(
            "note: files carry no cache, as --cache-to=type=inline asks for; the image in the store does",
        );
    }
}
