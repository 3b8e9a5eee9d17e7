//! The `lbuild` command as a user sees it, on real root file systems.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod against_docker;
mod archives;
mod cache;
mod cache_mounts;
mod calls;
mod cases;
mod commands;
mod containers;
mod contexts;
mod crate_graph;
mod cut_off;
mod explain;
mod failures;
mod instructions;
mod language;
mod local_images;
mod looking_in;
mod many_layers;
mod one_store;
mod other_tools;
mod outputs;
mod pinned;
mod places;
mod platforms;
mod pruning;
mod registries;
mod reproducible;
mod rootless;
mod schemas;
mod shared_cache;
mod side_by_side;
mod store;
mod traps;
mod usage;
