//! Steps that change files: RUN, COPY, ADD and WORKDIR.

mod agent;
mod attached;
mod command;
pub(crate) mod link;
pub(crate) mod mount;
mod owner;
pub(crate) mod run;
mod secret_search;
pub(crate) mod stubs;
pub(crate) mod surroundings;
pub(crate) mod transfer;
pub(crate) mod workdir;
