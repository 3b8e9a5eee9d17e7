//! Frontends that a Dockerfile names.
//!
//! CVE-2024-23653, CVE-2026-33747: the image that `# syntax=` names ran with more rights than a build, or
//! wrote outside. Here the language is built in: nothing is fetched for it, and nothing of it is run.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::row::Mode;
use crate::scene::Scene;

pub fn the_named_image_is_never_fetched(mode: Mode) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&connections);
    std::thread::spawn(move || {
        for _ in listener.incoming() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let scene = Scene::with_base(mode, "");
    for head in [
        format!("# syntax={address}/evil/frontend:1\n"),
        format!("#syntax = docker-image://{address}/evil@sha256:{}\n", "0".repeat(64)),
        format!("// syntax={address}/evil\n"),
        format!("#!/usr/bin/env {address}/evil\n# syntax={address}/evil\n"),
        format!("{{\"syntax\": \"{address}/evil\"}}\n"),
        format!("# syntax=http://{address}/evil#main:sub\n"),
        format!("# syntax=../../../..{}/victim\n", scene.outside_text()),
    ] {
        scene.dockerfile(&format!("{head}FROM base\nRUN echo built\n"));
        scene.tried(&["--no-cache"]);
    }
    scene.dockerfile(&format!("ARG BUILDKIT_SYNTAX={address}/evil\nFROM base\nRUN echo built\n"));
    for argument in ["BUILDKIT_SYNTAX", "BUILDKIT_FRONTEND"] {
        scene.build(["--no-cache", "--build-arg", &format!("{argument}={address}/evil")]).success();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0, "a frontend was fetched");
}

/// An image of the very name in the store is not run either.
pub fn the_named_image_is_never_run(mode: Mode) {
    let scene = Scene::with_base(mode, "");
    let config = serde_json::json!({
        "Env": ["PATH=/bin"], "Entrypoint": ["/bin/sh", "-c", "echo ran"],
        "Labels": {"moby.buildkit.frontend.network.none": "true", "moby.buildkit.frontend.caps": "all"},
    });
    scene.load_base("evil/frontend:1", &crate::scene::base().config(config));
    scene.dockerfile("# syntax=evil/frontend:1\nFROM base\nRUN test -d / && echo built\n");
    let run = scene.build([""; 0]).success();
    assert!(!run.stderr.lines().any(|line| line.ends_with(" ran")), "{run}");
}
