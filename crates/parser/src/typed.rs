//! What instructions mean: flags and arguments are checked and become the public types.
//!
//! This is the layer that BuildKit calls `instructions`.

mod arguments;
mod csv;
mod file;
mod files;
mod flags;
mod from;
mod health;
mod mount;
mod onbuild;
mod run;
mod step;

pub(crate) use file::dockerfile;
pub(crate) use step::single_step;
