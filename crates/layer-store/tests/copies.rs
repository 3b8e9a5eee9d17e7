//! Steps in copies of their layers give the layers that overlays give.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Bed, run};
use lbuild_layer_store::{CommitOptions, StoreOptions, Trees};
use lbuild_oci::DiffId;

/// What lies below.
const BASE: &str = "mkdir -p d/sub e; echo a > d/a; echo b > d/b; echo c > d/sub/c; ln -s a d/link; \
    mkfifo pipe; chmod 4711 d/b; echo hole > f; chmod 700 e";

/// What a step may do to it.
const STEPS: [&str; 14] = [
    "echo new > new; mkdir -p x/y; echo z > x/y/z",
    "echo more >> d/a",
    "rm d/b",
    "rm -r d",
    "rm -r d; mkdir d; echo other > d/a",
    "rm -r d; echo file > d",
    "rm f; mkdir f; echo in > f/in",
    "mv d/a d/moved; mv d/sub e/sub",
    "chmod 600 d/b; chown 7:8 d/b d/sub; chown -h 9:10 d/link",
    "ln -sfn b d/link; rm pipe; mkfifo pipe2",
    "ln d/b e/b; ln f e/f",
    "exec 3<>d/a; cat <&3 > /dev/null",
    "touch d/made; rm d/made",
    "mv d old; mv e d; mv old e",
];

fn bed(trees: Trees) -> Bed {
    Bed::of(StoreOptions { trees, userxattr: trees == Trees::Copies, ..StoreOptions::default() })
}

/// Runs `script` on `layers`; `None` if it changed nothing.
fn step(bed: &Bed, layers: &[DiffId], script: &str) -> Option<DiffId> {
    let active = bed.prepare(layers);
    run(active.root(), script);
    let options = CommitOptions { latest_mtime: Some(1_700_000_000) };
    bed.store.commit(active, &options).unwrap().map(|layer| layer.diff_id)
}

#[test]
fn a_step_in_a_copy_gives_the_layer_that_an_overlay_gives() {
    let [overlays, copies] = [Trees::Overlays, Trees::Copies].map(bed);
    assert!(copies.store.copies() && !overlays.store.copies());
    let base = step(&overlays, &[], BASE).unwrap();
    assert_eq!(step(&copies, &[], BASE), Some(base));
    for script in STEPS {
        let expected = step(&overlays, &[base], script);
        assert_eq!(step(&copies, &[base], script), expected, "{script}");
        // And on top of that, where the layers below are two.
        if let Some(expected) = expected {
            let last = "echo last > last; chmod 711 .; ls -R > list; rm -rf f; touch g";
            let both = [&overlays, &copies].map(|bed| step(bed, &[base, expected], last));
            assert_eq!(both[1], both[0], "after {script}");
        }
    }
}

#[test]
fn a_copy_is_no_way_to_the_layers_below() {
    let bed = bed(Trees::Copies);
    let base = step(&bed, &[], BASE).unwrap();
    step(&bed, &[base], "echo changed > d/a; chmod 777 d/b; rm f");
    let seen = bed.prepare(&[base]);
    run(seen.root(), r#"test "$(cat d/a)" = a && test "$(stat -c %a d/b)" = 4711 && test "$(cat f)" = hole"#);
    drop(seen);
    // What was not committed is gone.
    let dropped = bed.prepare(&[base]);
    run(dropped.root(), "echo lost > lost");
    drop(dropped);
    run(bed.prepare(&[base]).root(), "test ! -e lost");
}

/// Overlays part hard links when one of them is written to; a file in a copy stays one.
#[test]
fn a_file_with_two_names_is_changed_under_both() {
    let bed = bed(Trees::Copies);
    let base = step(&bed, &[], "echo a > one; ln one two").unwrap();
    let changed = bed.step(&[base], "echo more >> one").unwrap();
    assert_eq!(bed.paths(&changed), ["one", "two"]);
}
