//! COPY and ADD: files of a context, a stage, an image, the Dockerfile or the network.

mod failure;
mod key;
mod words;

use std::io;
use std::path::PathBuf;

use lbuild_build_context::remote::redacted;
use lbuild_confined::Root;
use lbuild_layer_store::{ActiveSnapshot, PrepareOptions};
use lbuild_oci::DiffId;
use lbuild_parser::{Add, Copy};

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
use crate::step::owner::check_owner_on_scratch;
use crate::user::{file_owner, is_numeric_owner};
use failure::failed;
use key::{base_key, keys, noted, quick_key};
use words::{Sources, Words, expand_option, expand_sources, expand_word, mode};

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
    if state.layers.is_empty() {
        let owner = transfer.owner.as_deref().unwrap_or_default();
        check_owner_on_scratch("--chown", owner).map_err(|problem| problem.at(place.span))?;
    }
    let history = transfer.history();
    let mut quick = quick_key(solver, place, state, &transfer)?;
    let shown = |key: Key, state: &StageState| Some(noted(key, state, &transfer));
    if let Some(quick) = &quick
        && let Some(record) = solver.look_up(place.stage, quick, &state.layers)
    {
        // The same sources by identity: their content need not be read.
        let base = base_key(solver, state, &transfer);
        let by_files = record.files.map(|files| base.clone().with("files", files));
        let found_by = keys(Some(quick), by_files.as_ref());
        let shown = shown(base, state);
        let step = Step { place, key: quick.clone(), shown, history, files: None, found_by };
        solver.step_recorded(state, step, record);
        return Ok(());
    }
    if let (Some(quick), true) = (&quick, transfer.has_remote() && solver.is_frugal()) {
        // Nothing is fetched to find out what would run.
        let shown = shown(base_key(solver, state, &transfer), state);
        let found_by = Vec::new();
        let step = Step { place, key: quick.clone(), shown, history, files: None, found_by };
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
        found_by: keys(quick.as_ref(), Some(&key)),
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

impl Transfer {
    /// The entry that `docker history` shows.
    fn history(&self) -> String {
        let mut text = self.instruction.to_owned();
        if self.parents {
            text.push_str(" --parents");
        }
        if let Some(owner) = &self.owner {
            text.push_str(&format!(" --chown={owner}"));
        }
        if let Some(mode) = &self.mode {
            text.push_str(&format!(" --chmod={}", mode.as_str()));
        }
        for item in &self.sources {
            let word = match item {
                Item::Path(path) => path.clone(),
                Item::Remote(download) => redacted(&download.url),
            };
            text.push_str(&format!(" {word}"));
        }
        for (name, _) in &self.inline {
            text.push_str(&format!(" <<{name}"));
        }
        text.push_str(&format!(" {}", self.destination));
        text
    }

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
