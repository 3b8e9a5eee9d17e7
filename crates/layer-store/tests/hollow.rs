//! Steps on layers that are elsewhere: with their listings, the same layers as on the layers themselves.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use common::{Bed, directory, file, run};
use lbuild_archive::Header;
use lbuild_layer_store::{Blob, CommitOptions, Layer, Store, StoreError};
use lbuild_oci::{DiffId, Digest, MediaType};

const BASE: &str = "mkdir -p etc app/sub var; echo root:x:0:0::/:/bin/sh > etc/passwd; echo same > app/same; \
                    echo other > app/other; ln -s var data; ln app/same app/linked; chmod 750 app; chown 7:8 app; \
                    echo whole > app/sub/deep; find . -exec touch -h -d @1000000000 {} +";
/// On top of that, so that deletions and marks are listed too.
const NEXT: &str = "rm app/other; rm -r app/sub; mkdir app/sub; echo new > app/sub/new; \
                    find app -exec touch -h -d @1000000001 {} +";

/// A store that has the layers, and one that knows of them what a registry and a cache tell.
fn whole_and_hollow(
    layers: &dyn Fn(&Bed) -> Vec<DiffId>,
) -> (Bed, Bed, Vec<DiffId>, HashMap<DiffId, DiffId>) {
    let (whole, hollow) = (Bed::new(), Bed::new());
    let layers = layers(&whole);
    let mut listings = HashMap::new();
    for diff_id in &layers {
        let listing = whole.store.make_listing(diff_id).unwrap();
        carry(&whole.store, &hollow.store, &listing);
        listings.insert(*diff_id, listing.diff_id);
        let blob = Blob { digest: Digest::of("not here"), size: 8, media_type: MediaType::LayerGzip };
        hollow.store.add_layer(&Layer::elsewhere(*diff_id, blob, "nowhere".to_owned())).unwrap();
    }
    (whole, hollow, layers, listings)
}

fn carry(from: &Store, to: &Store, layer: &Layer) {
    let mut bytes = Vec::new();
    from.layer_blob(&layer.diff_id).unwrap().read_to_end(&mut bytes).unwrap();
    to.write_blob(&mut &bytes[..], None).unwrap();
    to.add_layer(layer).unwrap();
}

#[test]
fn a_copy_gives_the_same_layer_on_listings() {
    let (whole, hollow, layers, listings) = whole_and_hollow(&|bed| bed.with(&bed.with(&[], BASE), NEXT));
    assert_eq!(hollow.store.lacking(&layers).unwrap(), layers);
    assert_eq!(whole.store.lacking(&layers).unwrap(), []);
    // What is copied is new, takes a file's place, or is the same as what is there. Every directory it changes
    // gets a date, as the two steps may be made in different seconds.
    let put = |path: &str, text: &str| {
        format!(
            "rm -f {path}; echo {text} > {path}; touch -d @1000000001 {path}; touch -d @1600000000 $(dirname {path})"
        )
    };
    for script in [
        put("new", "x"),
        put("app/new", "x"),
        put("app/sub/new", "new"),
        put("app/sub/new", "neW"),
        put("app/same", "longer"),
        put("data/through", "x"),
        "mkdir -p app/a/b; touch -d @1 app/a/b app/a app".to_owned(),
        "rm app/same; touch -d @1600000000 app".to_owned(),
    ] {
        let expected = whole.step(&layers, &script);
        let active = hollow.store.prepare_hollow(&layers, &listings).unwrap();
        run(active.root(), &script);
        let layer = hollow.store.commit(active, &CommitOptions::default()).unwrap();
        let id = |layer: &Option<Layer>| layer.as_ref().map(|layer| layer.diff_id);
        assert_eq!(id(&layer), id(&expected), "{script}");
        if let Some(layer) = layer {
            // The layer is as good as any: the next step stands on it.
            let more = [&layers[..], &[layer.diff_id]].concat();
            assert_eq!(hollow.store.lacking(&more).unwrap(), layers);
            let next = hollow.store.prepare_hollow(&more, &listings).unwrap();
            run(next.root(), "echo more > more; touch -d @1 more");
            let next = hollow.store.commit(next, &CommitOptions::default()).unwrap();
            assert_eq!(id(&next), id(&whole.step(&more, "echo more > more; touch -d @1 more")));
        }
    }
}

#[test]
fn deletions_of_a_layer_are_in_its_listing() {
    let (_whole, hollow, layers, listings) = whole_and_hollow(&|bed| bed.with(&bed.with(&[], BASE), NEXT));
    let active = hollow.store.prepare_hollow(&layers, &listings).unwrap();
    for gone in ["app/other", "app/sub/deep"] {
        assert!(active.root().lstat(gone).is_err(), "{gone}");
    }
    assert_eq!(active.root().lstat("app").unwrap().st_uid, 7);
    assert!(active.has_content(Path::new("/etc/passwd")).unwrap());
    assert!(active.has_content(Path::new("/etc/group")).unwrap(), "what is not there is known");
    assert!(!active.has_content(Path::new("/app/same")).unwrap());
}

#[test]
fn what_only_the_layer_can_tell_is_said_so() {
    // More files than are digested; the last one is copied over by its like.
    let many = |bed: &Bed| {
        let names: Vec<String> = (0..2100).map(|number| format!("f/{number:04}")).collect();
        let mut entries: Vec<(Header, &[u8])> = vec![directory("f")];
        entries.extend(names.iter().map(|name| file(name, "a\n")));
        vec![bed.import(&entries)]
    };
    let (whole, hollow, layers, listings) = whole_and_hollow(&many);
    let script = |name: &str| {
        let stat = whole.prepare(&layers).root().lstat(format!("f/{name}")).unwrap();
        format!(
            "rm f/{name}; echo a > f/{name}; chmod {:o} f/{name}; touch -d @{} f/{name}",
            stat.st_mode & 0o7777,
            stat.st_mtime
        )
    };
    let commit = |script: &str| {
        let active = hollow.store.prepare_hollow(&layers, &listings).unwrap();
        run(active.root(), script);
        hollow.store.commit(active, &CommitOptions::default())
    };
    assert_eq!(commit(&script("0001")).unwrap(), None, "the same file is no change");
    assert!(matches!(commit(&script("2099")), Err(StoreError::Hollow { path }) if path.ends_with("2099")));
    // A file that a step changes in place is not there to be changed.
    assert!(matches!(commit("echo more >> f/0002"), Err(StoreError::Hollow { .. })));
    assert!(matches!(commit("chmod 4755 f/0002"), Err(StoreError::Hollow { .. })));
}

#[test]
fn a_layer_without_a_listing_is_not_guessed() {
    let (_whole, hollow, layers, mut listings) = whole_and_hollow(&|bed| bed.with(&[], BASE));
    listings.clear();
    let error = hollow.store.prepare_hollow(&layers, &listings).unwrap_err();
    assert!(matches!(error, StoreError::UnknownLayer(layer) if layer == layers[0]));
    // Whoever needs the files does not get a hollow tree.
    assert!(matches!(
        hollow.store.prepare(&layers, &lbuild_layer_store::PrepareOptions::default()),
        Err(StoreError::Lost { .. } | StoreError::UnknownLayer(_))
    ));
}
