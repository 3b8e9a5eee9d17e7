//! What machines share: here stores of their own, and a cache in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use lbuild_tests::{BaseImage, Gate, Image, Run, Running, TestBed};
use serde_json::{Value, json};

/// Five steps that make layers, one of them of another stage. They leave six records: the copy from a
/// stage is known by the stage, and by the files.
pub const DOCKERFILE: &str = "FROM base AS tool
RUN date +%s%N > /made && head -c 100000 /dev/urandom > /data
FROM base
COPY file /copied
WORKDIR /w
COPY --from=tool /made /made
RUN cat /made /copied > /w/result
CMD [\"true\"]
";

/// A machine with the image `base` and a context, and the place of a cache that others use too.
fn machine() -> TestBed {
    let bed = TestBed::with_base(DOCKERFILE);
    bed.dated_file("file", "content\n");
    bed
}

fn from(cache: &Path) -> String {
    format!("--cache-from=type=local,src={}", cache.display())
}

fn to(cache: &Path) -> String {
    format!("--cache-to=type=local,dest={}", cache.display())
}

fn build(bed: &TestBed, arguments: &[String]) -> Run {
    Run::of(bed.command(["build", "--progress=plain", "-t", "app"]).args(arguments).arg(bed.context()))
}

/// The steps that ran, as the summary counts them.
pub fn executed(run: &Run) -> usize {
    let text = run.text();
    let line = text.lines().find(|line| line.starts_with("steps")).unwrap_or_else(|| panic!("{run}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn records(cache: &Path) -> Vec<PathBuf> {
    files(&cache.join("records"))
}

fn blobs(cache: &Path) -> Vec<PathBuf> {
    files(&cache.join("blobs/sha256"))
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).map_or(Vec::new(), |entries| entries.map(|e| e.unwrap().path()).collect());
    files.sort();
    files
}

#[test]
fn another_machine_gets_the_same_image_and_runs_nothing() {
    let (one, two) = (machine(), machine());
    let cache = one.folder().join("cache");
    let first = build(&one, &[to(&cache)]).success();
    assert_eq!(executed(&first), 5, "{first}");
    let second = build(&two, &[from(&cache), "--frozen".into()]).success();
    assert_eq!(executed(&second), 0, "{second}");
    assert!(one.inspect("app")["Config"].is_object());
    assert_eq!(one.inspect("app")["Config"], two.inspect("app")["Config"]);
    let images = [&one, &two].map(|bed| bed.image("app"));
    assert_eq!(images[0].id, images[1].id);
    assert_eq!(images[0].diff_ids(), images[1].diff_ids());
}

#[test]
fn a_layer_comes_only_when_its_files_are_needed() {
    let (one, two) = (machine(), machine());
    let cache = one.folder().join("cache");
    build(&one, &[to(&cache)]).success();
    let kept = one.folder().join("kept");
    fs::rename(cache.join("blobs"), &kept).unwrap();
    build(&two, &[from(&cache), "--frozen".into()]).success();
    // Now a step needs files, and they are back.
    fs::rename(&kept, cache.join("blobs")).unwrap();
    two.dockerfile(&format!("{DOCKERFILE}RUN cat /w/result > /last\n"));
    let run = build(&two, &[from(&cache)]).success();
    assert_eq!(executed(&run), 1, "{run}");
    // The layer of the other stage was of no use for that.
    let data = one.image("app").diff_ids().len();
    assert!(files(&two.store().join("blobs/sha256")).len() <= data, "more than the image's own layers");
}

#[test]
fn a_cache_that_is_written_anew_at_each_build_has_what_was_found_in_the_old_one() {
    let (one, two, three) = (machine(), machine(), machine());
    let (old, new) = (one.folder().join("old"), one.folder().join("new"));
    build(&one, &[to(&old)]).success();
    let run = build(&two, &[from(&old), to(&new)]).success();
    assert_eq!(executed(&run), 0, "{run}");
    fs::remove_dir_all(&old).unwrap();
    let output = three.folder().join("app.tar");
    let run = build(&three, &[from(&new), "--frozen".into(), format!("-o={}", output.display())]).success();
    assert_eq!(executed(&run), 0, "{run}");
}

/// Damages the cache in a folder.
type Damage = fn(&Path);

#[test]
fn what_is_damaged_is_a_miss_with_one_warning_and_is_made_good() {
    let one = machine();
    let cache = one.folder().join("cache");
    build(&one, &[to(&cache)]).success();
    let damages: [(&str, Damage); 3] = [
        ("records", |cache| records(cache).iter().for_each(|record| fs::write(record, "{").unwrap())),
        ("blobs", |cache| {
            for blob in blobs(cache) {
                let length = fs::metadata(&blob).unwrap().len();
                fs::write(&blob, vec![7; length as usize]).unwrap();
            }
        }),
        ("blobs gone", |cache| fs::remove_dir_all(cache.join("blobs")).unwrap()),
    ];
    for (what, damage) in damages {
        damage(&cache);
        let two = machine();
        let output = two.folder().join("app.tar");
        let options = [from(&cache), to(&cache), format!("-o={}", output.display())];
        let mended = build(&two, &options).success();
        assert!(executed(&mended) > 0, "{what}: {mended}");
        let warnings =
            mended.stderr.lines().filter(|line| line.contains("shared cache") || line.contains("fetched"));
        assert!(warnings.clone().count() >= 1, "{what}: {mended}");
        if what == "records" {
            assert_eq!(warnings.count(), 1, "{what}: {mended}");
        }
        let three = machine();
        let run = build(&three, &[from(&cache), format!("-o={}", output.display())]).success();
        assert_eq!(executed(&run), 0, "{what}: {run}, after {mended}");
    }
}

/// The blob of a layer as a store's only record of one has it.
fn blob_of_only_layer(bed: &TestBed) -> Value {
    let records = files(&bed.store().join("layers"));
    assert_eq!(records.len(), 1, "{records:?}");
    let text = fs::read_to_string(&records[0]).unwrap();
    let (_, body) = text.split_once('\n').unwrap();
    serde_json::from_str::<Value>(body).unwrap()["blob"].take()
}

/// Changes what a record says of its layer; the second is a blob of the store that reads it.
type Lie = fn(&mut Value, &Value);

#[test]
fn a_cache_that_lies_of_blobs_is_a_miss_and_does_an_image_that_is_here_no_harm() {
    let one = machine();
    let cache = one.folder().join("cache");
    build(&one, &[to(&cache)]).success();
    let good: Vec<(PathBuf, Value)> = records(&cache)
        .into_iter()
        .map(|record| (record.clone(), serde_json::from_slice(&fs::read(record).unwrap()).unwrap()))
        .collect();
    let lies: [(&str, Lie); 2] = [
        ("the blob of an image that is here", |layer, blob| {
            *layer =
                json!({ "mediaType": blob["media_type"], "digest": blob["digest"], "size": blob["size"] });
        }),
        ("another length", |layer, _| layer["size"] = (layer["size"].as_u64().unwrap() + 1).into()),
    ];
    for (what, lie) in lies {
        let two = machine();
        let blob = blob_of_only_layer(&two);
        for (record, manifest) in &good {
            let mut manifest = manifest.clone();
            manifest["layers"].as_array_mut().unwrap().iter_mut().for_each(|layer| lie(layer, &blob));
            fs::write(record, manifest.to_string()).unwrap();
        }
        let base = two.image("base");
        let archive = two.folder().join("app.tar");
        let options = [from(&cache), format!("-o={}", archive.display())];
        // The second finds what the first has made, and the lies of the cache no more.
        for is_first in [true, false] {
            let run = build(&two, &options).success();
            assert_eq!(executed(&run) > 0, is_first, "{what}: {run}");
            assert_eq!(run.stderr.contains("cannot be fetched"), is_first, "{what}: {run}");
        }
        let app = Image::read(&archive);
        assert_eq!(app.diff_ids()[..1], base.diff_ids(), "{what}");
        let layers = app.layers.iter().rev();
        let file = |path: &str| {
            let entry = layers.clone().flat_map(|layer| &layer.entries).find(|entry| entry.path == path);
            &entry.unwrap_or_else(|| panic!("{what}: the image has no {path}")).content
        };
        assert_eq!(*file("w/result"), [&file("made")[..], b"content\n"].concat(), "{what}");
        assert_eq!(two.image("base").id, base.id, "{what}");
    }
}

#[test]
fn a_record_is_used_for_its_own_step_alone() {
    let (one, two) = (machine(), machine());
    let cache = one.folder().join("cache");
    build(&one, &[to(&cache)]).success();
    // Each record under the name of another.
    let names = records(&cache);
    let contents: Vec<Vec<u8>> = names.iter().map(|name| fs::read(name).unwrap()).collect();
    for (name, content) in names.iter().zip(contents.iter().cycle().skip(1)) {
        fs::write(name, content).unwrap();
    }
    let run = build(&two, &[from(&cache)]).success();
    assert_eq!(executed(&run), 5, "{run}");
}

#[test]
fn a_pull_request_reads_the_main_branch_and_writes_its_own() {
    let (main, request) = (machine(), machine());
    let cache = main.folder().join("cache");
    let part = |option: String, namespace: &str| format!("{option},namespace={namespace}");
    build(&main, &[part(to(&cache), "main")]).success();
    let before = records(&cache);
    request.file("file", "changed\n");
    let run = build(&request, &[part(from(&cache), "main"), part(to(&cache), "pr-12")]).success();
    assert_eq!(executed(&run), 4, "the other stage is the main branch's: {run}");
    let after: Vec<PathBuf> = records(&cache).into_iter().filter(|record| !before.contains(record)).collect();
    let is_own = |record: &PathBuf| record.file_name().unwrap().to_str().unwrap().starts_with("pr-12-");
    assert!(!after.is_empty() && after.iter().all(is_own), "{after:?}");
    main.file("file", "changed\n");
    fs::remove_dir_all(main.store().join("cache")).unwrap();
    let run = build(&main, &[part(from(&cache), "main")]).success();
    assert_eq!(executed(&run), 4, "the main branch does not read the pull request's: {run}");
}

#[test]
fn many_machines_write_at_once_and_no_record_is_lost() {
    let machines: Vec<TestBed> = (0..4).map(|_| machine()).collect();
    let cache = machines[0].folder().join("cache");
    let running: Vec<Running> = machines
        .iter()
        .enumerate()
        .map(|(number, bed)| {
            // Half of the steps are the same everywhere.
            bed.dockerfile(&format!("{DOCKERFILE}RUN echo {number} > /own\n"));
            let mut command = bed.command(["build", "--progress=plain", "-t", "app"]);
            Running::start(command.arg(to(&cache)).arg(bed.context()))
        })
        .collect();
    running.into_iter().for_each(|run| drop(run.end().success()));
    for bed in &machines {
        fs::remove_dir_all(bed.store().join("cache")).unwrap();
        let run = build(bed, &[from(&cache)]).success();
        // Where two machines made different layers of one step, the later record won.
        assert!(executed(&run) <= 3, "{run}");
    }
}

#[test]
fn machines_that_claim_a_step_run_it_once() {
    let gate = Gate::new();
    let dockerfile = format!("FROM base\nRUN {}; date +%s%N > /made\n", gate.command());
    let machines: Vec<TestBed> = (0..3).map(|_| TestBed::with_base(&dockerfile)).collect();
    let cache = machines[0].folder().join("cache");
    let start = |bed: &TestBed| {
        let mut command = bed.command(["build", "--progress=plain", "--network=host", "-t", "app"]);
        command.args([from(&cache), format!("{},claim=true", to(&cache))]).arg(bed.context());
        Running::start(&mut command)
    };
    let mut running = vec![start(&machines[0])];
    let step = gate.reached();
    running.extend(machines[1..].iter().map(start));
    for waiting in &mut running[1..] {
        waiting.wait_until_it_says("another machine runs this step");
    }
    step.go_on();
    let executed: Vec<usize> = running.into_iter().map(|run| executed(&run.end().success())).collect();
    assert_eq!(executed, [1, 0, 0]);
    assert_eq!(machines[0].image("app").id, machines[2].image("app").id);
}

#[test]
fn a_cache_that_cannot_be_written_fails_the_build_in_the_end_unless_that_is_to_be_ignored() {
    let bed = machine();
    let file = bed.folder().join("file");
    fs::write(&file, "").unwrap();
    let cache = file.join("cache");
    let told = build(&bed, &[to(&cache)]).failure(5).says(&["error: cannot write the shared cache"]);
    assert!(!told.stderr.contains("os error"), "{told}");
    bed.inspect("app");
    let run = build(&bed, &[format!("{},ignore-error=true", to(&cache))]).success();
    assert!(run.stderr.contains("warning: cannot write the shared cache"), "{run}");
    build(&bed, &["--cache-to=type=gha".into()]).failure(2).says(&["registry, local and inline"]);
}

#[test]
fn old_records_are_removed_of_one_namespace_or_of_all() {
    let bed = machine();
    let cache = bed.folder().join("cache");
    build(&bed, &[format!("{},namespace=a", to(&cache)), format!("{},namespace=b", to(&cache))]).success();
    let count = records(&cache).len();
    let prune = |arguments: &[&str]| {
        let run = bed.lbuild(["cache", "prune", "--dest", cache.to_str().unwrap()].iter().chain(arguments));
        run.success().text()
    };
    assert!(prune(&["--older-than=1h"]).starts_with("Removed 0 records"));
    assert!(
        prune(&["--older-than=0s", "--namespace=a"]).starts_with(&format!("Removed {} records", count / 2))
    );
    assert_eq!(records(&cache).len(), count / 2);
    assert!(prune(&["--older-than=0s"]).contains("0 records stay"));
}

#[test]
fn min_writes_the_steps_of_the_image_alone() {
    let (one, two) = (machine(), machine());
    let (min, max) = (one.folder().join("min"), one.folder().join("max"));
    build(&one, &[format!("{},mode=min", to(&min))]).success();
    build(&two, &[format!("{},mode=max", to(&max))]).success();
    assert_eq!(records(&max).len(), records(&min).len() + 1);
}

#[test]
fn a_base_image_is_the_same_on_every_machine_or_the_records_are_others() {
    let (one, two) = (machine(), machine());
    let cache = one.folder().join("cache");
    build(&one, &[to(&cache)]).success();
    let layer = {
        let mut tar = tar::Builder::new(Vec::new());
        lbuild_tests::entry(&mut tar, "etc/other", tar::EntryType::Regular, 0o644, b"other\n");
        tar.into_inner().unwrap()
    };
    two.load_base("base", &BaseImage::busybox().layer(layer));
    let run = build(&two, &[from(&cache)]).success();
    assert_eq!(executed(&run), 5, "{run}");
}
