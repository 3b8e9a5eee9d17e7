//! Registries that want more than to give an image.
//!
//! CVE-2020-15157: the credentials for a registry went to the server that a layer's foreign URL, or a
//! redirect, named. CVE-2024-3727: digests that a registry gave were not checked, and were paths.
//! CVE-2026-12566: the realm of a token was any address, such as that of a cloud's metadata.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lbuild_tests::Run;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::raw_tar::RawTar;
use crate::row::Mode;
use crate::scene::Scene;
use crate::web::{Answer, Web};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// No build may take longer, attempts and pauses included.
const LIMIT: Duration = Duration::from_secs(100);
const PASSWORD: &str = "password-of-the-registry";

/// An honest image's parts.
struct Parts {
    manifest: String,
    config: Vec<u8>,
    layer: Vec<u8>,
}

fn digest(bytes: impl AsRef<[u8]>) -> String {
    let hex: String = Sha256::digest(bytes.as_ref()).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn parts(change: impl Fn(&mut Value)) -> Parts {
    let layer = RawTar::default().file("f", "x").end();
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }, "os": "linux",
        "config": {}, "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    })
    .to_string()
    .into_bytes();
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(&layer), "size": layer.len(),
        }],
    });
    change(&mut manifest);
    Parts { manifest: manifest.to_string(), config, layer }
}

/// Answers as an honest registry would that holds `parts`.
fn honest(parts: &Parts, head: &str) -> Answer {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let answer = |body: &[u8], media_type: &str| {
        Answer::ok(body).header("Content-Type", media_type).header("Docker-Content-Digest", digest(body))
    };
    match path {
        "/v2/" => Answer::ok("{}"),
        path if path.contains("/manifests/") => answer(parts.manifest.as_bytes(), MANIFEST),
        path if path.ends_with(&digest(&parts.config)) => answer(&parts.config, "application/octet-stream"),
        path if path.ends_with(&digest(&parts.layer)) => answer(&parts.layer, "application/octet-stream"),
        _ => Answer::status("404 Not Found"),
    }
}

/// Builds from the registry's image, with credentials for the registry.
#[track_caller]
fn build_from(scene: &Scene, registry: &Web) -> Run {
    build(scene, registry, "evil:1")
}

/// The same for another image of it.
#[track_caller]
fn build(scene: &Scene, registry: &Web, image: &str) -> Run {
    // A folder for each registry: several are tried at the same time.
    let folder = scene.folder().join(registry.address.replace(':', "-"));
    fs::create_dir(&folder).unwrap();
    let auth = STANDARD.encode(format!("user:{PASSWORD}"));
    let config = json!({"auths": {registry.address.as_str(): {"auth": auth}}});
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("Dockerfile"), format!("FROM {}/{image}\nCOPY Dockerfile /\n", registry.address))
        .unwrap();
    let mut build = scene.command(["build", "--progress", "plain", "--pull"]);
    build.arg(&folder).env("DOCKER_CONFIG", &folder);
    build.env_remove("REGISTRY_AUTH_FILE").env_remove("LBUILD_IMAGE_SOURCES");
    let start = Instant::now();
    let run = Run::of(&mut build);
    assert!(start.elapsed() < LIMIT, "{:?}: {run}", start.elapsed());
    assert!(run.status.code().is_some_and(|code| code < 100) && !run.stderr.contains("panicked"), "{run}");
    assert!(!run.stderr.contains(PASSWORD) && !run.stderr.contains(&auth), "{run}");
    scene.unseen(run)
}

/// Tries all cases at the same time: most of it is waiting between attempts.
fn at_once<T: Sync>(cases: &[T], attack: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        let attack = &attack;
        let threads: Vec<_> = cases.iter().map(|case| scope.spawn(move || attack(case))).collect();
        for thread in threads {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

/// The first request has no credentials; the registry asks for them.
fn asks_for_password(head: &str) -> Option<Answer> {
    let is_known = head.to_lowercase().contains("authorization: basic");
    (!is_known)
        .then(|| Answer::status("401 Unauthorized").header("WWW-Authenticate", "Basic realm=\"registry\""))
}

#[track_caller]
fn assert_no_credentials(web: &Web) {
    for head in web.requests() {
        assert!(!head.to_lowercase().contains("authorization:"), "credentials went elsewhere:\n{head}");
        assert!(!head.contains(PASSWORD), "{head}");
    }
}

pub fn an_honest_registry_is_believed(mode: Mode) {
    let scene = Scene::new(mode);
    let parts = parts(|_| {});
    let registry = Web::start(move |head| asks_for_password(head).unwrap_or_else(|| honest(&parts, head)));
    build_from(&scene, &registry).success();
}

/// A redirect of a blob, of a manifest, of a token's realm; and to another name of the same machine.
pub fn redirects_to_another_host(mode: Mode) {
    let scene = Scene::new(mode);
    let statuses = ["301 Moved Permanently", "303 See Other", "307 Temporary Redirect"];
    let parts_of_an_image = ["/blobs/", "/manifests/", "/v2/"];
    let cases: Vec<_> =
        parts_of_an_image.iter().flat_map(|part| statuses.map(|status| (*part, status))).collect();
    at_once(&cases, |&(part, status)| {
        let original = Arc::new(parts(|_| {}));
        let served = Arc::clone(&original);
        // It asks for credentials itself.
        let other = Arc::new(Web::start(move |head| match head.contains("/manifests/") {
            true => asks_for_password(head).unwrap_or_else(|| honest(&served, head)),
            false => honest(&served, head),
        }));
        let (target, served) = (Arc::clone(&other), original);
        let registry = Web::start(move |head| {
            let path = head.split(' ').nth(1).unwrap_or_default();
            match asks_for_password(head) {
                Some(answer) => answer,
                None if path.contains(part) && (part != "/v2/" || path == "/v2/") => {
                    Answer::status(status).header("Location", format!("http://{}{path}", target.address))
                }
                None => honest(&served, head),
            }
        });
        build_from(&scene, &registry);
        assert_no_credentials(&other);
    });
}

/// A layer lies elsewhere, where credentials are asked for.
pub fn foreign_urls(mode: Mode) {
    let scene = Scene::new(mode);
    let other = Arc::new(Web::start(|head| {
        asks_for_password(head).unwrap_or_else(|| Answer::status("404 Not Found"))
    }));
    let url = format!("http://{}/layer", other.address);
    for media_type in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar",
    ] {
        let parts = parts(|manifest| {
            manifest["layers"][0]["mediaType"] = json!(media_type);
            manifest["layers"][0]["urls"] =
                json!([url, "file:///etc/hostname", "http://169.254.169.254/latest"]);
            manifest["config"]["urls"] = json!([url]);
        });
        let hidden = digest(&parts.layer);
        let registry = Web::start(move |head| match asks_for_password(head) {
            Some(answer) => answer,
            None if head.contains(&hidden) => Answer::status("404 Not Found"),
            None => honest(&parts, head),
        });
        build_from(&scene, &registry);
        assert_no_credentials(&other);
    }
}

pub fn realms_of_tokens(mode: Mode) {
    let scene = Scene::new(mode);
    let realms = [
        "http://169.254.169.254/latest/meta-data/iam",
        "http://[fe80::1]/token",
        "http://[::ffff:169.254.169.254]/",
        "http://2852039166/",
        "file:///etc/hostname",
        "gopher://127.0.0.1:1/x",
        "ftp://127.0.0.1/x",
        "javascript:x",
        "/relative",
        "",
        "http://user:pass@/",
        "http://127.0.0.1:99999/",
        "http://\u{0}/",
    ];
    at_once(&realms, |realm| {
        let challenge = format!("Bearer realm=\"{realm}\",service=\"x\",scope=\"y\"");
        let registry = Web::start(move |_| {
            Answer::status("401 Unauthorized").header("WWW-Authenticate", challenge.clone())
        });
        let run = build_from(&scene, &registry);
        assert!(!run.status.success(), "{realm}: {run}");
        if realm.contains("169.254") && !realm.contains("user") {
            assert!(run.stderr.contains("refused"), "{realm}: {run}");
        }
    });
    // The same as the target of a redirect, of each part.
    at_once(&["/manifests/", "/blobs/"], |part| {
        let (parts, part) = (parts(|_| {}), *part);
        let registry = Web::start(move |head| match head.contains(part) {
            true => {
                Answer::status("307 Temporary Redirect").header("Location", "http://169.254.169.254/latest")
            }
            false => honest(&parts, head),
        });
        let run = build_from(&scene, &registry);
        assert!(!run.status.success() && run.stderr.contains("refused"), "{run}");
    });
    // A redirect without an end.
    let registry = Web::start(|head| {
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        Answer::status("307 Temporary Redirect").header("Location", path)
    });
    assert!(!build_from(&scene, &registry).status.success());
}

/// What the registry gives is not what it says.
pub fn digests_that_lie(mode: Mode) {
    let scene = Scene::new(mode);
    let lies = [
        (
            "a path as a layer's digest",
            (|manifest: &mut Value| {
                manifest["layers"][0]["digest"] = json!("sha256:../../../../outside/victim")
            }) as fn(&mut Value),
        ),
        ("a path as the configuration's digest", |manifest| {
            manifest["config"]["digest"] = json!("sha256:../")
        }),
        ("a slash in an algorithm", |manifest| manifest["layers"][0]["digest"] = json!("../x:00")),
        ("another layer's digest", |manifest| manifest["layers"][0]["digest"] = json!(digest("other"))),
        ("another size", |manifest| manifest["layers"][0]["size"] = json!(1)),
        ("a size of 2^63", |manifest| manifest["layers"][0]["size"] = json!(9_223_372_036_854_775_808_u64)),
        ("an index at once", |manifest| manifest["manifests"] = json!([manifest["config"].clone()])),
        ("no layer", |manifest| manifest["layers"] = json!([])),
    ];
    at_once(&lies, |(what, change)| {
        let parts = parts(change);
        let registry = Web::start(move |head| honest(&parts, head));
        let run = build_from(&scene, &registry);
        assert!(!run.status.success(), "{what} was taken: {run}");
    });
    at_once(&["config", "layer"], |part| {
        let parts = parts(|_| {});
        let name = digest(if *part == "config" { &parts.config } else { &parts.layer });
        let registry = Web::start(move |head| match head.contains(&name) {
            true => Answer::ok(RawTar::default().file("f", "evil").end()),
            false => honest(&parts, head),
        });
        let run = build_from(&scene, &registry);
        assert!(!run.status.success(), "another {part} was taken: {run}");
    });
    // The image that a digest names is no other one, whatever the header says.
    let parts = parts(|_| {});
    let wanted = digest("wanted");
    let header = wanted.clone();
    let registry = Web::start(move |head| match head.contains("/manifests/") {
        true => Answer::ok(parts.manifest.clone())
            .header("Content-Type", MANIFEST)
            .header("Docker-Content-Digest", header.clone()),
        false => honest(&parts, head),
    });
    let run = build(&scene, &registry, &format!("evil@{wanted}"));
    assert!(!run.status.success(), "{run}");
}

/// Answers that never end, or that drive the terminal.
pub fn answers_that_cost_too_much(mode: Mode) {
    let scene = Scene::new(mode);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies = [deep.into_bytes(), vec![b' '; 16 << 20], b"\xff\xfe".to_vec(), Vec::new()];
    at_once(&bodies, |body| {
        let body = body.clone();
        let registry = Web::start(move |head| match head.contains("/manifests/") {
            true => Answer::ok(body.clone()).header("Content-Type", MANIFEST),
            false => Answer::ok("{}"),
        });
        assert!(!build_from(&scene, &registry).status.success());
    });
    let errors =
        "{\"errors\":[{\"code\":\"\\u001b]0;x\\u0007\",\"message\":\"\\u001b[2J\\u001bc evil \\u009b\"}]}";
    at_once(&["403 Forbidden", "400 Bad Request", "418 \u{1b}[2J"], |status| {
        let status = *status;
        let registry = Web::start(move |_| Answer { status, headers: Vec::new(), body: errors.into() });
        let run = build_from(&scene, &registry);
        assert!(!run.status.success());
        assert!(!run.stderr.contains(['\u{1b}', '\u{7}', '\u{9b}']), "{run:?}");
    });
}
