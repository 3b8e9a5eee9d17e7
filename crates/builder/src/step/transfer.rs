//! COPY and ADD: files of a context, a stage, an image, the Dockerfile or the network.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use lbuild_archive::ArchiveError;
use lbuild_build_context::ContextError;
use lbuild_build_context::remote::redacted;
use lbuild_confined::Root;
use lbuild_layer_store::{ActiveSnapshot, PrepareOptions};
use lbuild_oci::{ChainId, DiffId, Digest};
use lbuild_parser::expand::Expander;
use lbuild_parser::{Add, Copy, Heredoc, Source, Span};
use serde_json::{Value, json};

use crate::BuildError;
use crate::context::Tree;
use crate::copy::{CopyError, CopyRequest, CopySource, ModeChange, PreparedCopy, Unpack, prepare};
use crate::download::{self, Download, DownloadFlags};
use crate::event::BuildEvent;
use crate::explain::ListedFile;
use crate::key::Key;
use crate::listing::check_owner_files;
use crate::plan::Origin;
use crate::problem::Problem;
use crate::solve::{Executed, Solver, Step, StepPlace};
use crate::state::StageState;
use crate::step::link::Landing;
use crate::user::{file_owner, is_numeric_owner};

/// A COPY or ADD with its words expanded.
struct Transfer {
    instruction: &'static str,
    origin: Origin,
    /// The origin's layers; `None` for a folder.
    layers: Option<Vec<DiffId>>,
    sources: Vec<Item>,
    /// The sources and the destination as they are written.
    words: Words,
    inline: Vec<(String, String)>,
    checksum: Option<String>,
    destination: String,
    owner: Option<String>,
    mode: Option<ModeChange>,
    exclude: Vec<String>,
    parents: bool,
    link: bool,
    unpack: Unpack,
}

/// Words of the instruction before their expansion.
#[derive(Default)]
struct Words {
    /// By what they expand to.
    sources: BTreeMap<String, String>,
    destination: String,
}

/// A source that is no heredoc.
enum Item {
    /// Files of the origin.
    Path(String),
    Remote(Download),
}

/// Applies a COPY.
///
/// # Errors
/// Words that cannot be expanded, sources that do not exist, files that cannot be written.
pub(crate) fn copy(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &mut StageState,
    copy: &Copy,
    origin: &Origin,
) -> Result<(), BuildError> {
    let layers = solver.build.contexts.layers(solver, origin)?;
    let transfer = || -> Result<Transfer, Problem> {
        let Sources { paths, inline, words } =
            expand_sources(solver, state, &copy.sources, &copy.destination)?;
        for path in &paths {
            if download::remote(path)?.is_some() {
                return Err(Problem::new(format!("COPY cannot copy from {path}"))
                    .help("ADD takes URLs and git repositories")
                    .about(words.source(path)));
            }
        }
        Ok(Transfer {
            instruction: "COPY",
            origin: origin.clone(),
            layers,
            sources: paths.into_iter().map(Item::Path).collect(),
            words,
            inline,
            checksum: None,
            destination: expand_word(solver, state, &copy.destination)?,
            owner: expand_option(solver, state, copy.chown.as_deref())?,
            mode: mode(solver, state, copy.chmod.as_deref())?,
            exclude: copy.exclude.clone(),
            parents: copy.parents,
            link: copy.link,
            unpack: Unpack::Never,
        })
    };
    let transfer = transfer().map_err(|problem| problem.at(place.span))?;
    apply(solver, place, state, transfer)
}

/// Applies an ADD.
///
/// # Errors
/// As [`copy`], and downloads that fail.
pub(crate) fn add(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &mut StageState,
    add: &Add,
) -> Result<(), BuildError> {
    let layers = solver.build.contexts.layers(solver, &Origin::Context)?;
    let transfer = || -> Result<Transfer, Problem> {
        let Sources { paths, inline, words } = expand_sources(solver, state, &add.sources, &add.destination)?;
        let checksum = expand_option(solver, state, add.checksum.as_deref())?;
        let flags = DownloadFlags { checksum: checksum.as_deref(), keep_git_dir: add.keep_git_dir };
        let sources = look(solver, place, paths, &words, flags)?;
        Ok(Transfer {
            instruction: "ADD",
            origin: Origin::Context,
            layers,
            sources,
            words,
            inline,
            checksum,
            destination: expand_word(solver, state, &add.destination)?,
            owner: expand_option(solver, state, add.chown.as_deref())?,
            mode: mode(solver, state, add.chmod.as_deref())?,
            exclude: add.exclude.clone(),
            parents: false,
            link: add.link,
            unpack: match add.unpack {
                None => Unpack::Local,
                Some(true) => Unpack::All,
                Some(false) => Unpack::Never,
            },
        })
    };
    let transfer = transfer().map_err(|problem| problem.at(place.span))?;
    apply(solver, place, state, transfer)
}

/// Makes all files of a folder the first layer of a stage.
///
/// # Errors
/// As [`copy`].
pub(crate) fn copy_whole(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &mut StageState,
    origin: &Origin,
) -> Result<(), BuildError> {
    let transfer = Transfer {
        instruction: "FROM",
        origin: origin.clone(),
        layers: None,
        sources: vec![Item::Path("/".to_owned())],
        words: Words::default(),
        inline: Vec::new(),
        checksum: None,
        destination: "/".to_owned(),
        owner: None,
        mode: None,
        exclude: Vec::new(),
        parents: false,
        link: false,
        unpack: Unpack::Never,
    };
    apply(solver, place, state, transfer)
}

/// Paths, inline files with their content, and the words that they were.
#[derive(Default)]
struct Sources {
    paths: Vec<String>,
    inline: Vec<(String, String)>,
    words: Words,
}

fn expand_sources(
    solver: &Solver<'_>,
    state: &StageState,
    sources: &[Source],
    destination: &str,
) -> Result<Sources, Problem> {
    let mut expanded = Sources::default();
    expanded.words.destination = destination.to_owned();
    for source in sources {
        match source {
            Source::Path(word, _) => {
                let path = expand_word(solver, state, word)?;
                expanded.words.sources.entry(path.clone()).or_insert_with(|| word.clone());
                expanded.paths.push(path);
            }
            Source::Heredoc(heredoc) => {
                expanded.inline.push((heredoc.name.clone(), expand_heredoc(state, heredoc)?));
            }
        }
    }
    Ok(expanded)
}

impl Words {
    /// The word that expands to `source`.
    fn source<'a>(&'a self, source: &'a str) -> &'a str {
        self.sources.get(source).map_or(source, String::as_str)
    }
}

/// A word, expanded; a problem is one of the word's.
fn expand_word(solver: &Solver<'_>, state: &StageState, word: &str) -> Result<String, Problem> {
    solver.expand(state, word).map_err(|problem| problem.about(word))
}

fn expand_heredoc(state: &StageState, heredoc: &Heredoc) -> Result<String, Problem> {
    if !heredoc.expand {
        return Ok(heredoc.content.clone());
    }
    let lookup = |name: &str| state.variable(name);
    Ok(Expander::heredoc(&lookup).word(&heredoc.content)?.text)
}

fn expand_option(
    solver: &Solver<'_>,
    state: &StageState,
    word: Option<&str>,
) -> Result<Option<String>, Problem> {
    let expanded = word.map(|word| expand_word(solver, state, word)).transpose()?;
    Ok(expanded.filter(|text| !text.is_empty()))
}

fn mode(solver: &Solver<'_>, state: &StageState, word: Option<&str>) -> Result<Option<ModeChange>, Problem> {
    let Some(text) = expand_option(solver, state, word)? else { return Ok(None) };
    let change = ModeChange::parse(&text).map_err(|error| {
        let problem = Problem::from(error);
        let problem = problem.help("write an octal number such as 0755, or a change such as u+x,go-w");
        problem.about(word.unwrap_or_default())
    })?;
    Ok(Some(change))
}

/// The sources of an ADD, and what the remote ones are.
fn look(
    solver: &Solver<'_>,
    place: StepPlace,
    sources: Vec<String>,
    words: &Words,
    flags: DownloadFlags<'_>,
) -> Result<Vec<Item>, Problem> {
    let items = sources
        .into_iter()
        .map(|source| {
            let about = |problem: Problem| problem.about(words.source(&source));
            let Some(remote) = download::remote(&source).map_err(about)? else {
                return Ok(Item::Path(source));
            };
            solver.emit(BuildEvent::Status(place.id, format!("looking at {}", redacted(&source))));
            Ok(Item::Remote(Download::look(solver, &source, remote, flags).map_err(about)?))
        })
        .collect::<Result<Vec<_>, Problem>>()?;
    if flags.checksum.is_some() && !matches!(items[..], [Item::Remote(_)]) {
        return Err(Problem::new("--checksum needs exactly one source, a URL or a git repository"));
    }
    Ok(items)
}

fn apply(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &mut StageState,
    mut transfer: Transfer,
) -> Result<(), BuildError> {
    let history = history(&transfer);
    let mut quick = quick_key(solver, place, state, &transfer)?;
    let shown = |key: Key, state: &StageState| Some(noted(key, state, &transfer));
    if let Some(quick) = &quick
        && let Some(record) = solver.look_up(place.stage, quick, &state.layers)
    {
        // The same sources by identity: their content need not be read.
        let shown = shown(base_key(solver, state, &transfer), state);
        let step = Step { place, key: quick.clone(), shown, history, files: None };
        solver.step_recorded(state, step, record);
        return Ok(());
    }
    if let (Some(quick), true) = (&quick, transfer.has_remote() && solver.is_frugal()) {
        // Nothing is fetched to find out what would run.
        let shown = shown(base_key(solver, state, &transfer), state);
        let step = Step { place, key: quick.clone(), shown, history, files: None };
        return solver.step(state, step, |_| Err::<ActiveSnapshot, _>(BuildError::Interrupted));
    }
    if transfer.has_remote() {
        transfer.fetch(solver, place).map_err(|problem| problem.at(place.span))?;
        // What a server gives may have changed since it was looked at.
        quick = quick_key(solver, place, state, &transfer)?;
    }
    let transfer = &transfer;
    let tree = solver.build.contexts.open(&transfer.origin, transfer.layers.as_deref())?;
    let failed = |error: CopyError| failed(error, transfer, place.span);
    let workdir = state.workdir();
    let spot = Spot { destination: &transfer.destination, workdir: &workdir, owner: None };
    let prepared = solver
        .timed(place.id, "list files", || prepared(solver, transfer, Some(&tree), &spot, Remotes::Included))
        .map_err(failed)?;
    let files = solver
        .timed(place.id, "digest files", || {
            prepared.digest(solver.build.contexts.memo(), &|| solver.build.cancel.is_cancelled())
        })
        .map_err(failed)?;
    let key = base_key(solver, state, transfer).with("files", files);
    let below = state.layers.clone();
    let list = |visit: &mut dyn FnMut(&ListedFile) -> io::Result<()>| {
        prepared.list(solver.build.contexts.memo(), visit, &|| solver.build.cancel.is_cancelled())
    };
    let shown = Some(noted(key.clone(), state, transfer));
    let step = || Step {
        place,
        key: key.clone(),
        shown: shown.clone(),
        history: history.clone(),
        files: Some(&list),
    };
    let execute = |active: ActiveSnapshot| {
        check_owner_files(&active, transfer.owner.as_deref().unwrap_or_default())?;
        let owner = owner(solver, active.root(), transfer).map_err(|problem| problem.at(place.span))?;
        write(solver, place, transfer, &prepared, owner, active)
    };
    if transfer.is_linked() {
        linked(solver, state, transfer, &tree, step())?;
    } else if transfer.unpack == Unpack::Never {
        solver.shallow_step(state, &step, &execute)?;
    } else {
        // An archive may link to files that are there.
        solver.step(state, step(), |state| execute(solver.whole_tree(&state.layers)?))?;
    }
    if let Some(quick) = quick {
        solver.alias(place.stage, &key, quick, &below);
    }
    Ok(())
}

/// A copy whose layer serves on any base: made in an empty tree, and kept under a key that knows of
/// the base only what the result depends on.
fn linked(
    solver: &Solver<'_>,
    state: &mut StageState,
    transfer: &Transfer,
    tree: &Tree<'_>,
    step: Step<'_>,
) -> Result<(), BuildError> {
    let (place, on_this_base) = (step.place, step.key.clone());
    // What is below does not decide what such a copy gives.
    let step = Step { shown: step.shown.map(|shown| shown.without("parent")), ..step };
    if let Some(record) = solver.look_up(place.stage, &on_this_base, &state.layers) {
        solver.step_recorded(state, step, record);
        return Ok(());
    }
    let at = |problem: Problem| problem.at(place.span);
    let look = |base: &Root| -> Result<_, BuildError> {
        let landing = Landing::find(base, &state.workdir(), &transfer.destination)
            .map_err(|error| at(Problem::from(error)))?;
        Ok((landing, owner(solver, base, transfer).map_err(at)?))
    };
    let named = transfer.owner.as_deref().unwrap_or_default();
    let hollow = solver.hollow_tree(&state.layers)?;
    let (landing, owner) = match hollow.filter(|active| check_owner_files(active, named).is_ok()) {
        Some(active) => look(active.root()),
        None => look(solver.whole_view(&state.layers)?.root()),
    }?;
    let workdir = state.workdir();
    let spot = Spot { destination: &landing.destination, workdir: &workdir, owner };
    let failed = |error: CopyError| failed(error, transfer, place.span);
    let prepared = prepared(solver, transfer, Some(tree), &spot, Remotes::Included).map_err(failed)?;
    let files = prepared
        .digest(solver.build.contexts.memo(), &|| solver.build.cancel.is_cancelled())
        .map_err(failed)?;
    let key = Key::new("linked copy", &[])
        .with("files", files)
        .with("landing", &landing)
        .with("source date epoch", solver.build.request.source_date_epoch);
    let below = state.layers.clone();
    let step = Step { key: key.clone(), ..step };
    solver.step_on(&[], state, step, |_| {
        let active = solver.build.store.prepare(&[], &PrepareOptions::default())?;
        landing.prepare(active.root()).map_err(|error| at(Problem::from(error)))?;
        write(solver, place, transfer, &prepared, owner, active)
    })?;
    solver.alias(place.stage, &key, on_this_base, &below);
    Ok(())
}

/// Where a copy goes and whose it is, names looked up.
#[derive(Clone, Copy)]
struct Spot<'a> {
    destination: &'a str,
    workdir: &'a str,
    owner: Option<(u32, u32)>,
}

/// Whether remote sources are part of a copy.
#[derive(Clone, Copy, PartialEq)]
enum Remotes {
    Included,
    LeftOut,
}

fn prepared<'a>(
    solver: &Solver<'_>,
    transfer: &'a Transfer,
    tree: Option<&'a Tree<'_>>,
    spot: &Spot<'a>,
    remotes: Remotes,
) -> Result<PreparedCopy<'a>, CopyError> {
    let sources = transfer.sources.iter().filter_map(|item| match item {
        Item::Path(path) => Some(CopySource::Tree { tree: tree?.source(), pattern: path.clone() }),
        Item::Remote(download) => download.source().filter(|_| remotes == Remotes::Included),
    });
    let inline = transfer.inline.iter().map(|(name, content)| CopySource::Inline {
        name: name.clone(),
        content: content.clone().into_bytes(),
    });
    prepare(CopyRequest {
        sources: sources.chain(inline).collect(),
        destination: spot.destination,
        workdir: spot.workdir.as_ref(),
        owner: spot.owner,
        mode: transfer.mode.clone(),
        exclude: &transfer.exclude,
        parents: transfer.parents,
        unpack: transfer.unpack,
        created_mtime: solver.build.request.source_date_epoch,
    })
    .map(|prepared| {
        let store = &solver.build.store;
        prepared.with_archive_limits(*store.archive_limits()).noting_devices(store.notes_devices())
    })
}

/// Copies what was listed. A result that holds other files than those listed is not recorded: the key
/// would be wrong.
fn write(
    solver: &Solver<'_>,
    place: StepPlace,
    transfer: &Transfer,
    prepared: &PreparedCopy<'_>,
    owner: Option<(u32, u32)>,
    active: ActiveSnapshot,
) -> Result<Executed, BuildError> {
    let report = prepared
        .apply_for(active.root(), owner, &|| solver.build.cancel.is_cancelled())
        .map_err(|error| failed(error, transfer, place.span))?;
    let is_recordable = solver.note_changed(report.changed.iter().map(PathBuf::as_path));
    Ok(Executed { active, is_recordable })
}

/// A key that needs no look into the sources: for those that come from layers or from elsewhere.
fn quick_key(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &StageState,
    transfer: &Transfer,
) -> Result<Option<Key>, BuildError> {
    let has_paths = transfer.sources.iter().any(|item| matches!(item, Item::Path(_)));
    let from = match &transfer.layers {
        Some(layers) => json!(ChainId::of(layers).map(|chain| chain.to_string())),
        None if !transfer.has_remote() => return Ok(None),
        None if !has_paths => Value::Null,
        None => {
            let tree = solver.build.contexts.open(&transfer.origin, None)?;
            let spot = Spot { destination: &transfer.destination, workdir: &state.workdir(), owner: None };
            let files = prepared(solver, transfer, Some(&tree), &spot, Remotes::LeftOut)
                .and_then(|prepared| {
                    prepared.digest(solver.build.contexts.memo(), &|| solver.build.cancel.is_cancelled())
                })
                .map_err(|error| failed(error, transfer, place.span))?;
            json!(files)
        }
    };
    let source = |item: &Item| match item {
        Item::Path(path) => json!({ "path": path }),
        Item::Remote(download) => json!({ "remote": download.identity() }),
    };
    let key = base_key(solver, state, transfer)
        .with("from", from)
        .with("sources", transfer.sources.iter().map(source).collect::<Vec<_>>())
        .with("inline", &transfer.inline)
        .with("exclude", &transfer.exclude)
        .with("parents", transfer.parents)
        .with("destination", &transfer.destination)
        .with("working directory", state.workdir())
        .with("mode", transfer.mode.as_ref().map(ModeChange::as_str))
        .with("unpack", format!("{:?}", transfer.unpack));
    Ok(Some(key))
}

fn base_key(solver: &Solver<'_>, state: &StageState, transfer: &Transfer) -> Key {
    Key::new("copy", &state.layers)
        .with("owner", &transfer.owner)
        .with("link", transfer.is_linked())
        .with("source date epoch", solver.build.request.source_date_epoch)
}

/// The key with what people know the copy by.
fn noted(key: Key, state: &StageState, transfer: &Transfer) -> Key {
    let source = |item: &Item| match item {
        Item::Path(path) => json!(path),
        Item::Remote(download) => json!(redacted(&download.url)),
    };
    let mut key = key
        .noting("its sources", transfer.sources.iter().map(source).collect::<Vec<_>>())
        .noting("its destination", &transfer.destination)
        .noting("working directory", state.workdir())
        .noting("--chmod", transfer.mode.as_ref().map(ModeChange::as_str))
        .noting("--exclude", &transfer.exclude);
    for (name, content) in &transfer.inline {
        key = key.noting(&format!("the text of <<{name}"), content);
    }
    for item in &transfer.sources {
        if let Item::Remote(download) = item {
            let name = format!("what is at {}", redacted(&download.url));
            key = key.noting(&name, Digest::of(download.identity()));
        }
    }
    key
}

/// The owner that `--chown` names, looked up in the image's own files.
fn owner(solver: &Solver<'_>, image: &Root, transfer: &Transfer) -> Result<Option<(u32, u32)>, Problem> {
    let Some(text) = &transfer.owner else { return Ok(None) };
    let (owner, unknown) = file_owner(image, text)?;
    if let (Some(name), false) = (unknown, is_numeric_owner(text)) {
        let note = format!("--chown={text}: the image does not know {name:?}; the files belong to root");
        solver.emit(BuildEvent::Note(note));
    }
    Ok(Some(owner))
}

/// The entry that `docker history` shows.
fn history(transfer: &Transfer) -> String {
    let mut text = transfer.instruction.to_owned();
    if transfer.parents {
        text.push_str(" --parents");
    }
    if let Some(owner) = &transfer.owner {
        text.push_str(&format!(" --chown={owner}"));
    }
    if let Some(mode) = &transfer.mode {
        text.push_str(&format!(" --chmod={}", mode.as_str()));
    }
    for item in &transfer.sources {
        let word = match item {
            Item::Path(path) => path.clone(),
            Item::Remote(download) => redacted(&download.url),
        };
        text.push_str(&format!(" {word}"));
    }
    for (name, _) in &transfer.inline {
        text.push_str(&format!(" <<{name}"));
    }
    text.push_str(&format!(" {}", transfer.destination));
    text
}

fn failed(error: CopyError, transfer: &Transfer, span: Span) -> BuildError {
    let help = match &error {
        CopyError::Interrupted => return BuildError::Interrupted,
        CopyError::FileOverDirectory { .. } => {
            Some("end the destination with / to copy into the directory".to_owned())
        }
        CopyError::DirectoryOverFile { .. } => {
            Some("choose another destination, or remove the file first".to_owned())
        }
        CopyError::Archive { source: ArchiveError::Limit { .. }, .. } => {
            Some("if you trust the archive, raise the limit with --archive-limit".to_owned())
        }
        CopyError::Source(_) => Some(match &transfer.origin {
            Origin::Context => {
                "sources are paths inside the build context, without what .dockerignore excludes".to_owned()
            }
            _ => "sources are paths inside what --from names".to_owned(),
        }),
        _ => None,
    };
    let word = concerned(&error, &transfer.words).map(str::to_owned);
    let mut problem = Problem::from(error);
    if let Some(help) = help {
        problem = problem.help(help);
    }
    if let Some(word) = word {
        problem = problem.about(word);
    }
    problem.at(span)
}

/// The word that an error is about.
fn concerned<'a>(error: &CopyError, words: &'a Words) -> Option<&'a str> {
    match error {
        CopyError::Source(
            ContextError::NotFound { pattern, .. } | ContextError::Wildcards { pattern, .. },
        ) => words.sources.get(pattern).map(String::as_str),
        CopyError::Archive { name, .. } => words.sources.get(name).map(String::as_str),
        CopyError::FileOverDirectory { .. } | CopyError::DirectoryOverFile { .. } => Some(&words.destination),
        _ => None,
    }
}

impl Transfer {
    /// Whether the layer is independent of what is below it. As in BuildKit, `--chmod` turns that off.
    fn is_linked(&self) -> bool {
        self.link && self.mode.is_none()
    }

    fn has_remote(&self) -> bool {
        self.sources.iter().any(|item| matches!(item, Item::Remote(_)))
    }

    /// Fetches the remote sources that are not here yet.
    fn fetch(&mut self, solver: &Solver<'_>, place: StepPlace) -> Result<(), Problem> {
        for item in &mut self.sources {
            if let Item::Remote(download) = item {
                solver.emit(BuildEvent::Status(place.id, format!("fetching {}", redacted(&download.url))));
                let fetched = download.fetch(solver, self.checksum.as_deref());
                fetched.map_err(|problem| problem.about(self.words.source(&download.url)))?;
            }
        }
        Ok(())
    }
}
