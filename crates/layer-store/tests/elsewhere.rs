//! Layers of which is said what they are and where: what is believed of that, and when.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use common::{Bed, file, image};
use lbuild_layer_store::{Blob, Fetcher, Layer, Store, StoreError};
use lbuild_oci::{DiffId, Digest, MediaType};

/// A layer that is said to be the blob of `real`.
fn falsely_named(bed: &Bed, false_layer: DiffId, real: &DiffId) {
    let blob = bed.store.layer(real).unwrap().unwrap().blob.unwrap();
    bed.store.add_layer(&Layer::elsewhere(false_layer, blob, "somewhere".to_owned())).unwrap();
}

#[test]
fn whoever_names_a_blob_for_another_layer_takes_it_from_nobody() {
    let bed = Bed::new();
    let real = bed.import(&[file("file", "content")]);
    let false_layer = DiffId(Digest::of("another"));
    for is_flushed in [false, true] {
        if is_flushed {
            bed.store.flush().unwrap();
        }
        // As often as it is promised.
        for _ in 0..2 {
            falsely_named(&bed, false_layer, &real);
            assert!(!bed.store.has_layer_here(&false_layer).unwrap());
            // The second finds out why the first did not get it.
            for _ in 0..2 {
                let error = bed.store.fetch_layers(&[false_layer]).unwrap_err();
                let StoreError::Lost { source, .. } = &error else { panic!("{error:?}") };
                assert!(source.to_string().contains("what somewhere gave has the digest"), "{source}");
            }
        }
        bed.store.write_layer_tar(&real, &mut io::sink()).unwrap();
    }
    // A blob that the disk damaged is nobody's.
    let blob = bed.store.layer(&real).unwrap().unwrap().blob.unwrap();
    let path = bed.path().join("blobs/sha256").join(blob.digest.hex());
    fs::write(path, vec![7; blob.size as usize]).unwrap();
    falsely_named(&bed, false_layer, &real);
    bed.store.fetch_layers(&[false_layer]).unwrap_err();
    assert!(!bed.store.has_blob(&blob.digest));
}

#[test]
fn a_layer_that_is_made_here_is_not_taken_for_a_blob_that_somebody_names() {
    let script = "echo made > made; touch -d @1 made";
    let made = Bed::new().with(&[], script)[0];
    let bed = Bed::new();
    let real = bed.import(&[file("file", "content")]);
    for is_flushed in [false, true] {
        falsely_named(&bed, made, &real);
        if is_flushed {
            bed.store.flush().unwrap();
        }
        assert_eq!(bed.with(&[], script), [made]);
        bed.store.write_layer_tar(&made, &mut io::sink()).unwrap();
        assert_eq!(bed.store.layer(&made).unwrap().unwrap().blob, None);
    }
}

/// Gives a blob as often as it is asked for.
#[derive(Debug)]
struct Gives(Vec<u8>);

impl Fetcher for Gives {
    fn open(&self, _source: &str, _blob: &Blob) -> Option<io::Result<Box<dyn Read>>> {
        Some(Ok(Box::new(io::Cursor::new(self.0.clone()))))
    }
}

/// A store that knows of a layer elsewhere, which its fetcher gives, and that layer.
fn with_layer_elsewhere(told: impl FnOnce(&mut Layer, &mut Blob)) -> (Bed, DiffId) {
    let bed = Bed::new();
    let bytes = common::tar(&[file("file", "content")]);
    let mut blob =
        Blob { digest: Digest::of(&bytes), size: bytes.len() as u64, media_type: MediaType::Layer };
    let diff_id = DiffId(blob.digest);
    let mut layer = Layer::elsewhere(diff_id, blob.clone(), "somewhere".to_owned());
    told(&mut layer, &mut blob);
    layer.blob = Some(blob);
    bed.store.set_fetcher(Arc::new(Gives(bytes)));
    bed.store.add_layer(&layer).unwrap();
    (bed, diff_id)
}

#[test]
fn what_was_seen_of_a_layer_is_known_to_the_next_process() {
    type Read = fn(&Store, &DiffId);
    let reads: [(&str, Read); 2] = [
        ("fetched", |store, layer| store.fetch_layers(&[*layer]).unwrap()),
        ("unpacked", |store, layer| store.unpack_missing(&[*layer]).unwrap()),
    ];
    for (what, read) in reads {
        // Also where its length was told, though not the right one.
        for size in [0, 1 << 20] {
            let (bed, layer) = with_layer_elsewhere(|layer, _| layer.size = size);
            assert!(!bed.store.has_layer_here(&layer).unwrap(), "{what}");
            read(&bed.store, &layer);
            assert!(bed.store.has_layer_here(&layer).unwrap(), "{what}");
            bed.store.flush().unwrap();
            let bed = bed.reopen();
            // Nobody could fetch it again.
            assert!(bed.store.has_layer_here(&layer).unwrap(), "{what}");
            let known = bed.store.layer(&layer).unwrap().unwrap();
            assert_eq!(known.size, known.blob.unwrap().size, "{what}");
        }
    }
}

#[test]
fn a_layer_of_which_an_earlier_version_kept_less_is_read_once_more() {
    let (bed, layer) = with_layer_elsewhere(|_, _| {});
    bed.store.fetch_layers(&[layer]).unwrap();
    bed.store.flush().unwrap();
    let record = bed.path().join("layers").join(layer.digest().hex());
    let text = fs::read_to_string(&record).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    let earlier = body.replace(r#""is_verified":true,"#, "");
    assert_ne!(earlier, body);
    fs::write(&record, format!("{}\n{earlier}", Digest::of(&earlier))).unwrap();
    let bed = bed.reopen();
    assert!(!bed.store.has_layer_here(&layer).unwrap());
    bed.store.fetch_layers(&[layer]).unwrap();
    bed.store.flush().unwrap();
    let bed = bed.reopen();
    assert!(bed.store.has_layer_here(&layer).unwrap());
    assert_eq!(fs::read_to_string(&record).unwrap(), text);
}

#[test]
fn a_blob_of_another_length_than_was_told_is_not_taken_for_the_layer() {
    for read in [Store::fetch_layers, Store::unpack_missing] {
        let (bed, layer) = with_layer_elsewhere(|_, blob| blob.size += 1);
        let error = read(&bed.store, &[layer]).unwrap_err();
        assert!(matches!(error, StoreError::Lost { .. }), "{error:?}");
        assert_eq!(bed.store.layer(&layer).unwrap(), None);
    }
}

#[test]
fn a_layer_that_is_not_here_is_no_damage_and_one_that_can_be_had_again_breaks_no_image() {
    let (bed, layer) = with_layer_elsewhere(|_, _| {});
    let id = image(&bed, &[layer], "author");
    let name = "name".parse().unwrap();
    bed.store.tag(&name, &id).unwrap();
    bed.store.cache_put(&Digest::of("step"), Vec::new(), &[layer]);
    bed.store.flush().unwrap();
    let check = |is_repairing| {
        let report = bed.store.check(is_repairing).unwrap();
        let paths: Vec<_> = report.findings.into_iter().map(|finding| finding.path).collect();
        (paths, report.elsewhere)
    };
    assert_eq!(check(false), (vec![], 1));
    bed.store.unpack_missing(&[layer]).unwrap();
    bed.store.flush().unwrap();
    assert_eq!(check(false), (vec![], 0));

    let blob = Path::new("blobs/sha256").join(layer.digest().hex());
    let path = bed.path().join(&blob);
    let mut bytes = fs::read(&path).unwrap();
    bytes[600] ^= 1;
    fs::write(&path, bytes).unwrap();
    assert_eq!(check(false), (vec![blob.clone()], 1));
    assert_eq!(check(true), (vec![blob], 1));
    assert_eq!(check(false), (vec![], 1), "the image and its name are not touched");
    assert!(bed.store.find("name").unwrap().is_some());
    bed.store.fetch_layers(&[layer]).unwrap();
    bed.store.flush().unwrap();
    assert_eq!(check(false), (vec![], 0));
}
