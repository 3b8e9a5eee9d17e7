//! A shared cache that fails, or lies, costs time and nothing else.

use std::time::{Duration, Instant};

use lbuild_tests::{Fault, FaultProxy, Registry, Run};
use serde_json::Value;

use super::RegistryBed;
use super::cache::{build, from, machine, to};
use crate::shared_cache::executed;

/// Changes the records of a cache.
type Poison = fn(&mut Vec<(String, Value)>);

#[track_caller]
fn assert_right(bed: &RegistryBed, run: &Run) {
    let made = bed.file_of("app", "made");
    assert!(made.len() > 10 && made.iter().all(u8::is_ascii_graphic) || made.ends_with(b"\n"), "{run}");
    assert_eq!(bed.file_of("app", "w/result"), [&made[..], b"content\n"].concat(), "{run}");
}

#[test]
fn a_record_is_refused_that_is_not_what_it_names_and_the_step_runs() {
    let one = machine();
    let registry = Registry::start(&one.path("registry"));
    build(&one, &[to(registry.address())]).success();
    let tags = registry.tags("cache");
    let good: Vec<(String, Value)> =
        tags.iter().map(|tag| (tag.clone(), registry.manifest("cache", tag))).collect();
    let poisons: [(&str, Poison); 5] = [
        ("the record of another step", |records| {
            let first = records[0].1.clone();
            for index in 0..records.len() {
                let next = records.get(index + 1).map_or_else(|| first.clone(), |next| next.1.clone());
                records[index].1 = next;
            }
        }),
        ("under the right key, the record of another step", |records| {
            let first = records[0].1["annotations"]["dev.lbuild.cache.record"].clone();
            for index in 0..records.len() {
                let next =
                    records.get(index + 1).map(|next| &next.1["annotations"]["dev.lbuild.cache.record"]);
                let next = next.unwrap_or(&first).clone();
                records[index].1["annotations"]["dev.lbuild.cache.record"] = next;
            }
        }),
        ("another layer", |records| {
            let first = records[0].1["layers"].clone();
            for index in 0..records.len() {
                let next =
                    records.get(index + 1).map_or_else(|| first.clone(), |next| next.1["layers"].clone());
                records[index].1["layers"] = next;
            }
        }),
        ("another DiffID", |records| {
            for (_, manifest) in records {
                let annotation = &mut manifest["annotations"]["dev.lbuild.cache.record"];
                let mut record: Value = serde_json::from_str(annotation.as_str().unwrap()).unwrap();
                let diff_id = record.pointer_mut("/layer/diff_id").unwrap();
                *diff_id = format!("sha256:{}", "7".repeat(64)).into();
                *annotation = record.to_string().into();
            }
        }),
        ("no layer", |records| {
            records.iter_mut().for_each(|(_, manifest)| manifest["layers"] = Value::Array(Vec::new()));
        }),
    ];
    for (what, poison) in poisons {
        let mut records = good.clone();
        poison(&mut records);
        records.iter().for_each(|(tag, manifest)| registry.put_manifest("cache", tag, manifest));
        let two = machine();
        let archive = format!("-o={}", two.path("app.tar").display());
        let run = build(&two, &[from(registry.address()), archive]).success();
        // Records tell by themselves; of a layer it shows when it comes, and the build begins anew, in
        // which some steps are in the machine's own store by then.
        let is_of_layers = what.starts_with("another");
        assert!(executed(&run) >= if is_of_layers { 2 } else { 5 }, "{what}: {run}");
        assert!(run.stderr.contains("not used") || run.stderr.contains("fetched"), "{what}: {run}");
        assert_right(&two, &run);
    }
    // What is wrong is made good by a machine that writes.
    let three = machine();
    let archive = format!("-o={}", three.path("app.tar").display());
    build(&three, &[from(registry.address()), to(registry.address()), archive]).success();
    let run = build(&machine(), &[from(registry.address()), "--frozen".into()]).success();
    assert_eq!(executed(&run), 0, "{run}");
}

#[test]
fn a_cache_that_fails_while_it_is_read_is_a_miss() {
    let one = machine();
    let registry = Registry::start(&one.path("registry"));
    build(&one, &[to(registry.address())]).success();
    let proxy = FaultProxy::start(registry.address());
    for fault in [
        Fault::Answer("429 Too Many Requests", "Retry-After: 60\r\n".to_owned()),
        Fault::Answer("500 Internal Server Error", String::new()),
        Fault::Answer("403 Forbidden", String::new()),
        Fault::Stall(0),
        Fault::Cut(0),
        Fault::Damage,
    ] {
        let two = machine();
        proxy.heal();
        proxy.fault("GET", "/manifests/", 1000, fault.clone());
        let begin = Instant::now();
        let mut command = two.impatient(["build", "--progress", "plain", "-t", "app"]);
        let run = Run::of(command.arg(from(proxy.address())).arg(two.bed.context())).success();
        assert_eq!(executed(&run), 5, "{fault:?}: {run}");
        assert!(begin.elapsed() < Duration::from_secs(55), "{fault:?} took {:?}", begin.elapsed());
        let warnings =
            run.stderr.lines().filter(|line| line.contains("cannot be read") || line.contains("not used"));
        assert_eq!(warnings.count(), 1, "{fault:?}: {run}");
        assert_right(&two, &run);
    }
    // What passes is no miss.
    proxy.heal();
    proxy.fault("GET", "/manifests/", 1, Fault::Answer("503 Service Unavailable", String::new()));
    assert_eq!(executed(&build(&machine(), &[from(proxy.address()), "--frozen".into()]).success()), 0);
    assert_eq!(proxy.faults_left(), 0);
}

#[test]
fn a_layer_that_cannot_be_fetched_is_made_again() {
    let one = machine();
    let registry = Registry::start(&one.path("registry"));
    build(&one, &[to(registry.address())]).success();
    let proxy = FaultProxy::start(registry.address());
    for fault in [
        Fault::Answer("404 Not Found", String::new()),
        Fault::Answer("403 Forbidden", String::new()),
        Fault::Damage,
    ] {
        let two = machine();
        proxy.heal();
        proxy.fault("GET", "/blobs/", 1000, fault.clone());
        let archive = format!("-o={}", two.path("app.tar").display());
        let run = build(&two, &[from(proxy.address()), archive]).success();
        assert!(executed(&run) >= 2 && run.stderr.contains("cannot be fetched"), "{fault:?}: {run}");
        assert_right(&two, &run);
    }
}

#[test]
fn a_dead_registry_fails_only_what_was_to_be_written() {
    let bed = machine();
    // Nothing listens there.
    let dead = "127.0.0.1:1";
    let begin = Instant::now();
    let run = build(&bed, &[from(dead), format!("{},ignore-error=true", to(dead))]).success();
    assert_eq!(executed(&run), 5, "{run}");
    for warning in ["cannot be read", "warning: cannot write the shared cache"] {
        assert_eq!(run.stderr.matches(warning).count(), 1, "{run}");
    }
    let run =
        build(&bed, &[to(dead)]).failure(5).says(&["error: cannot write the shared cache", "127.0.0.1:1"]);
    bed.bed.inspect("app");
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}: {run}", begin.elapsed());
    // With a claim for each step, too.
    let other = machine();
    let claims = format!("{},claim=true,ignore-error=true", to(dead));
    assert_eq!(executed(&build(&other, &[from(dead), claims]).success()), 5);
}

/// A machine writes records into a cache which name layers of others, or lengths that are not theirs.
#[test]
fn a_build_that_reads_no_layer_pushes_no_tag_for_a_wrong_length_and_verifies_the_rest_if_it_is_asked_to() {
    let one = machine();
    let registry = Registry::start(&one.path("registry"));
    build(&one, &[to(registry.address())]).success();
    let good: Vec<(String, Value)> = registry
        .tags("cache")
        .into_iter()
        .map(|tag| (tag.clone(), registry.manifest("cache", &tag)))
        .collect();
    let push = |bed: &RegistryBed, tag: &str, options: &str| {
        let name = registry.name(&format!("app:{tag}"));
        let from = format!("{}{options}", from(registry.address()));
        bed.build(["-t", &name, "--push", &from])
    };
    let poison = |change: &dyn Fn(&mut Value)| {
        for (tag, manifest) in &good {
            let mut manifest = manifest.clone();
            change(&mut manifest);
            registry.put_manifest("cache", tag, &manifest);
        }
    };

    poison(&|manifest| {
        manifest.pointer_mut("/layers/0/size").into_iter().for_each(|size| *size = 7.into());
    });
    let two = machine();
    push(&two, "length", "").failure(1).says(&["should be the 7 bytes", "verify=true"]);
    assert_eq!(registry.tags("app"), [""; 0]);
    let run = push(&two, "length", ",verify=true").success();
    assert!(executed(&run) > 0 && run.stderr.contains("cannot be fetched"), "{run}");

    // Layers of the right lengths, and of other steps.
    let other = good[0].1["layers"].clone();
    poison(&|manifest| {
        if manifest["layers"][0].is_object() {
            manifest["layers"] = other.clone();
        }
    });
    let three = machine();
    // Nothing is read: whoever pulls the image finds out.
    assert_eq!(executed(&push(&three, "blind", "").success()), 0);
    let name = registry.name("app:blind");
    machine().lbuild(["pull", &name]).failure(1).says(&["sha256:"]);
    // What is read shows it: a RUN does not run on another layer than its own.
    three.bed.dockerfile(&format!("{}RUN cat /w/result\n", crate::shared_cache::DOCKERFILE));
    let run = push(&three, "read", "").success();
    assert!(executed(&run) > 1 && run.stderr.contains("cannot be fetched"), "{run}");
    let four = machine();
    let run = push(&four, "verified", ",verify=true").success();
    assert!(executed(&run) > 0 && run.stderr.contains("cannot be fetched"), "{run}");
    let five = machine();
    five.lbuild(["pull", &registry.name("app:verified")]).success();
    let made = five.file_of(&registry.name("app:verified"), "made");
    assert_eq!(five.file_of(&registry.name("app:verified"), "w/result"), [&made[..], b"content\n"].concat());
}
