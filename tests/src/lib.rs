//! The bed of the end-to-end tests: a store, a context and the `lbuild` binary, the images that it
//! makes read by other code than its own, and a real Docker.
//!
//! Everything here panics where something is not as it should be: that is how a test fails.

#![allow(clippy::unwrap_used, reason = "a test bed fails by panicking")]

mod base;
mod bed;
mod connect_proxy;
mod docker;
mod fault_proxy;
mod fixtures;
mod gate;
mod git;
mod image;
mod kubernetes;
mod leftovers;
mod person;
mod podman;
mod programs;
mod registry;
mod run;
mod shared_bed;
mod terminal;
mod token_server;

pub use base::{BaseImage, entry};
pub use bed::TestBed;
pub use connect_proxy::ConnectProxy;
pub use docker::Docker;
pub use fault_proxy::{Fault, FaultProxy, Seen};
pub use fixtures::{debian_rootfs, host_rootfs, lbuild_binary, static_lbuild, workspace};
pub use gate::{Gate, Waiting};
pub use git::{GitServer, add_gitlink, commit};
pub use image::{Entry, Image, Layer, sha256};
pub use kubernetes::Node;
pub use leftovers::Leftovers;
pub use person::Person;
pub use podman::Podman;
pub use programs::{install_program, programs_layer, write_program};
pub use registry::{PASSWORD, Registry, RegistryOptions, USER, certificates};
pub use run::{Run, Running, wait_until};
pub use shared_bed::SharedBed;
pub use terminal::Terminal;
pub use token_server::TokenServer;
