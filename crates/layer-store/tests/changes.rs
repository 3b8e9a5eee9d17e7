//! The files of a step before it is a layer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::Read;

use common::{Bed, run};
use lbuild_layer_store::StoreError;

/// `PATH=CONTENT` of every changed file.
fn changed(bed: &Bed, layers: &[lbuild_oci::DiffId], script: &str) -> Vec<String> {
    let active = bed.prepare(layers);
    run(active.root(), script);
    let mut found = Vec::new();
    let visited = active.changed_files::<StoreError>(&mut |path, mut file| {
        let mut content = String::new();
        file.read_to_string(&mut content).unwrap();
        found.push(format!("{}={}", path.display(), content.trim_end()));
        Ok(())
    });
    visited.unwrap();
    found
}

#[test]
fn files_that_were_made_or_changed_are_visited_and_others_are_not() {
    let bed = Bed::new();
    let base = bed.with(&[], "mkdir -p etc d/sub; echo hello > etc/motd; echo deep > d/sub/deep; echo x > x");
    for (script, expected) in [
        ("true", &[][..]),
        ("echo bye > etc/motd; chmod 700 d", &["/etc/motd=bye"]),
        ("rm etc/motd; ln -s motd etc/link; mkfifo pipe", &[]),
        ("mkdir -p n/m; echo 1 > n/m/1; echo 2 > n/2; ln n/2 n/3", &["/n/2=2", "/n/3=2", "/n/m/1=1"]),
        ("rm -r d; mkdir d; echo again > d/new", &["/d/new=again"]),
        ("chmod 600 x", &["/x=x"]),
    ] {
        assert_eq!(changed(&bed, &base, script), expected, "{script}");
    }
}

#[test]
fn a_visitor_can_stop() {
    let bed = Bed::new();
    let active = bed.prepare(&[]);
    run(active.root(), "echo > a; echo > b");
    let mut visited = 0;
    let stopped = active.changed_files(&mut |path, _| {
        visited += 1;
        Err(StoreError::ReservedName { path })
    });
    assert!(matches!(stopped, Err(StoreError::ReservedName { .. })), "{stopped:?}");
    assert_eq!(visited, 1);
}
