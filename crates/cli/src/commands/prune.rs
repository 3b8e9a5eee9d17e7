//! `lbuild prune`.

use std::io::{self, Write};

use lbuild_layer_store::{PruneOptions, PruneReport, Removed, Store};

use crate::args::PruneArgs;
use crate::config::Config;
use crate::failure::Failure;
use crate::units;

/// Removes what nothing uses, and prints how much that was.
pub fn run(store: &Store, args: &PruneArgs) -> Result<(), Failure> {
    let report = store.prune(&PruneOptions {
        all: args.all,
        untagged: args.all,
        keep_duration: args.keep_duration.or(args.filter),
        keep_storage: args.keep_storage,
        min_free: args.min_free,
        dry_run: args.dry_run,
    })?;
    let mut out = io::stdout().lock();
    out.write_all(describe(&report, args.dry_run).as_bytes())?;
    Ok(())
}

/// Prunes as the configuration file says, after a build that added to the store. The build is no worse for
/// what goes wrong.
pub fn apply_policy(store: &Store) {
    let pruned = Config::read().and_then(|config| {
        let options = config.prune.options().map_err(Failure::usage)?;
        Ok(options.map(|options| store.prune(&options)).transpose()?)
    });
    if let Err(failure) = pruned {
        failure.during("cannot prune as the configuration says").warn();
    }
}

fn describe(report: &PruneReport, dry_run: bool) -> String {
    let mut text = String::new();
    for (what, Removed { count, bytes }) in [
        ("images", report.images),
        ("cached steps", report.cache_records),
        ("cache mounts", report.cache_mounts),
        ("layers", report.layers),
        ("unpacked layers", report.snapshots),
        ("blobs", report.blobs),
        ("leftovers", report.leftovers),
        ("builds", report.builds),
    ] {
        if count > 0 {
            text += &format!("{what:<16} {count:>6}   {}\n", units::size(bytes));
        }
    }
    let verb = if dry_run { "Would free" } else { "Freed" };
    text + &format!("{verb} {}\n", units::size(report.total().bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_names_what_went_and_its_sum() {
        let removed = |count, bytes| Removed { count, bytes };
        let report = PruneReport {
            images: removed(1, 500),
            cache_records: removed(2, 0),
            cache_mounts: removed(3, 0),
            layers: removed(4, 0),
            snapshots: removed(5, 3_000_000),
            blobs: removed(6, 0),
            leftovers: removed(7, 0),
            builds: removed(8, 0),
        };
        let expected = "images                1   500 B\n\
                        cached steps          2   0 B\n\
                        cache mounts          3   0 B\n\
                        layers                4   0 B\n\
                        unpacked layers       5   3.0 MB\n\
                        blobs                 6   0 B\n\
                        leftovers             7   0 B\n\
                        builds                8   0 B\n\
                        Freed 3.0 MB\n";
        assert_eq!(describe(&report, false), expected);
        assert_eq!(describe(&PruneReport::default(), true), "Would free 0 B\n");
    }
}
