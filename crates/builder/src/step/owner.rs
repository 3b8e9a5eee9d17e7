//! Owners of what a step makes.

use crate::problem::Problem;
use crate::user::name_to_look_up;

/// Refuses a name as the owner that `what` gives, in a stage that has no files which could tell of it.
///
/// # Errors
/// The first name of `owner`, a `user[:group]`.
pub(crate) fn check_owner_on_scratch(what: &str, owner: &str) -> Result<(), Problem> {
    match name_to_look_up(owner) {
        None => Ok(()),
        Some(name) => Err(Problem::new(format!("{what}: {name:?} cannot be looked up on scratch"))
            .help("give ids as numbers: the stage has no files yet, so no passwd and group files either")),
    }
}
