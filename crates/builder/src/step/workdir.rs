//! WORKDIR: the directory is made if it does not exist, and then the step has a layer.

use std::io;
use std::path::Path;

use lbuild_layer_store::ActiveSnapshot;
use rustix::fs::{AtFlags, Gid, Mode, Uid, chownat};
use rustix::io::Errno;

use crate::BuildError;
use crate::key::Key;
use crate::listing::check_owner_files;
use crate::path::absolute;
use crate::problem::Problem;
use crate::solve::{Solver, Step, StepPlace};
use crate::state::StageState;
use crate::step::owner::check_owner_on_scratch;
use crate::user::file_owner;

/// Applies a WORKDIR.
///
/// # Errors
/// A path that cannot be expanded, or leads through something that is no directory.
pub(crate) fn workdir(
    solver: &Solver<'_>,
    place: StepPlace,
    state: &mut StageState,
    word: &str,
) -> Result<(), BuildError> {
    let path = solver.expand(state, word).map_err(|problem| problem.about(word).at(place.span))?;
    let directory = absolute(&state.workdir(), &path);
    // An absolute path is kept as it was written, as by Docker.
    let written = if path.starts_with('/') { path } else { directory.clone() };
    state.image.config.working_dir.clone_from(&written);
    state.has_workdir = true;
    let user = state.image.config.user.clone();
    if state.layers.is_empty() && directory != "/" {
        let what = format!("the USER that {directory} belongs to");
        check_owner_on_scratch(&what, &user).map_err(|problem| problem.at(place.span))?;
    }
    let mut key = Key::new("workdir", &state.layers)
        .with("path", &directory)
        .with("source date epoch", solver.build.request.source_date_epoch);
    if !user.is_empty() {
        key = key.with("user", &user);
    }
    let history = format!("WORKDIR {written}");
    let step = || Step {
        place,
        key: key.clone(),
        shown: None,
        history: history.clone(),
        files: None,
        found_by: Vec::new(),
    };
    solver.shallow_step(state, &step, &|active| {
        check_owner_files(&active, &user)?;
        make(&active, Path::new(&directory), &user).map_err(|problem| problem.about(word).at(place.span))?;
        Ok(active.into())
    })
}

/// Makes the directory and its missing parents; they belong to `user`, as in BuildKit.
fn make(active: &ActiveSnapshot, directory: &Path, user: &str) -> Result<(), Problem> {
    let made = active
        .root()
        .create_dir_all(directory, Mode::from(0o755))
        .map_err(|error| not_made(directory, error))?;
    if made.is_empty() || user.is_empty() {
        return Ok(());
    }
    let ((uid, gid), _) = file_owner(active.root(), user)?;
    for path in made {
        let entry = active.root().locate(&path)?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        chownat(&entry.parent, &entry.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(io::Error::from)?;
    }
    Ok(())
}

fn not_made(directory: &Path, error: io::Error) -> Problem {
    let help = match Errno::from_io_error(&error) {
        Some(Errno::NOTDIR | Errno::EXIST) => Some("a part of the path exists and is no directory"),
        Some(Errno::LOOP) => Some("a symbolic link in the path leads in a circle"),
        _ => None,
    };
    let problem =
        Problem::because(format!("cannot make the working directory {}", directory.display()), error);
    help.into_iter().fold(problem, Problem::help)
}
