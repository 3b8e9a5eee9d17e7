//! lbuild in pods.

use std::fs;
use std::path::PathBuf;

use lbuild_tests::{Node, Run, SharedBed, workspace};
use serde_json::{Value, json};

use super::{id, own_image, write_context};

/// A node with lbuild's image, and the context.
struct Cluster {
    bed: SharedBed,
    node: Node,
    /// The image that root builds.
    root: String,
}

impl Cluster {
    fn new() -> Self {
        let bed = SharedBed::new();
        let root = write_context(&bed);
        let node = Node::start(&own_image(&bed, "docker.io/lbuild-test/lbuild:1"));
        Self { bed, node, root }
    }

    /// The folder of the pod `name`, where its empty volumes are made.
    fn folder(&self, name: &str) -> PathBuf {
        self.bed.folder().join(name)
    }

    /// Runs a pod with these settings and lbuild's `arguments`; `/work` is an empty volume, as lbuild's store
    /// needs one.
    fn run(&self, name: &str, [pod, container]: [Value; 2], arguments: &[&str]) -> Run {
        let variables = [("HOME", "/work"), ("TMPDIR", "/work"), ("SOURCE_DATE_EPOCH", "1700000000")]
            .map(|(name, value)| json!({"name": name, "value": value}));
        let pod = json!({"spec": {
            "securityContext": pod,
            "containers": [{
                "name": "lbuild",
                "args": arguments,
                "env": variables,
                "securityContext": container,
                "volumeMounts": [
                    {"name": "work", "mountPath": "/work"},
                    {"name": "source", "mountPath": "/source", "readOnly": true},
                ],
            }],
            "volumes": [
                {"name": "work", "emptyDir": {}},
                {"name": "source", "hostPath": {"path": self.bed.context()}},
            ],
        }});
        self.node.run(&pod.to_string(), &self.folder(name))
    }
}

/// What the Pod Security Standard "restricted" asks for, but the profile, and more that is usual.
fn restricted(profile: &str) -> [Value; 2] {
    let pod = json!({
        "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
        "seccompProfile": {"type": profile},
    });
    let container = json!({
        "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
    });
    [pod, container]
}

const BUILD: [&str; 4] = ["build", "--output", "type=docker,dest=/work/image.tar", "/source"];

const NO_NAMESPACES: &str = "kept apart by chroot alone";
const NO_OVERLAYS: &str = "each step works in a copy of its layers";
const REMEMBERED: &str = "other owners of files are remembered";

#[test]
fn pods_build_what_root_does() {
    let cluster = Cluster::new();
    let by_root =
        [json!({"seccompProfile": {"type": "RuntimeDefault"}}), json!({"readOnlyRootFilesystem": true})];
    let by_user = restricted("Unconfined");
    for (name, settings, notes) in [
        ("default", [json!({}), json!({})], &[][..]),
        ("runtime-default", by_root, &[NO_NAMESPACES, NO_OVERLAYS]),
        ("unconfined-user", by_user, &[REMEMBERED]),
    ] {
        let built = cluster.run(name, settings, &BUILD).success();
        let told = built.stderr.lines().filter(|line| line.starts_with("note:")).count();
        assert_eq!(told, notes.len(), "{name}: {built}");
        let built = built.says(notes);
        assert_eq!(id(&cluster.folder(name).join("work/image.tar")), cluster.root, "{name}: {built}");
    }
    let report = cluster.run("default", [json!({}), json!({})], &["doctor", "--json"]).success().json();
    assert_eq!(report["mode"], "user-namespace", "{report}");
    check_masks(&report);
    let [mut pod, container] = restricted("Localhost");
    pod["seccompProfile"]["localhostProfile"] = json!("lbuild.json");
    let folder = cluster.folder("restricted-with-a-profile");
    fs::create_dir(&folder).unwrap();
    fs::copy(workspace().join("docs/kubernetes-seccomp.json"), folder.join("lbuild.json")).unwrap();
    let built =
        cluster.run("restricted-with-a-profile", [pod, container], &BUILD).success().says(&[REMEMBERED]);
    assert_eq!(id(&folder.join("work/image.tar")), cluster.root, "{built}");
    // Neither root nor namespaces: there is no way to run a step.
    let refused = cluster.run("restricted", restricted("RuntimeDefault"), &BUILD);
    refused.failure(1).says(&["user 1000 cannot build here", "lbuild doctor"]);
    let doctor = cluster.run("restricted", restricted("RuntimeDefault"), &["doctor"]).text();
    for part in ["Nothing can be built here", "a seccomp filter", "seccompProfile type Unconfined"] {
        assert!(doctor.contains(part), "{doctor}");
    }
    for heading in ["## Kubernetes", "## Tekton"] {
        let name = heading.trim_start_matches("## ");
        let folder = cluster.folder(name);
        // As an init container, or the steps before, would leave it.
        let source = folder.join("work/source");
        fs::create_dir_all(&source).unwrap();
        for file in ["Dockerfile", "base.tar"] {
            fs::copy(cluster.bed.context().join(file), source.join(file)).unwrap();
        }
        let built = cluster.node.run(&documented(heading), &folder).success();
        assert_eq!(id(&folder.join("work/image.tar")), cluster.root, "{name}: {built}");
    }
}

/// Checks that doctor names what a pod hides and locks, and Kubernetes' own way to have it.
#[track_caller]
fn check_masks(report: &Value) {
    for (name, cause, mend) in [
        ("a new /proc", "hides parts of /proc", "procMount: Unmasked"),
        ("control groups", "is read-only", "resources.limits"),
    ] {
        let mut features = report["features"].as_array().unwrap().iter();
        let found = features.find(|feature| feature["feature"] == name).unwrap();
        assert!(found["cause"].as_str().unwrap().contains(cause), "{found}");
        assert!(found["mend"].as_str().unwrap().contains(mend), "{found}");
    }
}

/// The example below a heading of docs/ci.md, with an archive as its output instead of a registry.
fn documented(heading: &str) -> String {
    let docs = fs::read_to_string(workspace().join("docs/ci.md")).unwrap();
    let (_, section) = docs.split_once(&format!("{heading}\n")).unwrap();
    let (_, example) = section.split_once("```yaml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let lines = example.lines().filter(|line| !line.contains("--cache-"));
    let example: String = lines.map(|line| format!("{line}\n")).collect();
    for part in ["--push", "--tag=", "SOURCE_DATE_EPOCH"] {
        assert!(example.contains(part), "{example}");
    }
    example
        .replace("--push", "--output=type=docker,dest=/work/image.tar")
        .replace("$(workspaces.source.path)", "/work/source")
        .replace("$(workspaces.registry.path)", "/work")
        .replace("$(params.image)", "built")
        .replace("steps:", "containers:")
}
