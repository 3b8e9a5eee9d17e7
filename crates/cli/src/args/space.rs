//! The arguments of the commands about the store itself and its disk space.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::cache::CachePruneArgs;
use crate::units;

/// `lbuild prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Also forget steps of recent builds, and images without a name
    #[arg(short, long)]
    pub all: bool,
    /// Keep what builds used within this time [default: 7d, none with --all or a limit]
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    pub keep_duration: Option<Duration>,
    /// Forget steps, the longest unused first, only until the store takes at most this much
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size, visible_alias = "max-used-space")]
    pub keep_storage: Option<u64>,
    /// Forget steps only until the disk has this much free
    #[arg(long, value_name = "SIZE", value_parser = units::parse_size, visible_alias = "min-free-space")]
    pub min_free: Option<u64>,
    /// until=TIME is --keep-duration TIME, as Docker says it
    #[arg(long, value_name = "until=TIME", value_parser = until, conflicts_with = "keep_duration")]
    pub filter: Option<Duration>,
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// For scripts written for Docker: nothing is asked anyway
    #[arg(short, long, hide = true)]
    pub force: bool,
}

/// `lbuild df`.
#[derive(Debug, Args)]
pub struct DfArgs {
    /// Also list each image and cache mount
    #[arg(short, long)]
    pub verbose: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lbuild store`.
#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Verify everything in the store; status 1 if something is damaged
    Check(StoreCheckArgs),
}

/// `lbuild store check`.
#[derive(Debug, Args)]
pub struct StoreCheckArgs {
    /// Move what is damaged to the store's quarantine; builds make it again
    #[arg(long)]
    pub repair: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

/// `lbuild cache`.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List cache mounts
    Ls(CacheLsArgs),
    /// Write a cache mount to an archive
    Export(CacheExportArgs),
    /// Fill a cache mount from an archive
    Import(CacheImportArgs),
    /// Remove old records of a cache that machines share
    Prune(CachePruneArgs),
}

/// `lbuild cache ls`.
#[derive(Debug, Args)]
pub struct CacheLsArgs {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// `lbuild cache export`.
#[derive(Debug, Args)]
pub struct CacheExportArgs {
    /// The id of the RUN --mount, its target by default
    pub id: String,
    /// The file; compressed if its name ends with .zst; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
}

/// `lbuild cache import`.
#[derive(Debug, Args)]
pub struct CacheImportArgs {
    /// The id of the RUN --mount, its target by default
    pub id: String,
    /// The archive
    pub file: PathBuf,
}

fn until(text: &str) -> Result<Duration, String> {
    let time = text.strip_prefix("until=").ok_or("the only filter is until=TIME, such as until=24h")?;
    units::parse_duration(time)
}
