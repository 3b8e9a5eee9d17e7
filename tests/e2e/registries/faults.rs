//! What goes wrong on the way passes, or fails without damage.

use std::time::{Duration, Instant};

use lbuild_tests::{Fault, FaultProxy, Registry, Run, Running, wait_until};
use rustix::process::Signal;

use super::{RegistryBed, noise};

/// A registry behind a proxy, with an image of one large layer under `big:1`.
fn big(bed: &RegistryBed) -> (Registry, FaultProxy) {
    let registry = Registry::start(&bed.path("registry"));
    let proxy = FaultProxy::start(registry.address());
    bed.bed.file("noise", noise(3_000_000));
    bed.bed.dockerfile("FROM scratch\nCOPY noise /\n");
    bed.build(["-t", "big"]).success();
    bed.lbuild(["push", "big", &registry.name("big:1")]).success();
    (registry, proxy)
}

#[test]
fn a_pull_survives_what_passes() {
    let mut bed = RegistryBed::new();
    let (_registry, proxy) = big(&bed);
    for fault in [
        Fault::Answer("429 Too Many Requests", "Retry-After: 1\r\n".to_owned()),
        Fault::Answer("500 Internal Server Error", String::new()),
        Fault::Answer("503 Service Unavailable", String::new()),
        Fault::Stall(500_000),
        Fault::Cut(0),
    ] {
        bed.empty_store();
        proxy.fault("GET", "/blobs/", 1, fault.clone());
        proxy.fault("GET", "/manifests/", 1, Fault::Answer("502 Bad Gateway", String::new()));
        let begin = Instant::now();
        Run::of(&mut bed.impatient(["pull", &proxy.name("big:1")])).success();
        assert_eq!(proxy.faults_left(), 0, "{fault:?}");
        if format!("{fault:?}").contains("Retry-After") {
            assert!(begin.elapsed() >= Duration::from_secs(1), "it waits for less than it is asked to");
        }
    }
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let mut bed = RegistryBed::new();
    let (_registry, proxy) = big(&bed);
    bed.empty_store();
    proxy.bytes();
    proxy.seen();
    // The configuration is small: only the layer is so long.
    for at in [2_000_000, 500_000] {
        proxy.fault("GET", "/blobs/", 1, Fault::Cut(at));
    }
    bed.lbuild(["pull", &proxy.name("big:1")]).success();
    let ranges: Vec<_> =
        proxy.seen().iter().filter_map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert!(!ranges.is_empty(), "nothing was asked for by range");
    let (_, down) = proxy.bytes();
    assert!(down < 3_500_000, "{down} bytes came for 3,000,000");
}

#[test]
fn an_interruption_ends_a_layer_that_a_step_waits_for() {
    let mut bed = RegistryBed::new();
    let (_registry, proxy) = big(&bed);
    bed.empty_store();
    bed.bed.dockerfile(&format!("FROM {}\nCOPY noise /copied\n", proxy.name("big:1")));
    // The configuration is shorter than that.
    proxy.fault("GET", "/blobs/", 2, Fault::Stall(500_000));
    let mut command = bed.command(["build", "--progress", "plain", "-t", "app"]);
    command.env("LBUILD_REGISTRY_TIMEOUT", "100").arg(bed.bed.context());
    let build = Running::start(&mut command);
    wait_until(|| proxy.faults_left() == 0);
    let began = Instant::now();
    build.signal(Signal::INT);
    build.end().failure(130).says(&["interrupted"]);
    assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    // What did not come is not taken for lost.
    proxy.heal();
    let run = bed.build(["-t", "app"]).success();
    assert!(!run.stderr.contains("cannot be fetched"), "{run}");
}

#[test]
fn what_is_damaged_on_the_way_is_fetched_anew_or_refused() {
    let mut bed = RegistryBed::new();
    let (_registry, proxy) = big(&bed);
    let name = proxy.name("big:1");
    bed.empty_store();
    // A manifest, and a configuration or a layer.
    proxy.fault("GET", "/manifests/", 9, Fault::Damage);
    bed.lbuild(["pull", &name]).failure(1);
    proxy.heal();
    proxy.fault("GET", "/blobs/", 9, Fault::Damage);
    bed.lbuild(["pull", &name]).failure(1).says(&["digest"]);
    proxy.heal();
    assert_eq!(bed.lbuild(["images", "-q"]).success().text(), "");
    bed.lbuild(["pull", &name]).success();
}

#[test]
fn a_redirect_gets_no_credentials() {
    let mut bed = RegistryBed::new();
    let (registry, proxy) = big(&bed);
    bed.empty_store();
    let elsewhere = FaultProxy::start(registry.address());
    let config = format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#, proxy.address());
    std::fs::write(bed.path("docker/config.json"), config).unwrap();
    proxy.fault(
        "GET",
        "/v2/",
        1,
        Fault::Answer("401 Unauthorized", "WWW-Authenticate: Basic realm=\"x\"\r\n".to_owned()),
    );
    // Wherever the blobs are, the other server has them under the same address.
    let layer = layer_of(&registry);
    let location = format!("Location: http://{}/v2/big/blobs/{layer}\r\n", elsewhere.address());
    proxy.fault("GET", &layer, 1, Fault::Answer("307 Temporary Redirect", location));
    bed.lbuild(["pull", &proxy.name("big:1")]).success();
    assert_eq!(proxy.faults_left(), 0);
    assert!(proxy.seen().iter().any(|seen| seen.header("authorization").is_some()));
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None, "{seen:?}");
}

#[test]
fn a_push_survives_what_passes() {
    let bed = RegistryBed::new();
    let (_registry, proxy) = big(&bed);
    for (round, (method, part, fault)) in [
        ("POST", "/blobs/uploads/", Fault::Answer("500 Internal Server Error", String::new())),
        ("POST", "/blobs/uploads/", Fault::Answer("429 Too Many Requests", "Retry-After: 1\r\n".to_owned())),
        ("PUT", "/blobs/uploads/", Fault::CutUpload(1_000_000)),
        ("PUT", "/blobs/uploads/", Fault::Answer("502 Bad Gateway", String::new())),
        ("PUT", "/manifests/", Fault::Answer("503 Service Unavailable", String::new())),
        ("PUT", "/manifests/", Fault::Cut(0)),
    ]
    .into_iter()
    .enumerate()
    {
        // Each into a repository of its own: nothing is there, and nothing is mounted.
        let name = proxy.name(&format!("round{round}/big:1"));
        proxy.fault(method, part, 1, fault.clone());
        bed.lbuild(["push", "big", &name]).success();
        assert_eq!(proxy.faults_left(), 0, "{fault:?}");
        super::skopeo(["inspect", "--tls-verify=false", &format!("docker://{name}")]);
    }
}

#[test]
fn a_push_that_fails_makes_no_tag() {
    let bed = RegistryBed::new();
    let (registry, proxy) = big(&bed);
    for (number, (method, part)) in
        [("POST", "/blobs/uploads/"), ("PUT", "/blobs/uploads/"), ("PUT", "/manifests/")]
            .into_iter()
            .enumerate()
    {
        let repository = format!("failing{number}/big");
        proxy.fault(method, part, 20, Fault::Answer("403 Forbidden", String::new()));
        bed.lbuild(["push", "big", &proxy.name(&format!("{repository}:1"))]).failure(1).says(&["refuses"]);
        proxy.heal();
        bed.lbuild(["pull", &registry.name(&format!("{repository}:1"))]).failure(1);
        bed.lbuild(["push", "big", &proxy.name(&format!("{repository}:1"))]).success();
    }
}

/// The digest of the one layer of `big:1`.
fn layer_of(registry: &Registry) -> String {
    let name = format!("docker://{}", registry.name("big:1"));
    let manifest = super::skopeo(["inspect", "--tls-verify=false", "--raw", &name]).json();
    manifest["layers"][0]["digest"].as_str().unwrap().to_owned()
}
