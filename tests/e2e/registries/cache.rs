//! What machines share through a registry: here stores of their own, and one repository `cache`.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use lbuild_tests::{FaultProxy, Gate, Registry, Run, Running};
use rustix::process::Signal;
use serde_json::Value;

use super::RegistryBed;
use crate::shared_cache::{DOCKERFILE, executed};

/// A machine with the image `base` and a context.
pub fn machine() -> RegistryBed {
    let bed = RegistryBed::with_base();
    bed.bed.dockerfile(DOCKERFILE).dated_file("file", "content\n");
    bed
}

pub fn from(registry: &str) -> String {
    format!("--cache-from=type=registry,ref={registry}/cache")
}

pub fn to(registry: &str) -> String {
    format!("--cache-to=type=registry,ref={registry}/cache")
}

pub fn build(bed: &RegistryBed, arguments: &[String]) -> Run {
    bed.build(["-t".to_owned(), "app".to_owned()].iter().chain(arguments))
}

/// How many records were asked for, and how many blobs, since the last time.
fn asked_for(proxy: &FaultProxy) -> (usize, usize) {
    let seen = proxy.seen();
    let count = |part: &str| {
        seen.iter().filter(|seen| seen.line.starts_with("GET /v2/cache/") && seen.line.contains(part)).count()
    };
    (count("/manifests/"), count("/blobs/"))
}

/// The images' ids.
fn ids(bed: &RegistryBed) -> String {
    bed.lbuild(["images", "-q", "--no-trunc"]).success().text()
}

#[test]
fn a_hit_costs_one_request_and_its_layer_comes_when_a_step_needs_files() {
    let (one, two, three) = (machine(), machine(), machine());
    let registry = Registry::start(&one.path("registry"));
    let proxy = FaultProxy::start(registry.address());
    build(&one, &[to(registry.address())]).success();

    let frozen = [from(proxy.address()), "--frozen".into()];
    assert_eq!(executed(&build(&two, &frozen).success()), 0);
    assert_eq!(asked_for(&proxy), (5, 0), "a record for each step, and no layer");
    build(&two, &frozen).success();
    assert_eq!(asked_for(&proxy), (0, 0), "all is in the machine's own store now");
    assert_eq!(ids(&one), ids(&two));

    two.bed.dockerfile(&format!("{DOCKERFILE}RUN cat /w/result > /last\n"));
    assert_eq!(executed(&build(&two, &[from(proxy.address())]).success()), 1);
    let expected = (2, 4);
    assert_eq!(
        asked_for(&proxy),
        expected,
        "the new step, an image that might carry it, and the layers below"
    );

    // A hit in the middle: the other stage is there, what is copied is not.
    three.bed.file("file", "changed\n");
    assert_eq!(executed(&build(&three, &[from(proxy.address())]).success()), 4);
    assert_eq!(asked_for(&proxy).1, 1, "the layer that a file is copied from");
    assert_eq!(three.file_of("app", "made"), one.file_of("app", "made"));
    assert_eq!(three.file_of("app", "copied"), b"changed\n");
}

#[test]
fn records_are_written_while_the_build_runs_and_outlive_its_failure() {
    let (one, two) = (machine(), machine());
    let registry = Registry::start(&one.path("registry"));
    one.bed.dockerfile(&format!("{DOCKERFILE}RUN sleep 300\n"));
    let mut command = one.command(["build", "--progress=plain", "-t", "app"]);
    let running = Running::start(command.arg(to(registry.address())).arg(one.bed.context()));
    let limit = Instant::now() + Duration::from_secs(60);
    // Six steps, and the listing of the base's layer.
    while registry.tags("cache").len() < 7 {
        assert!(Instant::now() < limit, "{:?}", registry.tags("cache"));
        std::thread::sleep(Duration::from_millis(50));
    }
    running.signal(Signal::INT);
    assert!(!running.end().status.success());
    assert_eq!(executed(&build(&two, &[from(registry.address()), "--frozen".into()]).success()), 0);

    let failing = machine();
    failing.bed.dockerfile(&format!("{DOCKERFILE}RUN echo own > /own\nRUN false\n"));
    build(&failing, &[from(registry.address()), to(registry.address())]).failure(1);
    two.bed.dockerfile(&format!("{DOCKERFILE}RUN echo own > /own\n"));
    assert_eq!(executed(&build(&two, &[from(registry.address()), "--frozen".into()]).success()), 0);
}

#[test]
fn a_pull_request_reads_the_main_branch_and_writes_its_own() {
    let (main, request, later) = (machine(), machine(), machine());
    let registry = Registry::start(&main.path("registry"));
    let part =
        |option: fn(&str) -> String, name: &str| format!("{},namespace={name}", option(registry.address()));
    build(&main, &[part(to, "main")]).success();
    let before = registry.tags("cache");
    let of_main = before.iter().map(|tag| (tag.clone(), registry.manifest("cache", tag)));
    let of_main: BTreeMap<String, Value> = of_main.collect();

    request.bed.file("file", "changed\n");
    let run = build(&request, &[part(from, "main"), part(to, "pr-12")]).success();
    assert_eq!(executed(&run), 4, "the other stage is the main branch's: {run}");
    let (own, others): (Vec<_>, Vec<_>) =
        registry.tags("cache").into_iter().partition(|tag| tag.starts_with("pr-12-"));
    assert_eq!(others, before, "it writes what is not its own");
    assert!(own.len() >= 4, "{own:?}");
    for (tag, manifest) in &of_main {
        assert_eq!(registry.manifest("cache", tag), *manifest);
    }
    later.bed.file("file", "changed\n");
    assert_eq!(executed(&build(&later, &[part(from, "main")]).success()), 4, "main does not read it");
    let both = [part(from, "main"), part(from, "pr-12"), "--frozen".into()];
    later.bed.dockerfile(&format!("{DOCKERFILE}CMD [\"x\"]\n"));
    assert_eq!(executed(&build(&later, &both).success()), 0);
}

#[test]
fn a_cache_of_another_repository_takes_layers_without_moving_them() {
    let (main, request) = (machine(), machine());
    let registry = Registry::start(&main.path("registry"));
    let proxy = FaultProxy::start(registry.address());
    build(&main, &[to(proxy.address())]).success();
    proxy.bytes();
    let untrusted = format!("--cache-to=type=registry,ref={}/cache-pr", proxy.address());
    assert_eq!(executed(&build(&request, &[from(proxy.address()), untrusted]).success()), 0);
    assert_eq!(registry.tags("cache-pr").len(), 5);
    let (up, down) = proxy.bytes();
    assert!(up < 20_000 && down < 20_000, "{up} bytes up and {down} down, though layers are mounted");
}

#[test]
fn min_writes_the_steps_of_the_image_alone() {
    let one = machine();
    let registry = Registry::start(&one.path("registry"));
    let to = |namespace: &str| format!("{},{namespace}", to(registry.address()));
    build(&one, &[to("namespace=min,mode=min"), to("namespace=max,mode=max")]).success();
    let count = |part: &str| registry.tags("cache").iter().filter(|tag| tag.starts_with(part)).count();
    // One of each is the listing of the base's layer.
    assert_eq!((count("min-"), count("max-")), (6, 7));
}

#[test]
fn old_records_are_removed_of_one_namespace_or_of_all_and_images_stay() {
    let (one, two) = (machine(), machine());
    let registry = Registry::start(&one.path("registry"));
    let part = |namespace: &str| format!("{},namespace={namespace}", to(registry.address()));
    build(&one, &[part("a"), part("b")]).success();
    one.lbuild(["push", "app", &registry.name("cache:v1")]).success();
    let prune = |arguments: &[&str]| {
        let name = registry.name("cache");
        one.lbuild(["cache", "prune", "--ref", &name].iter().chain(arguments)).success().text()
    };
    assert!(prune(&["--older-than=1h"]).starts_with("Removed 0 records"));
    assert!(prune(&["--older-than=0s", "--namespace=a"]).starts_with("Removed 7 records"));
    assert!(registry.tags("cache").iter().all(|tag| !tag.starts_with("a-")), "{:?}", registry.tags("cache"));
    let of_b = format!("{},namespace=b", from(registry.address()));
    assert_eq!(executed(&build(&two, &[of_b, "--frozen".into()]).success()), 0);
    assert!(prune(&["--older-than=0s"]).contains("0 records stay"));
    assert_eq!(registry.tags("cache"), ["v1"]);
    two.lbuild(["pull", &registry.name("cache:v1")]).success();
}

#[test]
fn machines_that_write_at_once_lose_no_record() {
    let machines: Vec<RegistryBed> = (0..3).map(|_| machine()).collect();
    let registry = Registry::start(&machines[0].path("registry"));
    let running: Vec<Running> = machines
        .iter()
        .enumerate()
        .map(|(number, bed)| {
            // Steps that are the same everywhere, and steps of its own.
            bed.bed.file("file", format!("of machine {number}\n"));
            bed.bed.dockerfile(&format!("FROM base AS shared\nRUN echo shared > /shared\n{DOCKERFILE}"));
            let mut command = bed.command(["build", "--progress=plain", "-t", "app", "--target=tool"]);
            Running::start(command.arg(to(registry.address())).arg(bed.bed.context()))
        })
        .collect();
    running.into_iter().for_each(|run| drop(run.end().success()));
    let running: Vec<Running> = machines
        .iter()
        .map(|bed| {
            let mut command = bed.command(["build", "--progress=plain", "-t", "app"]);
            Running::start(
                command.args([from(registry.address()), to(registry.address())]).arg(bed.bed.context()),
            )
        })
        .collect();
    running.into_iter().for_each(|run| drop(run.end().success()));
    for bed in &machines {
        fs::remove_dir_all(bed.bed.store().join("cache")).unwrap();
        // The first steps of the others are those of the machine that wrote last; the rest stands on them.
        let run = build(bed, &[from(registry.address())]).success();
        assert!(executed(&run) <= 2, "{run}");
    }
}

/// The steps that ran, as a build's events have them.
fn steps_run(run: &Run) -> Vec<String> {
    let events: Vec<Value> = run.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let planned = events.iter().find(|event| event["event"] == "planned").unwrap();
    let texts: BTreeMap<u64, &Value> = planned["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["step"].as_u64().unwrap(), &step["text"]))
        .collect();
    let finished = events.iter().filter(|event| event["event"] == "finished");
    finished.map(|event| texts[&event["step"].as_u64().unwrap()].to_string()).collect()
}

/// The short form of `cargo xtask scale`, where the machines start in a certain order.
#[test]
fn machines_that_build_the_same_at_once_run_each_step_once_and_a_new_one_none() {
    const MACHINES: usize = 3;
    let gate = Gate::new();
    let mut dockerfile = format!("FROM base AS common\nRUN {}; date +%s%N > /one\n", gate.command());
    for number in 0..MACHINES {
        dockerfile += &format!("FROM common AS service-{number}\nRUN date +%s%N > /of-{number}\n");
    }
    let machines: Vec<RegistryBed> = (0..=MACHINES).map(|_| machine()).collect();
    let registry = Registry::start(&machines[0].path("registry"));
    let proxy = FaultProxy::start(registry.address());
    let start = |number: usize, service: usize, options: &[String]| {
        let bed = &machines[number];
        bed.bed.dockerfile(&dockerfile);
        let name = format!("service-{service}");
        let mut command = bed.command(["build", "--progress=rawjson", "--network=host"]);
        command.args(["--target", &name, "-t", &name]).args(options).arg(bed.bed.context());
        Running::start(&mut command)
    };

    let claims = [from(proxy.address()), format!("{},claim=true", to(proxy.address()))];
    let mut running = vec![start(0, 0, &claims)];
    let step = gate.reached();
    running.extend((1..MACHINES).map(|number| start(number, number, &claims)));
    for waiting in &mut running[1..] {
        waiting.wait_until_it_says("another machine runs this step");
    }
    step.go_on();
    let run = |running: Running| steps_run(&running.end().success());
    let steps: Vec<usize> = running.into_iter().map(|running| run(running).len()).collect();
    assert_eq!(steps, [2, 1, 1], "each its own service's, and the first one the common one");

    let frozen = [from(proxy.address()), "--frozen".into()];
    for number in 0..=MACHINES {
        proxy.seen();
        for service in 0..MACHINES {
            assert_eq!(run(start(number, service, &frozen)), [""; 0]);
        }
    }
    assert_eq!(asked_for(&proxy), (1 + MACHINES, 0), "by the new machine");
    for service in 0..MACHINES {
        let name = format!("service-{service}");
        let ids = machines.iter().map(|bed| bed.bed.inspect(&name)["Id"].to_string());
        let ids: std::collections::BTreeSet<String> = ids.collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
}
